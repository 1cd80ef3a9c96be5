import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import type { Answer, Target } from './target.ts'

/**
 * What anonymous strangers tried on services like this one, each with what is the right answer. The settings that bound
 * them are listed in docs/operating.md, "What a stranger can cost".
 *
 * Longer than most files: each attack is an entry of one list.
 */

interface Outcome {
  readonly seen: string
  readonly right: boolean
}

interface Attack {
  readonly name: string
  readonly play: (target: Target) => Promise<Outcome>
}

const tiny = { width: 64, height: 64, steps: 1 }
const mebibyte = 2 ** 20

export const attacks: readonly Attack[] = [
  {
    name: 'a prompt of 333 windows in 2000 characters',
    play: async ({ job }) =>
      allAnswer(
        [
          await job({ prompt: 'BREAK '.repeat(333), steps: 1 }),
          await job({ prompt: '🍎 BREAK '.repeat(200) }),
        ],
        [400],
      ),
  },
  {
    name: 'weights that overflow',
    play: async ({ job }) =>
      allAnswer(
        [
          await job({ prompt: `(apple:1${'0'.repeat(40)})` }),
          await job({ prompt: `${'('.repeat(300)}apple${')'.repeat(300)}` }),
        ],
        [400],
      ),
  },
  {
    name: '40 jobs of 40 shapes: memory of a worker',
    play: async (target) => {
      const ids: string[] = []
      for (let i = 0; i < 40; i++) {
        const { text } = await target.job({ prompt: 'a red apple', ...shape(i), steps: 1 })
        ids.push((JSON.parse(text) as { readonly id: string }).id)
      }
      const ends = []
      for (const id of ids) ends.push(await target.end(id))
      const { workerBytes } = target.cost()
      const right = ends.every((status) => status === 'succeeded')
      return { seen: `${counts(ends)}; the worker holds ${inMiB(workerBytes)}`, right }
    },
  },
  {
    name: '300 connections that never read a picture of some megabytes',
    play: async (target) => {
      const noise = await noisePicture(1400)
      const { text } = await target.upload(noise)
      const { id } = JSON.parse(text) as { readonly id: string }
      const before = target.cost().serverBytes
      const sockets = Array.from({ length: 300 }, (_, i) => {
        const lines = [
          `GET /v1/uploads/${id} HTTP/1.1`,
          `Host: localhost:${target.port}`,
          `X-Forwarded-For: 198.51.100.${i % 250}`,
        ]
        const socket = target.socket(`${lines.join('\r\n')}\r\n\r\n`)
        socket.pause()
        return socket
      })
      await new Promise((resolve) => setTimeout(resolve, 3000))
      const live = await target.ask('/healthz/live')
      const grown = target.cost().serverBytes - before
      for (const socket of sockets) socket.destroy()
      const right = live.status === 200 && grown < 300 * mebibyte
      return {
        seen: `${inMiB(noise.byteLength)} each: the server grew by ${inMiB(grown)} and answers`,
        right,
      }
    },
  },
  {
    name: '40 requests that name an upload of some megabytes, each refused',
    play: async (target) => {
      const { text } = await target.upload(await noisePicture(1400))
      const { id } = JSON.parse(text) as { readonly id: string }
      const before = target.cost().serverBytes
      const mask = 'a'.repeat(20)
      const answers = await Promise.all(
        Array.from({ length: 40 }, () => target.job({ prompt: 'x', init_image: id, mask, ...tiny })),
      )
      const grown = target.cost().serverBytes - before
      const outcome = allAnswer(answers, [400])
      return {
        seen: `${outcome.seen}; the server grew by ${inMiB(grown)}`,
        right: outcome.right && grown < 60 * mebibyte,
      }
    },
  },
  {
    name: 'one client sends 300 jobs; another asks for one picture',
    play: async (target) => {
      const from = '203.0.113.66'
      const answers: Answer[] = []
      for (let i = 0; i < 300; i++)
        answers.push(await target.job({ prompt: 'a red apple', steps: 4, ...shapeOf }, { from }))
      const other = await target.job({ prompt: 'a lemon', ...tiny }, { from: '203.0.113.77' })
      const { id } = JSON.parse(other.text) as { readonly id: string }
      const began = performance.now()
      const status = await target.end(id)
      const seconds = Math.round((performance.now() - began) / 1000)
      const own = answers.filter(({ status: code }) => code === 202)
      const first = JSON.parse((await target.ask(`/v1/jobs/${idOf(own.at(-1))}`)).text) as {
        readonly status: string
      }
      const refused = answers.filter((answer) => answer.status === 429)
      for (const answer of own) await target.ask(`/v1/jobs/${idOf(answer)}/cancel`, { method: 'POST', from })
      const retry = refused.every(({ headers }) => headers.has('retry-after'))
      return {
        seen: `${own.length} accepted, ${refused.length} answered 429; the other's picture: ${status} after ${seconds} s, while the first client's last job was ${first.status}`,
        right: refused.length > 0 && retry && status === 'succeeded' && first.status === 'queued',
      }
    },
  },
  {
    name: 'names that a page can point to this machine (DNS rebinding)',
    play: async ({ port, socket }) => {
      const statuses = []
      for (const host of ['evil.example', '127.0.0.1.evil.com', `evil.example:${port}`]) {
        statuses.push(
          await statusOf(socket(`GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)),
        )
      }
      return { seen: counts(statuses), right: statuses.every((status) => status === 421) }
    },
  },
  {
    name: "another client's idempotency key",
    play: async ({ job }) => {
      const headers = { 'idempotency-key': 'order-1-of-the-first-client' }
      const mine = await job({ prompt: 'a red apple', ...tiny }, { headers, from: '203.0.113.1' })
      const again = await job({ prompt: 'a red apple', ...tiny }, { headers, from: '203.0.113.1' })
      const theirs = await job({ prompt: 'a red apple', ...tiny }, { headers, from: '203.0.113.2' })
      const other = await job({ prompt: 'a lemon', ...tiny }, { headers, from: '203.0.113.1' })
      return {
        seen: `own repeat: ${idOf(again) === idOf(mine) ? 'the same job' : 'another job'}; a guess: ${idOf(theirs) === idOf(mine) ? "the owner's job" : 'a job of its own'}; another body: ${other.status}`,
        right: idOf(again) === idOf(mine) && idOf(theirs) !== idOf(mine) && other.status === 422,
      }
    },
  },
  {
    name: 'pictures that are cheap to send and dear to decode',
    play: async ({ upload }) => {
      const solid = (width: number, height: number) =>
        sharp({ create: { width, height, channels: 3, background: '#c33' }, limitInputPixels: false })
      const answers = [
        await upload(await solid(1, 200_000).png().toBuffer()),
        await upload(await solid(200_000, 1).png().toBuffer()),
        await upload(await solid(16_383, 1464).webp().toBuffer(), 'image/webp'),
        await upload(await solid(12_000, 12_000).png().toBuffer()),
      ]
      return allAnswer(answers, [422])
    },
  },
  {
    name: 'a disk filled by uploads of noise',
    play: async (target) => {
      const noise = await noisePicture(1500)
      const answers: Answer[] = []
      for (let i = 0; i < 140; i++) answers.push(await target.upload(noise, 'image/png', '203.0.113.9'))
      const stored = bytesBelow(join(target.dataDir, 'results'))
      const statuses = answers.map(({ status }) => status)
      return { seen: `${counts(statuses)}; ${inMiB(stored)} on the disk`, right: statuses.includes(429) }
    },
  },
  {
    name: 'addresses of one IPv6 network',
    play: async (target) => {
      const statuses = []
      for (let i = 0; i < 140; i++) {
        const from = `2001:db8:1:1::${(i + 1).toString(16)}`
        statuses.push((await target.job({ prompt: '', ...tiny }, { from })).status)
      }
      return { seen: counts(statuses), right: statuses.includes(429) }
    },
  },
  {
    name: 'a job, its picture and its photo after DELETE',
    play: async (target) => {
      const made = await target.job({ prompt: 'a red apple', ...tiny }, { from: '203.0.113.3' })
      const id = idOf(made)
      await target.end(id)
      const asked = [
        await target.ask(`/v1/jobs/${id}`, { method: 'DELETE' }),
        await target.ask(`/v1/jobs/${id}`),
        await target.ask(`/v1/jobs/${id}/images/0`),
      ].map(({ status }) => status)
      const left = readdirSync(join(target.dataDir, 'results'), { recursive: true }).map(String)
      const pictures = left.filter((name) => name.includes(id) && name.endsWith('.png'))
      return {
        seen: `${asked.join(', ')}; ${pictures.length} pictures of it on the disk`,
        right: asked.join() === '200,410,410' && pictures.length === 0,
      }
    },
  },
  {
    name: 'files that other users of the machine can read',
    play: async ({ dataDir }) => {
      const open = readdirSync(dataDir, { recursive: true }).filter(
        (name) => (statSync(join(dataDir, String(name)), { throwIfNoEntry: false })?.mode ?? 0) & 0o077,
      )
      return { seen: `${open.length} of them`, right: open.length === 0 }
    },
  },
  {
    name: 'bodies that are not what they claim: encodings, repeated keys, forms of other sites',
    play: async (target) => {
      const raw = (body: Buffer, headers: Record<string, string> = {}) =>
        target.ask('/v1/jobs', {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', ...headers },
        })
      const latin = await raw(Buffer.from('{"prompt":"une p\xeache"}', 'latin1'))
      const twice = await raw(Buffer.from('{"prompt":"a","prompt":"b"}'))
      const packed = await raw(Buffer.from('{"prompt":"a"}'), { 'content-encoding': 'gzip' })
      const foreign = await raw(Buffer.from('{"prompt":"a"}'), { 'sec-fetch-site': 'cross-site' })
      const seen = [latin, twice, packed, foreign].map(({ status }) => status)
      return { seen: seen.join(', '), right: seen.join() === '400,400,415,403' }
    },
  },
  {
    name: 'a body of 20 MB where 64 KiB are allowed',
    play: async (target) => allAnswer([await target.job({ prompt: 'x'.repeat(20e6) })], [413]),
  },
  {
    name: 'a job that must take days',
    play: async (target) => {
      const large = { width: 1024, height: 1024, steps: 100, count: 4, sampler: 'dpmpp_2s' }
      const answer = await target.job({ prompt: 'a red apple', ...large })
      if (answer.status === 202) await target.ask(`/v1/jobs/${idOf(answer)}/cancel`, { method: 'POST' })
      return {
        seen: `${answer.status} ${answer.code ?? ''}`.trim(),
        right: [202, 400, 429].includes(answer.status),
      }
    },
  },
  {
    name: 'after all that, a picture',
    play: async (target) => {
      const answer = await target.job({ prompt: 'a red apple', ...tiny }, { from: '203.0.113.200' })
      const status = await target.end(idOf(answer))
      return { seen: status, right: status === 'succeeded' }
    },
  },
]

const shapeOf = { width: 256, height: 256 }

function shape(i: number): { readonly width: number; readonly height: number } {
  return { width: 64 + 16 * (i % 13), height: 64 + 16 * ((i * 5) % 11) }
}

function allAnswer(answers: readonly Answer[], statuses: readonly number[]): Outcome {
  const paths = answers.filter(({ text }) => /\/(home|root|tmp|work|usr|var)\//.test(text))
  const right = answers.every(({ status, code }) => statuses.includes(status) && code !== undefined)
  const said = counts(answers.map(({ status, code }) => `${status} ${code}`))
  return {
    seen: paths.length === 0 ? said : `${said}, with a path in it`,
    right: right && paths.length === 0,
  }
}

function counts(values: readonly unknown[]): string {
  const found = Map.groupBy(values, String)
  return [...found].map(([value, all]) => `${all.length} x ${value}`).join(', ')
}

function idOf(answer: Answer | undefined): string {
  return (JSON.parse(answer?.text ?? '{}') as { readonly id?: string }).id ?? 'none'
}

async function statusOf(socket: ReturnType<Target['socket']>): Promise<number> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return Number(text.split(' ')[1])
}

/** Noise cannot be compressed: about three bytes a pixel. */
function noisePicture(side: number): Promise<Buffer> {
  return sharp({
    create: {
      width: side,
      height: side,
      channels: 3,
      background: '#000',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
    .png({ compressionLevel: 1 })
    .toBuffer()
}

function bytesBelow(folder: string): number {
  let sum = 0
  for (const name of readdirSync(folder, { recursive: true })) {
    const found = statSync(join(folder, String(name)), { throwIfNoEntry: false })
    if (found?.isFile() === true) sum += found.size
  }
  return sum
}

function inMiB(bytes: number): string {
  return `${Math.round(bytes / mebibyte)} MiB`
}
