import { setTimeout as pause } from 'node:timers/promises'
import { ownCleanup } from '../cleanup.ts'
import { attacks } from './attacks.ts'
import { openTarget } from './target.ts'

/**
 * `npm run attacks`: starts the service as it is without settings (behind a trusted proxy, so that attackers can have
 * different addresses), plays what anonymous strangers tried, and prints what each attack sent, what it cost and what was
 * answered. Ends with 1 if an answer is not the right one.
 */
async function main(): Promise<number> {
  const cleanup = ownCleanup()
  try {
    const target = await openTarget(cleanup)
    let failed = 0
    console.log(
      'attack'.padEnd(66),
      'sent'.padStart(9),
      'CPU s'.padStart(7),
      'server'.padStart(9),
      'worker'.padStart(9),
    )
    for (const { name, play } of attacks) {
      await pause(500)
      const before = target.cost()
      const { seen, right } = await play(target)
      const after = target.cost()
      if (!right) failed += 1
      console.log(
        name.padEnd(66),
        inUnits(after.sent - before.sent).padStart(9),
        (after.cpuSeconds - before.cpuSeconds).toFixed(2).padStart(7),
        signed(after.serverBytes - before.serverBytes).padStart(9),
        signed(after.workerBytes - before.workerBytes).padStart(9),
      )
      console.log(`  ${right ? 'held' : 'FAILED'}: ${seen}`)
    }
    console.log(failed === 0 ? 'all held' : `${failed} did not hold`)
    return failed === 0 ? 0 : 1
  } finally {
    await cleanup.end()
  }
}

function inUnits(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

function signed(bytes: number): string {
  const mib = Math.round(bytes / 2 ** 20)
  return `${mib < 0 ? '' : '+'}${mib} MiB`
}

process.exitCode = await main()
