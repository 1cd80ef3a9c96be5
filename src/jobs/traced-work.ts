import { stepsOf } from './pictures.ts'
import type { EngineMark, EnginePhase, ImageGenerator, ImageStore, StatusStore } from './ports.ts'
import {
  activeJourney,
  jobLabel,
  markFault,
  type SpanStart,
  startSpan,
  type TraceContext,
  tracedPart,
} from './tracing.ts'

/** What a job waits for besides queues, as parts of its trace. Nothing is measured outside one: a poll makes no span. */

export function tracedImages(images: ImageStore): ImageStore {
  const part = <T>(name: string, id: string, attributes: Values, action: () => Promise<T>) =>
    tracedPart(name, { kind: 'client', attributes: { ...ofJob(id), ...attributes } }, action)
  return {
    ...images,
    putImage: (id, index, format, bytes) => {
      const about = { 'packshot.picture': index, 'packshot.bytes': bytes.byteLength }
      return part('put picture', id, about, () => images.putImage(id, index, format, bytes))
    },
    commit: (manifest) => {
      const { id, status, error } = manifest
      const about = { 'packshot.status': status, ...(error && { 'packshot.code': error.code }) }
      return part('put manifest', id, about, () => images.commit(manifest))
    },
    getManifest: (id) => part('get manifest', id, {}, () => images.getManifest(id)),
    putUpload: (id, bytes) => {
      const about = { 'packshot.bytes': bytes.byteLength }
      return part('put upload', id, about, () => images.putUpload(id, bytes))
    },
    getUpload: (id) => part('get upload', id, {}, () => images.getUpload(id)),
  }
}

/** Only what an accepted job waits for: its progress is written several times a second. */
export function tracedStatus(status: StatusStore): StatusStore {
  const part = <T>(name: string, id: string, action: () => Promise<T>) =>
    tracedPart(name, { kind: 'client', attributes: ofJob(id) }, action)
  return {
    ...status,
    reserve: (job, most) => part('reserve', job.id, () => status.reserve(job, most)),
    create: (task) => part('create status', task.id, () => status.create(task)),
  }
}

/** A job has at most about so many spans of steps: in a longer one each has several. */
const mostSteps = 100

/**
 * The engine's work, part by part. It computes in a thread that knows nothing of traces: its messages say when a part
 * begins and a step ends.
 */
export function tracedGenerator(generator: ImageGenerator): ImageGenerator {
  return {
    ...generator,
    async *generate(request, options) {
      const { model, width, height, count, sampler } = request
      const { span, active } = startSpan('make pictures', {
        attributes: {
          'gen_ai.operation.name': 'image_generation',
          'gen_ai.provider.name': 'packshot',
          'gen_ai.output.type': 'image',
          'gen_ai.request.model': model,
          'packshot.width': width,
          'packshot.height': height,
          'packshot.pictures': count,
          'packshot.steps': stepsOf(request),
          'packshot.sampler': sampler,
        },
      })
      const parts = span.isRecording() ? startParts(active, stepsOf(request) * count) : undefined
      const journey = activeJourney()
      const onMark = (mark: EngineMark) => {
        parts?.mark(mark)
        options.onMark?.(mark)
      }
      try {
        yield* generator.generate(request, { ...options, onMark })
      } catch (thrown) {
        markFault(span, thrown)
        if (journey !== undefined) journey.fault = thrown
        throw thrown
      } finally {
        parts?.end(now())
        span.end()
      }
    },
  }
}

/**
 * Parts follow one another: each begins where the one before ended, and each step is a part. A step of a sampler that calls
 * the model twice is marked twice: it ends with its last mark.
 */
function startParts(parent: TraceContext, steps: number) {
  const each = Math.max(1, Math.ceil(steps / mostSteps))
  let part: EnginePhase = 'done'
  let since = now()
  let written = 0
  let last = { step: 0, at: since }
  const add = (name: string, until: number, attributes: Values = {}) => {
    const { span } = startSpan(name, { from: parent, attributes, startTime: since })
    span.end(Math.max(since, until))
    since = until
  }
  const addSteps = () => {
    const { step, at } = last
    if (step === written || (step - written < each && step < steps)) return
    add(each === 1 ? 'step' : 'steps', at, { 'packshot.step': step })
    written = step
  }
  const end = (at: number) => {
    addSteps()
    if (part !== 'steps' && part !== 'done') add(part, at)
    part = 'done'
    since = at
  }
  return {
    end,
    mark(mark: EngineMark): void {
      if ('phase' in mark) {
        end(mark.at)
        part = mark.phase
        return
      }
      if (mark.step !== last.step) addSteps()
      last = mark
    },
  }
}

function now(): number {
  return performance.timeOrigin + performance.now()
}

type Values = NonNullable<SpanStart['attributes']>

function ofJob(id: string): Values {
  const job = jobLabel(id)
  return job === undefined ? {} : { 'packshot.job': job }
}
