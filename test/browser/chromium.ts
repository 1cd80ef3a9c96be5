import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const candidates = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** A browser that connects only to the page it is given. `CHROMIUM_PATH` names another executable. */
export async function startBrowser(): Promise<Browser> {
  return chromium.launch({
    timeout: 120_000,
    executablePath: ensureChromium(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** Its executable, which is installed first where that is possible. */
export function ensureChromium(): string {
  return findChromium() ?? installChromium()
}

function findChromium(): string | undefined {
  return [process.env.CHROMIUM_PATH, ...candidates].find((path) => path !== undefined && existsSync(path))
}

/** On Debian and its children as root the package is installed; elsewhere the test fails with instructions. */
function installChromium(): string {
  const missing = 'The browser tests need Chromium or Chrome'
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`${missing}: install one, or name its executable in CHROMIUM_PATH.`)
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  execFileSync('apt-get', ['update', '-qq'], { env, stdio: 'inherit' })
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], {
    env,
    stdio: 'inherit',
  })
  const installed = findChromium()
  if (installed === undefined) throw new Error(`${missing}, and apt-get did not bring it.`)
  return installed
}
