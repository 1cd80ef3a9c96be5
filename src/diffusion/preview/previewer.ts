import { join } from 'node:path'
import type { TinyVae } from '../checkpoint/tiny-vae-file.ts'
import { readSmallText } from '../config-file.ts'
import type { LatentSize, ModelSessions } from '../model-sessions.ts'
import { vaeScale } from '../models/vae.ts'
import { type Networks, tinyFeeds } from '../networks.ts'
import { toPicture } from '../planes.ts'
import type { Picture } from '../request.ts'
import { LatentColours } from './latent-colours.ts'

/** Shows what the samples of one model look like while it draws, at as little cost as there is. */
export class Previewer {
  readonly #sessions: ModelSessions
  readonly #colours: LatentColours
  readonly #scale: number

  /** @param known see `LatentColours` */
  constructor(sessions: ModelSessions, known?: readonly number[]) {
    const { vae } = sessions.model.architecture
    this.#sessions = sessions
    this.#scale = vaeScale(vae)
    this.#colours = new LatentColours(vae.latent_channels, this.#scale, known)
  }

  get colours(): readonly number[] | undefined {
    return this.#colours.map
  }

  /**
   * By the tiny VAE if there is one and memory for it, else by colours. The first sample of a VAE whose colours are not
   * known is decoded.
   */
  async look(
    sample: Float32Array,
    size: LatentSize,
    networks: Networks,
    tiny: TinyVae | undefined,
  ): Promise<Picture> {
    const full = [size.width * this.#scale, size.height * this.#scale] as const
    const planes =
      tiny &&
      (await this.#sessions.turns.take(async () => {
        const session = await this.#sessions.tinyDecoderBeside(tiny, size)
        return session?.run(tinyFeeds(tiny, sample, size))
      }))
    if (planes) return toPicture(planes, ...full)
    if (this.#colours.isKnown) return this.#colours.show(sample, size)
    return toPicture(this.seen(sample, size, await networks.decode(sample, size)), ...full)
  }

  /** Learns from what the VAE made of a sample. @returns that */
  seen(sample: Float32Array, size: LatentSize, planes: Float32Array): Float32Array {
    this.#colours.learn(sample, planes, size)
    return planes
  }
}

/** A model's folder may say how its latents look; a file of anything else is passed over. */
export async function coloursBeside(model: string): Promise<readonly number[] | undefined> {
  const text = await readSmallText(join(model, 'latent-colours.json'), { ifPresent: true }).catch(() => '')
  try {
    const found: unknown = JSON.parse(text ?? '')
    return Array.isArray(found) && found.every(Number.isFinite) ? found : undefined
  } catch {
    return undefined
  }
}

/** True at the first call, and then if so much time has passed since it was last true. */
export function atMostEvery(ms: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - last < ms) return false
    last = now
    return true
  }
}
