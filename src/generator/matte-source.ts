import type { Config } from '../config.ts'
import { opening } from '../diffusion/errors.ts'
import { type Matte, openMatte } from '../diffusion/matte/matte.ts'
import { Turns } from '../diffusion/runtime/turns.ts'
import { entryStamp } from '../library/folder/facts-cache.ts'
import { matteFile } from '../library/matte-file.ts'
import type { MatteSource } from './gate.ts'

/**
 * The matting network of this worker, opened when a picture first needs it, and again when its file changes.
 * @param budgetBytes what it may need while it computes; one that needs more is refused
 */
export function matteSource(
  settings: Pick<Config, 'matte' | 'modelsDir' | 'threads'>,
  budgetBytes: number,
): MatteSource {
  let open: { readonly key: string; readonly matte: Matte } | undefined
  const turns = new Turns()
  const opened = async (file: string) => {
    const key = `${file} ${await entryStamp(file)}`
    if (open?.key === key) return open.matte
    await open?.matte.close()
    open = undefined
    open = { key, matte: await openMatte(file, { threads: settings.threads, budgetBytes }) }
    return open.matte
  }
  return {
    alpha: (picture) =>
      turns.take(async () => {
        const file = await matteFile(settings)
        return opening(`The matting network ${settings.matte}`, async () =>
          (await opened(file)).alpha(picture),
        )
      }),
  }
}
