import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { ensureInstalled } from '../services/packages.ts'

/** Without windows, and so with two thirds of what a browser costs: it draws and runs scripts as the others do. */
const shell = '/usr/bin/chromium-headless-shell'

const others = [
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
    executablePath: await ensureChromium(),
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
export async function ensureChromium(): Promise<string> {
  const wanted = () => firstThere([process.env.CHROMIUM_PATH, shell])
  try {
    await ensureInstalled(
      'Chromium or Chrome (CHROMIUM_PATH names its executable)',
      () => wanted() !== undefined,
    )
    return wanted() as string
  } catch (thrown) {
    const other = firstThere(others)
    if (other === undefined) throw thrown
    return other
  }
}

function firstThere(paths: readonly (string | undefined)[]): string | undefined {
  return paths.find((path) => path !== undefined && existsSync(path))
}
