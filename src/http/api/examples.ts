/** Requests and answers as they look, by the name of their shape or of their call. The description is checked with them. */

const id = '01kc3v0q6ntb0m2k4x1h9s7d5e8f3g6j2p4r7t9w1y'

export const examples: Readonly<Record<string, unknown>> = {
  'post /v1/jobs': { prompt: 'a red apple on white', count: 2, seed: 7 },
  Job: {
    id,
    status: 'succeeded',
    request: {
      prompt: 'a red apple on white',
      negative_prompt: '',
      model: 'packshot-mini',
      width: 256,
      height: 256,
      steps: 20,
      guidance_scale: 3,
      sampler: 'dpmpp_2m',
      schedule: 'karras',
      seed: 7,
      count: 1,
      format: 'png',
    },
    images: [
      {
        url: `/v1/jobs/${id}/images/0`,
        link: '/v1/pictures/mY2cJ0r1Zk5nQy8Xw3VtB7uEoHs6LdFp4GiCaN9RbTjKvUzMxWqSfAlOhDeIgPyX',
        width: 256,
        height: 256,
        seed: 7,
        sha256: '5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef',
        bytes: 48_213,
      },
    ],
    created_at: '2026-11-28T10:00:00.000Z',
    started_at: '2026-11-28T10:00:00.120Z',
    finished_at: '2026-11-28T10:00:00.910Z',
    expires_at: '2026-11-29T10:00:00.000Z',
    links: { self: `/v1/jobs/${id}` },
  },
  Upload: {
    id: '01kc3v1r7pfc5n3m6z2j8t4d9e0f7g1h5k3q6s8v2x',
    width: 1024,
    height: 768,
    bytes: 812_345,
    expires_at: '2026-11-29T10:00:00.000Z',
  },
  WebhookLog: {
    event: 'evt_01kc3v0q6ntb0m2k4x1h9s7d5e_succeeded',
    url: 'https://shop.example.com/hook?...',
    queued_at: '2026-11-28T10:00:00.950Z',
    tries: [
      {
        at: '2026-11-28T10:00:00.980Z',
        status: 503,
        reason: 'The receiver did not answer with 2xx.',
        next_at: '2026-11-28T10:00:05.700Z',
      },
      { at: '2026-11-28T10:00:05.720Z', status: 200 },
    ],
  },
  Error: {
    error: {
      code: 'invalid_request',
      message: 'steps must be a whole number from 1 to 100, but was 1000.',
      param: 'steps',
    },
  },
}
