import { fileURLToPath } from 'node:url'

/**
 * `node src/main/role.ts ROLE [ARGUMENT...]`: becomes the program of that role, in this process. It is the entry of the
 * container image, where npm is not used: as the first process it would pass on SIGTERM and SIGINT alone.
 */

const programs: Readonly<Record<string, readonly string[]>> = {
  'all-in-one': ['src/main/all-in-one.ts'],
  server: ['src/main/server.ts'],
  worker: ['src/main/worker.ts'],
  storage: ['src/main/storage.ts'],
  keys: ['src/main/keys.ts'],
  jobs: ['src/main/jobs.ts'],
  models: ['src/cli/models.ts'],
  catalogue: ['src/cli/catalogue.ts'],
  generate: ['scripts/with-large-pages.ts', 'src/cli/generate.ts'],
}

const [role = '', ...args] = process.argv.slice(2)
const program = Object.hasOwn(programs, role) ? programs[role] : undefined
if (program === undefined) {
  const asked = role === '' ? 'No role is given.' : `There is no role "${role.slice(0, 60)}".`
  console.error(`${asked} Roles: ${Object.keys(programs).join(', ')}.`)
  process.exitCode = 1
} else {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const [first = '', ...rest] = program.map((path) => `${root}${path}`)
  // the warning that execve is experimental is for developers
  process.removeAllListeners('warning')
  process.execve?.(
    process.execPath,
    [process.argv0, ...process.execArgv, first, ...rest, ...args],
    process.env as Record<string, string>,
  )
}
