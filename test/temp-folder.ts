import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What a test or a suite can do when it is over. */
export interface Cleanup {
  after(action: () => void | Promise<void>): void
}

/** A new folder that is gone after the test. */
export function tempFolder(t: Cleanup): string {
  const folder = mkdtempSync(join(tmpdir(), 'packshot-test-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
