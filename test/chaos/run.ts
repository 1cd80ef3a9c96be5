import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ownCleanup } from '../cleanup.ts'
import { runChaos } from './chaos.ts'
import { planOf } from './schedule.ts'
import { saveOutputs, scheduleOf, summaryOf } from './summary.ts'

/**
 * `node test/chaos/run.ts [--jobs 500] [--seconds 180] [--seed N] [--keep]`: a long chaos run, with every fault
 * printed as it happens. Ends with 1 if it found something wrong; what the processes printed is then in the folder
 * that it names, and with `--keep` always. Then all rounds of the fuzz test.
 */
async function main(): Promise<number> {
  const { jobs, seconds, seed, keep } = readArguments()
  const plan = planOf(seed, seconds, jobs)
  console.log(scheduleOf(plan))

  const cleanup = ownCleanup()
  const end = async () => {
    await cleanup.end()
  }
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => void end().then(() => process.exit(status)))
  }
  try {
    const report = await runChaos(cleanup, plan, console.log)
    console.log(summaryOf(plan, report))
    const good = report.faults.length === 0
    if (!good || keep) console.log(`what the processes printed is in ${saveOutputs(report)}`)
    return good ? 0 : 1
  } finally {
    await end()
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      jobs: { type: 'string', default: '500' },
      seconds: { type: 'string', default: '180' },
      seed: { type: 'string', default: String(randomInt(1e9)) },
      keep: { type: 'boolean', default: false },
    },
  })
  const whole = (name: 'jobs' | 'seconds' | 'seed') => {
    if (!/^\d{1,9}$/.test(values[name])) throw new Error(`--${name} must be a whole number.`)
    return Number(values[name])
  }
  return { jobs: whole('jobs'), seconds: whole('seconds'), seed: whole('seed'), keep: values.keep }
}

function fuzz(): number {
  const file = join(import.meta.dirname, '../../src/diffusion/checkpoint/fuzz.test.ts')
  const env = { ...process.env, TEST_FUZZ_ROUNDS: '10000' }
  return spawnSync(process.execPath, ['--test', file], { env, stdio: 'inherit' }).status ?? 1
}

const status = await main()
process.exitCode = status | fuzz()
