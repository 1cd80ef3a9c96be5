/**
 * Installs missing packages; does nothing if everything is there. Runs before every program on the machine's own Node
 * (20 or later), hence plain JavaScript: the programs run on the Node 24 that is pinned as a dependency.
 *
 *   node scripts/setup.mjs [--development]     also the packages that only tests and checks need
 *
 * What is there is seen by looking, so packages installed at the build of an image, by another user, are found. What is
 * installed does not depend on the surroundings (`NODE_ENV=production`, npm's `omit` and `ignore-scripts`).
 *
 * Only registry packages are fetched. No install script runs except that of `node`, which unpacks another registry
 * package.
 */
import { execFileSync, spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const pinnedNode = join(modules, '.bin', process.platform === 'win32' ? 'node.cmd' : 'node')
const wanted = packagesOf(join(root, 'package-lock.json'))
const nodeVersion = wanted['node_modules/node'].version

const missing = missingPackages(process.argv.includes('--development'))
if (missing.length > 0 || pinnedVersion() !== nodeVersion) {
  refuseWithoutRights()
  if (missing.length > 0) {
    console.log('Packshot: installing packages (once; about half a minute) ...')
    await npm('ci', '--ignore-scripts', '--include=dev', '--include=optional', '--include=peer')
  }
  await npm('rebuild', 'node', '--ignore-scripts=false')
  const found = pinnedVersion()
  if (found !== nodeVersion) {
    fail(
      `Node ${nodeVersion} is not in node_modules after the installation (found: ${found ?? 'none that runs'}). Remove node_modules and run the command again.`,
    )
  }
}

/** The packages of a lock file by folder; empty if there is no such file. npm writes the one of node_modules last. */
function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? {}
  } catch {
    return {}
  }
}

/** The folders of packages that this system needs and that are absent or of another version. */
function missingPackages(development) {
  const installed = packagesOf(join(modules, '.package-lock.json'))
  return Object.entries(wanted)
    .filter(([folder, entry]) => folder !== '' && isNeeded(entry, development))
    .filter(
      ([folder, { version, integrity }]) =>
        installed[folder]?.version !== version ||
        installed[folder]?.integrity !== integrity ||
        !existsSync(join(root, folder, 'package.json')),
    )
    .map(([folder]) => folder)
}

function isNeeded({ dev, devOptional, optional, os, cpu, libc }, development) {
  if (dev || devOptional) return development && !optional && !devOptional
  if (!optional) return true
  // an optional package without a system of its own is a fallback, which npm may leave out
  return (
    os?.includes(process.platform) === true &&
    cpu?.includes(process.arch) === true &&
    (libc === undefined || libc.includes(libcName()))
  )
}

function libcName() {
  return process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}

function pinnedVersion() {
  try {
    return execFileSync(pinnedNode, ['--version'], { encoding: 'utf8' }).trim().slice(1)
  } catch {
    return undefined
  }
}

/** Packages that somebody else installed and that do not fit cannot be replaced by this user: npm would fail late. */
function refuseWithoutRights() {
  try {
    accessSync(root, constants.W_OK)
    if (existsSync(modules)) accessSync(modules, constants.W_OK)
  } catch {
    const what =
      missing.length > 0
        ? `${missing.length} packages are missing or of another version (${missing[0]})`
        : `Node ${nodeVersion} is missing`
    fail(
      `${what} in ${modules}, and this user cannot write there. Run "npm ci && npm rebuild node --ignore-scripts=false" as the user that owns it, for example when the image is built.`,
    )
  }
}

/** Ends this process unless the command succeeds. Ends the command when this process is to end, or its parent does. */
async function npm(command, ...options) {
  const cli = process.env.npm_execpath ?? ''
  const [program, first] = basename(cli).startsWith('npm-cli') ? [process.execPath, [cli]] : ['npm', []]
  const { NODE_ENV: _, npm_config_libc: __, ...env } = process.env
  const child = spawn(
    program,
    [
      ...first,
      command,
      ...options,
      // each would change what is installed, or where
      '--global=false',
      '--location=project',
      '--dry-run=false',
      '--package-lock=true',
      '--package-lock-only=false',
      '--bin-links=true',
      '--install-strategy=hoisted',
      '--legacy-peer-deps=false',
      '--engine-strict=false',
      `--os=${process.platform}`,
      `--cpu=${process.arch}`,
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      '--no-update-notifier',
    ],
    { cwd: root, stdio: 'inherit', env, shell: process.platform === 'win32' && first.length === 0 },
  )
  const parent = process.ppid
  const stop = () => {
    child.kill('SIGTERM')
    process.exit(1)
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, stop)
  // npm ends its shell, and the shell says nothing to this process
  const watch = setInterval(() => process.ppid === parent || stop(), 500)
  const fault = await new Promise((done) => {
    child.on('error', (error) => done(error.message))
    child.on('exit', (code, signal) => done(code === 0 ? undefined : `status ${code ?? signal}`))
  })
  clearInterval(watch)
  if (fault === undefined) return
  fail(
    `"npm ${command}" failed (${fault}). It needs the npm registry and about 700 MB of disk; the cause is in the lines above.`,
  )
}

function fail(message) {
  console.error(`Packshot: ${message}`)
  process.exit(1)
}
