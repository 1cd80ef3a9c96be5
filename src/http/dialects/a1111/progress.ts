import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'

/**
 * The state of the newest call as the web UI reports it. Clients wait until `progress` is exactly 0 and `job_count` is 0:
 * that means that nothing runs. Each picture counts as one job.
 */
export function progressOf(views: readonly JobView[]): object {
  const total = sum(views.map(picturesOf))
  const done = sum(views.map(picturesDone))
  const current = views.find((view) => !isFinal(view))
  if (current === undefined || total === 0) return { ...idle, state: { ...idle.state } }
  const { progress, request, position = 0, eta_seconds = 0, created_at, status } = current
  const steps = stepsEach(current)
  const step = progress === undefined || steps === 0 ? 0 : progress.step % steps
  const share = (done + (steps === 0 ? 0 : step / steps)) / total
  return {
    progress: status === 'queued' && done === 0 ? 0 : Math.min(1, 0.01 + share),
    eta_relative: eta_seconds,
    state: {
      skipped: false,
      interrupted: false,
      stopping_generation: false,
      job: request?.init_image === undefined ? 'scripts_txt2img' : 'scripts_img2img',
      job_count: total,
      job_timestamp: timestampOf(created_at),
      job_no: Math.min(done, total - 1),
      sampling_step: step,
      sampling_steps: request?.steps ?? 0,
    },
    current_image: null,
    textinfo: position > 0 ? `Waiting: ${position} ahead` : null,
  }
}

const idle = {
  progress: 0,
  eta_relative: 0,
  state: {
    skipped: false,
    interrupted: false,
    stopping_generation: false,
    job: '',
    job_count: 0,
    job_timestamp: '0',
    job_no: 0,
    sampling_step: 0,
    sampling_steps: 0,
  },
  current_image: null,
  textinfo: null,
}

/** `YYYYMMDDhhmmss`, in UTC. */
export function timestampOf(time: string): string {
  return time.replaceAll(/\D/g, '').slice(0, 14)
}

function picturesOf({ request }: JobView): number {
  return request?.count ?? 1
}

function stepsEach(view: JobView): number {
  return view.progress === undefined ? 0 : Math.round(view.progress.steps / picturesOf(view))
}

function picturesDone(view: JobView): number {
  if (isFinal(view)) return picturesOf(view)
  const steps = stepsEach(view)
  return steps === 0 ? 0 : Math.floor((view.progress?.step ?? 0) / steps)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
