import { type Caller, requirePriority, requireScope } from '../caller.ts'
import { AppError } from '../errors.ts'
import type { Webhook } from '../job.ts'
import { keyWindows } from '../job-id.ts'
import { bestEffort } from '../log.ts'
import { checkKey, hashOfSent, keyReused } from '../serving/idempotency.ts'
import { checkRate } from '../serving/rate.ts'
import type { SubmitDeps } from '../serving/submit.ts'
import { describeValue } from '../wording.ts'
import { type CheckDeps, checkRun } from './check.ts'
import type { Definition, RunDocuments } from './documents.ts'
import { listFault } from './list.ts'

export interface CreateDeps extends CheckDeps, SubmitDeps {
  readonly documents: RunDocuments
  readonly catalogueTtlSeconds: number
}

export interface RunOptions {
  readonly caller: Caller
  readonly idempotencyKey?: string
  /** The address of this service for the receiver of a webhook. */
  readonly base: string
}

const hourMs = 3_600_000
/** Lists that are checked at the same moment by one server. */
const mostChecks = 2
let checks = 0

/**
 * Accepts a catalogue run: checks it whole, and stores it; when this resolves, the run survives any crash. With an
 * idempotency key the same request finds the same run, for an hour at least. Rejects `invalid_request`, `rate_limited`,
 * `unavailable`, `storage_full`, `forbidden`, `idempotency_key_reused`.
 */
export async function createRun(deps: CreateDeps, body: unknown, options: RunOptions): Promise<Definition> {
  const { caller, idempotencyKey: key } = options
  requireScope(caller, 'catalogues')
  requirePriority(caller, 'batch')
  await checkRate(deps.limiter, caller)
  const { ids, documents } = deps
  const later = (deps.catalogueTtlSeconds - deps.ttlSeconds) * 1000
  if (key === undefined) {
    const id = ids.catalogues.issue(new Date(deps.now().getTime() + later), caller.name)
    return checkAndStore(deps, body, options, id)
  }
  checkKey(key)
  const sent = hashOfSent(body)
  // a window ends when its runs are an hour old: none expires early
  const windows = keyWindows(deps.now()).map((start) => new Date(start.getTime() + hourMs + later))
  const keyIds = windows.map((time) => ids.catalogues.fromKey(caller.account, key, time, caller.name))
  for (const id of keyIds) {
    const earlier = await documents.definition(id)
    if (earlier === undefined) continue
    if (earlier.sent !== sent) throw keyReused(key)
    return earlier
  }
  return checkAndStore(deps, body, options, keyIds[0] as string, sent)
}

async function checkAndStore(
  deps: CreateDeps,
  body: unknown,
  options: RunOptions,
  id: string,
  sent?: string,
): Promise<Definition> {
  const { documents, images, ids, ttlSeconds } = deps
  const { caller } = options
  await checkOpenRuns(deps, caller)
  const webhook = webhookOf(deps, body, options)
  if (checks >= mostChecks) throw new AppError('unavailable', 'Other lists are being checked at this moment.')
  checks += 1
  try {
    const { parts, ...counts } = await checkRun(deps, body, id, caller.name)
    await deps.space.take(
      'results',
      parts.reduce((sum, part) => sum + part.byteLength, 0),
    )
    const mine = await bestEffort(deps.log, 'taking a turn', deps.status.turn(`catalogue-new:${id}`, 30_000))
    if (mine === false) {
      const message = 'A run with this Idempotency-Key is being stored at this moment.'
      throw new AppError('unavailable', message, { retryAfterSeconds: 30 })
    }
    for (const [part, packed] of parts.entries()) await documents.putItems(id, part, packed)
    const definition: Definition = {
      v: 1,
      id,
      caller: caller.name,
      account: caller.account,
      ...(sent === undefined ? {} : { sent }),
      ...counts,
      ...(webhook === undefined ? {} : { webhook }),
      created_at: deps.now().toISOString(),
      expires_at: new Date(ids.issuedAt(id).getTime() + ttlSeconds * 1000).toISOString(),
    }
    // a mark without a definition is nothing; a run without a mark would never be made
    await images.markRun(id, true)
    await documents.putDefinition(definition)
    deps.log.info({ catalogue: id, ...counts }, 'catalogue run accepted')
    return definition
  } finally {
    checks -= 1
  }
}

function webhookOf(
  { webhooks }: CreateDeps,
  body: unknown,
  { caller, base }: RunOptions,
): Webhook | undefined {
  const url = typeof body === 'object' && body !== null && 'webhook' in body ? body.webhook : undefined
  if (url !== undefined && typeof url !== 'string') {
    throw listFault('webhook', `webhook must be text, but was ${describeValue(url)}.`)
  }
  return webhooks.accept(caller, { ...(url === undefined ? {} : { url }), base })
}

async function checkOpenRuns(deps: CreateDeps, caller: Caller): Promise<void> {
  const most = deps.catalogueLimits.runs
  let open = 0
  for (const id of await deps.images.openRuns()) {
    if (!isOwn(deps, id, caller.name)) continue
    const definition = await deps.documents.definition(id)
    if (definition?.account === caller.account) open += 1
  }
  if (open < most) return
  const message = `You have ${open} unfinished catalogue runs, the maximum for one caller. Wait for one, or cancel one.`
  throw new AppError('rate_limited', message, { retryAfterSeconds: 60 })
}

export function isOwn({ ids }: Pick<CreateDeps, 'ids'>, id: string, owner: string): boolean {
  try {
    ids.catalogues.verify(id, owner)
    return true
  } catch {
    return false
  }
}
