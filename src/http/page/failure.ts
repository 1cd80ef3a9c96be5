import type { ErrorCode } from '../../jobs/errors.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import { type Html, html } from './html.ts'
import { againIcon } from './icons.ts'
import { resend } from './resend.ts'

/** Why a job failed, for people: the message of the error is for the operator, who has it by the job's id. */
const sentences: Readonly<Partial<Record<ErrorCode, string>>> = {
  upload_gone: 'The photo that this starts from has expired. Choose it again.',
  model_invalid: 'A file of this model is missing, damaged or made for another model.',
  out_of_memory: 'The picture needs more memory than this server has.',
  timeout: 'The picture took longer than this server allows.',
  unavailable: 'The server lost its storage for too long.',
}

export function failureSentence({ error, request }: JobView): string {
  if (error?.code === 'model_invalid' && request?.loras !== undefined) {
    const names = request.loras.map(({ name }) => name).join(', ')
    return `${names} cannot be used with ${request.model}: it was made for another model, or a file is damaged.`
  }
  // it says what to do, and comes from what the visitor sent
  if (error?.code === 'invalid_upload') return error.message
  const known = sentences[error?.code as ErrorCode]
  return known ?? 'The server could not make this picture.'
}

/** What the operator needs to find the reason in the log. */
export function forOperator({ id, error }: JobView): Html {
  return html`<details class="job-details"><summary>For who runs this server</summary><p>Job <code>${id}</code>, error <code>${error?.code ?? 'internal'}</code></p></details>`
}

/** The button that is most likely to mend it; none where a photo must be chosen first. */
export function mendingButton({ error, request }: JobView): Html | false {
  if (request === undefined || error?.code === 'upload_gone' || error?.code === 'invalid_upload') return false
  const { loras, ...plain } = request
  if (error?.code === 'model_invalid' && loras !== undefined) {
    return resend(plain, `Try without ${loras.map(({ name }) => name).join(', ')}`, againIcon())
  }
  const small = smaller(request)
  if (error?.code === 'out_of_memory' && small !== undefined) {
    return resend({ ...request, ...small }, `Try ${small.width} × ${small.height}`, againIcon())
  }
  return resend(request, 'Try again', againIcon())
}

/** About half of the pixels, in multiples that every model accepts; undefined if there is nothing smaller. */
function smaller({ width, height }: ResolvedRequest): { width: number; height: number } | undefined {
  const multiple = 64
  const shrink = (pixels: number) => Math.floor((pixels * Math.SQRT1_2) / multiple) * multiple
  const size = { width: shrink(width), height: shrink(height) }
  return Math.min(size.width, size.height) < multiple ? undefined : size
}
