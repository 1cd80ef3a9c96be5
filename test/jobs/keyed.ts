import { pino } from 'pino'
import { memoryRateLimiter } from '../../src/adapters/memory/rate-limiter.ts'
import { buildHttp, type HttpDeps } from '../../src/http/app.ts'
import { createServices } from '../../src/http/services.ts'
import type { CallerLimits } from '../../src/jobs/caller.ts'
import { type KeysFile, keyring, newKey, type StoredCaller } from '../../src/jobs/keys.ts'
import { createRecogniser } from '../../src/jobs/serving/recognise.ts'
import { createSessions } from '../../src/jobs/sessions.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { embedded } from './embedded.ts'

/** API and page of a service whose callers have keys, by inject. */

type Entry = Partial<Omit<StoredCaller, 'name' | 'keys'>>

export interface KeyedOptions extends Pick<HttpDeps, 'page' | 'trustedProxies'> {
  /** Callers beside ann and bob, who may do everything. */
  readonly callers?: Readonly<Record<string, Entry>>
  readonly usual?: CallerLimits
  readonly strangers?: boolean
}

const day = 86_400_000

export async function keyed(t: Cleanup, options: KeyedOptions = {}) {
  const { callers = {}, usual = {}, strangers = false, page = 'sign-in', trustedProxies } = options
  const parts = embedded(t)
  const made = new Map(
    Object.keys({ ann: {}, bob: {}, ...callers }).map((name) => [name, newKey(new Date())] as const),
  )
  const expired = newKey(new Date(Date.now() - 2 * day), new Date(Date.now() - day))
  const disabled = newKey(new Date())
  const file: KeysFile = {
    version: 1,
    callers: [...made].map(([name, { stored }]) => ({
      name,
      keys: name === 'ann' ? [stored, expired.stored, { ...disabled.stored, disabled: true }] : [stored],
      ...callers[name],
    })),
  }
  let ring = keyring(file)
  const requests = memoryRateLimiter()
  const recogniser = createRecogniser({
    keys: () => ring,
    sessions: createSessions([Buffer.from('the secret of the tests')]),
    usual,
    ipv6Network: 64,
    strangers,
    requests,
    now: parts.now,
  })
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const services = createServices({ ...parts, ...recogniser, requests, log }, () => true)
  const app = await buildHttp({
    services,
    log,
    page,
    ...(trustedProxies === undefined ? {} : { trustedProxies }),
  })
  lastFirst(t).after(() => app.close())
  return {
    app,
    parts,
    /** What was logged. */
    lines,
    keyOf: (name: string) => made.get(name)?.key ?? '',
    /** Keys of ann that count no longer. */
    gone: { expired: expired.key, disabled: disabled.key },
    /** The file is another one now. */
    change(make: (file: KeysFile) => KeysFile) {
      ring = keyring(make(file))
    },
  }
}

export const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
