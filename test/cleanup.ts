import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What a test or a suite can do when it is over. */
export interface Cleanup {
  after(action: () => unknown): void
}

const cleanups = new WeakMap<Cleanup, Cleanup>()

/**
 * The one cleanup of a test: the last action first, so that what uses a folder ends before the folder goes, and each
 * though another rejects. Hooks of `node:test` run the first first, and none after one that failed: a server would
 * write into a folder while it is removed, and a browser that stays keeps the process of the tests.
 */
export function lastFirst(t: Cleanup): Cleanup {
  const known = cleanups.get(t)
  if (known !== undefined) return known
  const cleanup = ownCleanup()
  t.after(cleanup.end)
  cleanups.set(t, cleanup)
  return cleanup
}

/** A cleanup that is one action of the test's, for what starts more as long as it lives: a service that is restarted, a fleet. */
export function groupOf(t: Cleanup): Cleanup {
  const cleanup = ownCleanup()
  lastFirst(t).after(cleanup.end)
  return cleanup
}

/** The cleanup of a program that is no test, which calls `end`; calling it again does what is new. */
export function ownCleanup(): Cleanup & { end(): Promise<void> } {
  const actions: (() => unknown)[] = []
  const cleanup = {
    after: (action: () => unknown) => void actions.push(action),
    end: async () => {
      const faults: unknown[] = []
      for (let action = actions.pop(); action !== undefined; action = actions.pop()) {
        try {
          await action()
        } catch (error) {
          faults.push(error)
        }
      }
      if (faults.length > 0) throw faults.length === 1 ? faults[0] : new AggregateError(faults)
    },
  }
  cleanups.set(cleanup, cleanup)
  return cleanup
}

/** A new folder that is gone after the test. */
export function tempFolder(t: Cleanup, parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'packshot-test-'))
  lastFirst(t).after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
