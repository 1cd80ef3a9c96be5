import { parse } from 'node:path'
import { opening } from '../diffusion/errors.ts'
import type { Picture } from '../diffusion/request.ts'
import {
  type EnlargeOptions,
  openUpscaler,
  type Upscaler,
  type UpscalerOptions,
} from '../diffusion/upscaler/upscaler.ts'
import { entryStamp } from '../library/folder/facts-cache.ts'
import { type EngineChoice, EnginePool } from './engine-pool.ts'

/** Enlarges pictures with the upscalers of the models folder. */
export interface Enlarger {
  /**
   * The picture, as many times larger as the upscaler makes it.
   * @param file of the upscaler, see `upscalerFile`
   * @throws CheckpointError naming the upscaler, MemoryError, AbortedError before a tile
   */
  enlarge(picture: Picture, file: string, options?: EnlargeOptions): Promise<Picture>
}

/** @param settings where and with what they compute; their sessions are held beside those of models */
export function enlarger(settings: Omit<UpscalerOptions, 'path'>): Enlarger {
  const pool = new EnginePool<EngineChoice, Upscaler>({
    open: ({ key: path, name }) => opening(`The upscaler ${name}`, () => openUpscaler({ ...settings, path })),
  })
  return {
    async enlarge(picture, file, options) {
      const { name } = parse(file)
      const choice = { name, key: file, stamp: await entryStamp(file) }
      return pool.use(choice, (upscaler) =>
        opening(`The upscaler ${name}`, () => upscaler.enlarge(picture, options)),
      )
    },
  }
}
