import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { ensureInstalled } from '../services/packages.ts'

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
  const service = 'Chromium or Chrome (CHROMIUM_PATH names its executable)'
  await ensureInstalled(service, () => findChromium() !== undefined)
  return findChromium() as string
}

function findChromium(): string | undefined {
  return [process.env.CHROMIUM_PATH, ...candidates].find((path) => path !== undefined && existsSync(path))
}
