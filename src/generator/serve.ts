import { parentPort } from 'node:worker_threads'
import { AppError, toAppError } from '../jobs/errors.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { imageSeed, stepsOf, triesOf } from '../jobs/pictures.ts'
import type { EnginePhase, GivenImages } from '../jobs/ports.ts'
import type { Delivered } from './deliver.ts'
import type { Look } from './gate.ts'
import type { GenerateMessage, ThreadFault, ThreadMessage, ThreadNews } from './protocol.ts'

/** What the thread's entry file provides: the engine, called with the service's requests. */
export interface PictureMaker {
  /** Makes picture `index`, encoded. Throws soon after `signal.aborted` became true. */
  make(
    request: ResolvedRequest,
    index: number,
    hooks: {
      /** `step` counts on over the tries of the picture. */
      onStep: (step: number) => void
      onPhase: (phase: EnginePhase) => void
      signal: { readonly aborted: boolean }
      /** Present when the request names uploads. */
      images?: GivenImages
      /** How the earlier pictures of the run look; this one is added. */
      looks: Look[]
      /** Present when previews of this picture are wanted: small JPEG files. */
      previews?: { readonly count: number; readonly show: (bytes: Uint8Array) => void }
    },
  ): Promise<
    Omit<Delivered, 'seed'> & {
      /** Absent: that of the first try. */
      readonly seed?: number
    }
  >
}

/**
 * The thread's side: loads the model, then makes pictures until the thread is ended.
 * @param expected an error of the engine's that users can understand, in words for them; undefined for any other
 */
export async function serveInference(
  load: (tell: (news: ThreadNews) => void) => Promise<PictureMaker>,
  expected: (thrown: unknown) => AppError | undefined,
): Promise<void> {
  const port = parentPort
  if (port === null) throw new Error('serveInference runs in a worker thread only')
  const send = (message: ThreadMessage) => port.postMessage(message)
  try {
    const maker = await load(send)
    port.on('message', (message: GenerateMessage) => void runOne(maker, message, send, expected))
    send({ type: 'ready' })
  } catch (thrown) {
    send({ type: 'unusable', fault: faultOf(thrown, expected) })
  }
}

async function runOne(
  maker: PictureMaker,
  { run, request, images, previews: count = 0, abort }: GenerateMessage,
  send: (message: ThreadMessage) => void,
  expected: (thrown: unknown) => AppError | undefined,
): Promise<void> {
  const flag = new Int32Array(abort)
  const signal = {
    get aborted() {
      return Atomics.load(flag, 0) !== 0
    },
  }
  const each = stepsOf(request)
  const most = each * triesOf(request)
  const looks: Look[] = []
  let before = 0
  let found = 0
  try {
    for (let index = 0; index < request.count; index += 1) {
      // tries that are not needed leave the sum
      const steps = before + most * (request.count - index)
      let taken = each
      const onStep = (step: number) => {
        taken = Math.max(each, step)
        send({ type: 'progress', run, step: before + step, steps, at: now() })
      }
      const onPhase = (phase: EnginePhase) => send({ type: 'phase', run, phase, at: now() })
      let shown = 0
      const show = (bytes: Uint8Array) => send({ type: 'preview', run, index: ++shown, bytes })
      const hooks = {
        onStep,
        onPhase,
        signal,
        looks,
        ...(images === undefined ? {} : { images }),
        ...(count > 0 && index === 0 ? { previews: { count, show } } : {}),
      }
      onPhase('load')
      const made = await maker.make(request, index, hooks)
      onPhase('done')
      before += Math.ceil(taken / Math.max(1, each)) * each
      if (made.measured?.product !== 0 || !needsProduct(request)) found += 1
      if (index === request.count - 1 && found === 0) throw nothingFound(request)
      send({ type: 'image', run, seed: imageSeed(request, index), ...made })
    }
    send({ type: 'done', run })
  } catch (thrown) {
    send({ type: 'failed', run, fault: faultOf(thrown, expected) })
  }
}

function needsProduct({ finish }: ResolvedRequest): boolean {
  return finish !== undefined && finish.background !== 'as_made'
}

/** One picture of several may have no product: it is delivered as drawn, and its figures say so. */
function nothingFound({ finish }: ResolvedRequest): AppError {
  const message = `Nothing was found in the picture that stands out from its background, so there is nothing to set on ${finish?.background ?? 'another'}. Ask for finish.background as_made, or describe a single product on a plain background.`
  return new AppError('finish_failed', message, { param: 'finish.background' })
}

/** In milliseconds of Unix time. */
function now(): number {
  return performance.timeOrigin + performance.now()
}

/** Only messages written for users reach them; the rest goes to the log. */
function faultOf(thrown: unknown, expected: (thrown: unknown) => AppError | undefined): ThreadFault {
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  const error =
    expected(thrown) ??
    (isOutOfMemory(thrown)
      ? new AppError('out_of_memory', 'The picture needs more memory than the worker has.')
      : toAppError(thrown))
  if (error.code !== 'internal') {
    return { code: error.code, message: error.message, detail: error.detail, stack }
  }
  const message = 'The engine failed on this request.'
  return { code: 'generation_failed', message, detail: undefined, stack }
}

function isOutOfMemory(thrown: unknown): boolean {
  return (
    thrown instanceof Error &&
    /out of memory|bad_alloc|failed to allocate|allocation failed/i.test(thrown.message)
  )
}
