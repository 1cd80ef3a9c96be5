import { loadConfig } from '../../src/config.ts'
import { inferenceSettings, type ThreadNews } from '../../src/generator/protocol.ts'
import { type ThreadGenerator, threadGenerator } from '../../src/generator/thread-generator.ts'
import type { Holdings } from '../../src/jobs/holdings.ts'
import type { ResolvedRequest } from '../../src/jobs/job.ts'
import type { GeneratedImage, GivenImages } from '../../src/jobs/ports.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { keepingLog } from '../quiet-log.ts'

export interface TestGenerator {
  readonly thread: ThreadGenerator
  /** One small picture. */
  make(fields: Partial<ResolvedRequest>, images?: GivenImages): Promise<GeneratedImage>
  /** All that the thread reported about itself. */
  readonly news: readonly ThreadNews[]
  /** As last reported by the thread. */
  holdings(): Holdings | undefined
}

/** The inference thread of a worker with these settings. */
export function startGenerator(t: Cleanup, env: Record<string, string>): TestGenerator {
  const heard: ThreadNews[] = []
  const thread = threadGenerator({
    entry: new URL('../../src/generator/inference-thread.ts', import.meta.url),
    settings: inferenceSettings(loadConfig({ PACKSHOT_THREADS: '1', ...env })),
    log: keepingLog(),
    onNews: (news) => {
      heard.push(news)
    },
    onStuck: () => {
      throw new Error('the inference thread is stuck')
    },
  })
  lastFirst(t).after(() => thread.close())
  return {
    thread,
    news: heard,
    holdings: () => heard.findLast((news) => news.type === 'holdings')?.holdings,
    async make(fields, images) {
      const request: ResolvedRequest = { ...smallRequest, ...fields }
      const options = {
        signal: new AbortController().signal,
        onProgress: () => {},
        ...(images && { images }),
      }
      for await (const image of thread.generate(request, options)) return image
      throw new Error('no picture was made')
    },
  }
}

const smallRequest: ResolvedRequest = {
  prompt: 'a red apple',
  negative_prompt: '',
  width: 64,
  height: 64,
  steps: 2,
  guidance_scale: 5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 7,
  count: 1,
  model: '',
  format: 'png',
}

/** The compressed pixels of a PNG, without the texts, which name the model. */
export function pixels({ bytes }: { readonly bytes: Uint8Array }): Buffer {
  const data = Buffer.from(bytes)
  return data.subarray(data.indexOf('IDAT'))
}
