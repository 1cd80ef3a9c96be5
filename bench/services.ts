import { lastFirst } from '../test/services/daemon.ts'
import { provideAll, type Services } from '../test/services/provide.ts'
import type { Cleanup } from '../test/temp-folder.ts'

/** Runs a benchmark over real services, started like those of the tests, and ends them after it. */
export async function whileServicesRun(
  action: (t: Cleanup, services: Services) => Promise<void>,
): Promise<void> {
  const endings: (() => void | Promise<void>)[] = []
  const t = lastFirst({ after: (ending) => void endings.push(ending) })
  try {
    await action(t, await provideAll(t))
  } finally {
    for (const ending of endings) await ending()
  }
}
