import { watchKeys } from '../adapters/disk/keys-file.ts'
import { type Config, ConfigError } from '../config.ts'
import type { PageAccess } from '../http/app.ts'
import type { Services } from '../http/services.ts'
import {
  anonymous,
  anonymousCaller,
  type CallerLimits,
  type Credentials,
  type RateName,
} from '../jobs/caller.ts'
import { messageOf } from '../jobs/errors.ts'
import { uploadKeptSeconds } from '../jobs/job-id.ts'
import type { Log } from '../jobs/log.ts'
import type { RateLimiter } from '../jobs/ports.ts'
import type { KeptLimits } from '../jobs/serving/kept.ts'
import { bucket, createRecogniser, type Recogniser } from '../jobs/serving/recognise.ts'
import { createSessions } from '../jobs/sessions.ts'

export interface CallersOptions {
  readonly config: Config
  readonly requests: RateLimiter
  /** The first signs sessions, all are accepted. */
  readonly secrets: readonly Uint8Array[]
  readonly log: Log
}

export interface Callers
  extends Pick<Services, 'caller' | 'signIn'>,
    Pick<Recogniser, 'named'>,
    Partial<Pick<Recogniser, 'current'>> {
  /** See `Keyring.webhookGeneration`. */
  webhookGeneration(name: string): number
  close(): void
}

/** How requests are recognised: by their keys if there is a file of them, else by address. Rejects with `ConfigError`. */
export async function openCallers(options: CallersOptions): Promise<Callers> {
  const { config, requests, secrets, log } = options
  const { keysFile: path, ipv6Network } = config
  const usual = usualLimits(config)
  if (path === undefined) {
    return {
      caller: ({ address }: Credentials) => anonymousCaller(address, usual, ipv6Network),
      named: (name, account) => (name === anonymous ? { ...anonymousCaller('', usual), account } : undefined),
      webhookGeneration: () => 1,
      close() {},
    }
  }
  const watched = await watchKeys({ path, uid: process.getuid?.() }, log).catch((cause: unknown) => {
    throw new ConfigError([messageOf(cause)])
  })
  const recogniser = createRecogniser({
    keys: watched.current,
    sessions: createSessions(secrets),
    usual,
    ipv6Network,
    strangers: pageOf(config) === 'open',
    requests,
    now: () => new Date(),
  })
  const webhookGeneration = (name: string) => watched.current().webhookGeneration(name)
  return { ...recogniser, webhookGeneration, close: watched.close }
}

/** How the page is reached. */
export function pageOf({ page, keysFile }: Config): PageAccess {
  return page ?? (keysFile === undefined ? 'open' : 'sign-in')
}

/** Throws `ConfigError` unless it was decided who may use what this address opens. */
export function requireDecision({ host, open, page, keysFile }: Config): void {
  const faults: string[] = []
  if (page === 'sign-in' && keysFile === undefined)
    faults.push('PACKSHOT_PAGE=sign-in needs PACKSHOT_KEYS_FILE, the keys to sign in with.')
  if (!isLoopback(host) && keysFile === undefined && open !== '1') {
    faults.push(
      `PACKSHOT_HOST=${host} would let everybody who reaches this machine make jobs, upload pictures and see the models. Give callers keys with PACKSHOT_KEYS_FILE (\`npm run keys -- add NAME\` writes it), or set PACKSHOT_OPEN=1 if this is intended, as behind a proxy with access control. PACKSHOT_HOST=127.0.0.1 serves this machine only.`,
    )
  }
  if (faults.length > 0) throw new ConfigError(faults)
}

/**
 * Who keeps pictures for good, and how many. Somebody without a key only where nothing suggests that others come: a stranger
 * would leave pictures forever, and all strangers have one name.
 */
export function keptLimitsOf(config: Config): KeptLimits {
  const { host, open, keysFile, trustedProxies, allowedHosts, queueUrl, statusUrl, storage } = config
  const elsewhere = [keysFile, trustedProxies, allowedHosts, queueUrl, statusUrl, storage]
  const alone = isLoopback(host) && open !== '1' && elsewhere.every((each) => each === undefined)
  return { pictures: config.keptPictures, anonymous: alone }
}

export function isLoopback(host: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d{1,3}){1,3}|\[?::1\]?|::ffff:127(\.\d{1,3}){3})$/i.test(host)
}

/** A setting of 0 is no limit. */
function usualLimits(config: Config): CallerLimits {
  const { jobsPerMinute, requestsPerMinute, unitsPerHour, callerJobs, callerUnits } = config
  const resultMinutes = config.resultTtlSeconds / 60
  const uploadMinutes = uploadKeptSeconds(config.resultTtlSeconds) / 60
  const named = (name: RateName, amount: number, minutes: number) =>
    amount === 0 ? {} : { [name]: bucket(amount, minutes) }
  return {
    ...named('rate', jobsPerMinute, 1),
    ...named('requests', requestsPerMinute, 1),
    ...named('work', unitsPerHour, 60),
    // a bucket that refills while files are kept lets through twice its size in that time
    ...named('uploadBytes', (config.callerUploadsMb * 2 ** 20) / 2, uploadMinutes),
    ...named('resultBytes', (config.callerResultsMb * 2 ** 20) / 2, resultMinutes),
    ...named('failures', config.failedKeysPerMinute, 1),
    unfinished: {
      ...(callerJobs === 0 ? {} : { jobs: callerJobs }),
      ...(callerUnits === 0 ? {} : { units: callerUnits }),
    },
  }
}
