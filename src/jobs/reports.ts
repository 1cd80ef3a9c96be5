import { AppError, type ErrorCode, messageOf } from './errors.ts'
import type { Manifest } from './job.ts'
import type { ImageStore } from './ports.ts'
import { activeJourney } from './tracing.ts'

/** Reports of faults to whoever watches the service, apart from its log. */

export interface Report {
  /** What failed: a request, a job, or the process itself. */
  readonly of: 'request' | 'job' | 'process'
  /** Reports with the same code are of one kind. */
  readonly code: ErrorCode | 'unhandled'
  readonly tags?: Readonly<Record<string, string | number>>
  /** Texts of a user: no part of them may be in the report. */
  readonly secrets?: readonly string[]
}

/** Never waits and never throws. */
export interface Reports {
  report(thrown: unknown, about: Report): void
  /** Resolves when all is sent, after two seconds at most. */
  flush(): Promise<void>
}

export const noReports: Reports = { report() {}, flush: async () => {} }

/** The store that reports each job whose failure it commits, once: by the process that did. */
export function reportedImages(images: ImageStore, reports: Reports): ImageStore {
  return {
    ...images,
    async commit(manifest) {
      const standing = await images.commit(manifest)
      const isOurs = standing.finished_at === manifest.finished_at && standing.attempts === manifest.attempts
      if (isOurs && standing.status === 'failed') reportJob(standing, reports)
      return standing
    },
  }
}

function reportJob({ error, request, attempts }: Manifest, reports: Reports): void {
  const code = (error?.code ?? 'internal') as ErrorCode
  const { model, prompt, negative_prompt, width, height, steps } = request
  // the cause is in the error that ended the engine's run, if that did
  const fault = activeJourney()?.fault ?? new AppError(code, error?.message ?? '')
  reports.report(fault, {
    of: 'job',
    code,
    tags: { model, size: `${width}x${height}`, steps, attempts },
    secrets: [prompt, negative_prompt],
  })
}

const addresses = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s"'<>]+/gi
const credentials =
  /\b((?:authorization|cookie|x-api-key|api[-_]?key|token|secret|password)\b["']?\s*[:=]\s*)("[^"]*"|'[^']*'|(?:bearer |basic |key |token )?[^\s,;"'}]+)/gi
const bearer = /\b(bearer|basic) [\w.~+/=-]{8,}/gi
const ownKeys = /\bpks_[0-9a-z]+_[0-9A-Za-z]+/g
const ids = /\b([0-7][0-9a-hjkmnp-tv-z]{25})[0-9a-hjkmnp-tv-z]{16}(?![0-9a-z])/g
/** Runs of a user's text that are at least so long are found in others. */
const shortestRun = 8
const longestText = 1000
/** With more than so many characters of a user nothing of a text is kept: comparing would take too long. */
const longestSecrets = 20_000

/**
 * A text that may leave the installation: without users and passwords of addresses, their queries, headers and keys, what
 * gives access to jobs, and anything of `secrets`.
 */
export function scrubbed(text: string, secrets: readonly string[] = []): string {
  if (secrets.reduce((sum, { length }) => sum + length, 0) > longestSecrets) return '(removed)'
  const short = text.slice(0, longestText)
  return secrets
    .reduce(withoutText, short)
    .replace(addresses, (address) => plainAddress(address))
    .replace(credentials, '$1(removed)')
    .replace(bearer, '$1 (removed)')
    .replace(ownKeys, '(removed)')
    .replace(ids, '$1')
}

function plainAddress(text: string): string {
  if (!URL.canParse(text)) return '(address)'
  const { protocol, host, pathname } = new URL(text)
  return `${protocol}//${host}${pathname}`
}

/** Without each run of characters that is also in the secret. */
function withoutText(text: string, secret: string): string {
  const run = Math.min(shortestRun, secret.length)
  if (run < 3) return text
  let rest = ''
  for (let at = 0; at < text.length; ) {
    let length = 0
    if (secret.includes(text.slice(at, at + run)) && at + run <= text.length) {
      length = run
      while (at + length < text.length && secret.includes(text.slice(at, at + length + 1))) length += 1
    }
    rest += length > 0 ? '(removed)' : text[at]
    at += Math.max(1, length)
  }
  return rest
}

/** All texts in a value that came from outside, for `Report.secrets`. */
export function textsIn(value: unknown, depth = 6): string[] {
  if (typeof value === 'string') return [value]
  if (depth === 0 || typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
  return Object.values(value)
    .slice(0, 200)
    .flatMap((each) => textsIn(each, depth - 1))
    .slice(0, 500)
}

/** An error and its causes, the outermost first; each once. */
export function chainOf(
  thrown: unknown,
): { readonly type: string; readonly message: string; readonly stack: string }[] {
  const chain = []
  const seen = new Set<unknown>()
  for (
    let each: unknown = thrown;
    each !== undefined && each !== null && !seen.has(each) && chain.length < 5;
  ) {
    seen.add(each)
    const error: Error | undefined = each instanceof Error ? each : undefined
    const type = error instanceof AppError ? `AppError ${error.code}` : (error?.name ?? typeof each)
    chain.push({ type, message: messageOf(each), stack: error?.stack ?? '' })
    each = error?.cause
  }
  return chain
}
