/**
 * Installs missing packages; does nothing if nothing changed. Runs before `npm start` and `npm test` on the machine's
 * own Node (20 or later), hence plain JavaScript: everything after it runs on the Node 24 that is pinned as a
 * dependency, because npm puts node_modules/.bin first on the PATH.
 *
 * Only registry packages are fetched: npm blocks install scripts unless package.json's `allowScripts` names them, and
 * it names only that of `node`, which unpacks another registry package.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..')
const stamp = join(root, 'node_modules', '.packshot-setup')
const pinned = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node')

const wanted = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .update(`${process.platform} ${process.arch}`)
  .digest('hex')

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  console.log('Packshot: installing packages (once; about half a minute) ...')
  install()
  checkNode()
  writeFileSync(stamp, wanted)
}

function install() {
  const npm = process.env.npm_execpath
  const [command, first] = npm ? [process.execPath, [npm]] : ['npm', []]
  const { status, error } = spawnSync(
    command,
    [...first, 'ci', '--no-audit', '--no-fund', '--loglevel=error', '--no-update-notifier'],
    // on npm versions that run it anyway, ONNX Runtime's script would fetch GPU libraries from elsewhere
    { cwd: root, stdio: 'inherit', env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' } },
  )
  if (error || status !== 0) {
    console.error(
      `Packshot: "npm ci" failed${error ? ` (${error.message})` : ''}. It needs the npm registry and about 700 MB ` +
        'of disk; the cause is in the lines above.',
    )
    process.exit(1)
  }
}

/** `npm ci --ignore-scripts` leaves the pinned Node without its binary: everything would run on the machine's Node. */
function checkNode() {
  let version = 'none'
  try {
    version = execFileSync(pinned, ['--version'], { encoding: 'utf8' }).trim()
  } catch {
    // reported below
  }
  if (!version.startsWith('v24.')) {
    console.error(
      `Packshot: the pinned Node 24 is not in node_modules (found: ${version}). Remove node_modules and any ` +
        '"ignore-scripts" setting of npm, and run the command again.',
    )
    process.exit(1)
  }
}
