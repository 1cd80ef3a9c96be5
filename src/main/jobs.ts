import { parseArgs } from 'node:util'
import { endWith, runCommand, UsageError } from '../cli/run-command.ts'
import { loadConfig } from '../config.ts'
import { anonymous } from '../jobs/caller.ts'
import { messageOf } from '../jobs/errors.ts'
import type { JobState } from '../jobs/job.ts'
import { createJobIds, isJobIdShaped } from '../jobs/job-id.ts'
import { noMetrics } from '../jobs/metrics.ts'
import { type CancelDeps, cancelJob } from '../jobs/serving/cancel.ts'
import { deleteJob } from '../jobs/serving/delete.ts'
import { isFinal } from '../jobs/serving/job-view.ts'
import { resendWebhook } from '../jobs/serving/webhooks/of-job.ts'
import { unitsOf } from '../jobs/work.ts'
import { openBackends } from './backends.ts'
import { createLogger } from './process/logger.ts'
import { prepareEnvironment } from './process/run-until-signal.ts'
import { webhookParts } from './webhooks.ts'

/** `npm run jobs`: what operators do about other people's jobs. Works beside a running service. */

const usage = `Usage: npm run jobs -- list [--caller NAME | --account NAME]
       npm run jobs -- cancel (ID... | --caller NAME | --account NAME | --all)
       npm run jobs -- purge ID...
       npm run jobs -- webhook ID...

  list    the jobs that wait or run, in their order, with their work in units, the name of their caller ("-" without a
          key) and its account (not an address: only the same for all jobs of one caller)
  cancel  cancels these jobs, those of a caller or an account, or all; final ones stay unchanged
  purge   cancels what is unfinished and deletes pictures, prompts and status
  webhook sends the webhooks of these final jobs again, with the same ids
`

const most = 10_000

interface Selection {
  readonly account: string | undefined
  readonly caller: string | undefined
  readonly all: boolean
}

async function jobs(args: readonly string[]): Promise<number> {
  const options = {
    account: { type: 'string' },
    caller: { type: 'string' },
    all: { type: 'boolean' },
  } as const
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
  const [command, ...ids] = positionals
  const { account, caller, all = false } = values
  const named = [account !== undefined, caller !== undefined, all].filter(Boolean).length
  const chosen = Number(ids.length > 0) + named
  const fits =
    (command === 'list' && ids.length === 0 && !all && named <= 1) ||
    (command === 'cancel' && chosen === 1) ||
    ((command === 'purge' || command === 'webhook') && ids.length > 0 && chosen === 1)
  if (!fits) throw new UsageError()
  prepareEnvironment(process.env)
  const { PACKSHOT_LOG_LEVEL = 'error' } = process.env
  const config = loadConfig({ ...process.env, PACKSHOT_LOG_LEVEL })
  const log = createLogger(config, 'server')
  await using backends = await openBackends(config, 'operator', log)
  const deps = {
    ...backends,
    metrics: noMetrics,
    ids: createJobIds(...backends.secrets),
    ttlSeconds: config.resultTtlSeconds,
    now: () => new Date(),
    log,
  }
  // awaited here: the backends are closed when this function returns
  if (command === 'list') return await list(deps, { account, caller, all: true })
  if (command === 'webhook') {
    const { webhooks } = await webhookParts(config, { ...backends, metrics: noMetrics }, log)
    return await each(ids, async (id) => {
      await resendWebhook({ ...deps, webhooks }, id)
      return 'on the queue: a server sends it'
    })
  }
  if (command === 'purge') return await each(ids, (id) => purge(deps, id))
  const wanted = ids.length > 0 ? ids : (await unfinished(deps, { account, caller, all })).map(({ id }) => id)
  return await each(wanted, async (id) => (await cancelJob(deps, id, await ownerOf(deps, id))).status)
}

async function unfinished({ status }: CancelDeps, { account, caller, all }: Selection): Promise<JobState[]> {
  const found = await status.unfinished(most)
  if (account !== undefined) return found.filter((job) => job.account === account)
  return found.filter((job) => (caller === undefined ? all : (job.caller ?? anonymous) === caller))
}

/** The name of its caller, which is part of its signature; undefined if no store knows the job. */
async function ownerOf({ status, images }: CancelDeps, id: string): Promise<string | undefined> {
  if (!isJobIdShaped(id)) return undefined
  return (await status.get(id))?.caller ?? (await images.getManifest(id))?.caller
}

async function list(deps: CancelDeps, selection: Selection): Promise<number> {
  const found = await unfinished(deps, selection)
  for (const job of found) {
    const { id, status, caller = '-', account = '-', created_at } = job
    const units = unitsOf(job).toFixed(1).padStart(8)
    console.log([id, status.padEnd(7), units, caller.padEnd(8), account.padEnd(16), created_at].join('  '))
  }
  console.error(`${found.length} jobs wait or run.`)
  return 0
}

async function purge(deps: CancelDeps, id: string): Promise<string> {
  const owner = await ownerOf(deps, id)
  if (!isFinal(await deleteJob(deps, id, owner))) return 'canceled soon: a worker has it; purge it again then'
  await deleteJob(deps, id, owner)
  return 'deleted'
}

async function each(ids: readonly string[], action: (id: string) => Promise<string>): Promise<number> {
  let faults = 0
  for (const id of ids) {
    const said = await action(id).catch((thrown: unknown) => {
      faults += 1
      return messageOf(thrown)
    })
    console.log(`${id}  ${said}`)
  }
  return faults === 0 ? 0 : 1
}

await endWith(runCommand(usage, () => jobs(process.argv.slice(2))))
