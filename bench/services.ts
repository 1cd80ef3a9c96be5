import { lastFirst } from '../test/services/daemon.ts'
import { provideQueue, provideStatus, provideStorage } from '../test/services/provide.ts'
import type { Services } from '../test/services/services.ts'
import type { Cleanup } from '../test/temp-folder.ts'

/** Runs a benchmark over real services, started like those of the tests, and ends them after it. */
export async function whileServicesRun(
  action: (t: Cleanup, services: Services) => Promise<void>,
): Promise<void> {
  const endings: (() => void | Promise<void>)[] = []
  const t = lastFirst({ after: (ending) => void endings.push(ending) })
  try {
    const [queueUrl, statusUrl, storage] = await Promise.all([
      provideQueue(t),
      provideStatus(t),
      provideStorage(t),
    ])
    await action(t, { queueUrl, statusUrl, ...storage })
  } finally {
    for (const ending of endings) await ending()
  }
}
