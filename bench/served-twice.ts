import { join } from 'node:path'
import { startAllInOne } from '../src/main/all-in-one.ts'
import type { Running } from '../src/main/process/run-until-signal.ts'
import { startServer } from '../src/main/server.ts'
import { standInEngine } from '../test/stand-in/engine.ts'

/**
 * One process with two servers, of which one is measured: what differs between two processes of one program, where
 * things lie in memory and what was compiled when, is then the same for both, but for which began first. Says where they
 * are, "is ready: PLAIN MEASURED", and ends by a signal.
 *
 *   node bench/served-twice.ts fleet|embedded [measured-first]
 */
const { PACKSHOT_METRICS_PORT: port, PACKSHOT_DATA_DIR: folder = '', ...env } = process.env
const start = (name: string, more: Record<string, string>) =>
  process.argv[2] === 'fleet'
    ? startServer({ ...env, ...more }, standInEngine)
    : startAllInOne({ ...env, ...more, PACKSHOT_DATA_DIR: join(folder, name) }, standInEngine)
const kinds = { plain: {}, measured: { PACKSHOT_METRICS_PORT: port ?? '0' } }
const names = ['plain', 'measured'] as const
const servers = new Map<string, Running>()
for (const name of process.argv.includes('measured-first') ? names.toReversed() : names) {
  servers.set(name, await start(name, kinds[name]))
}
console.log(`is ready: ${names.map((name) => servers.get(name)?.banner.split(' ', 1)[0]).join(' ')}`)
