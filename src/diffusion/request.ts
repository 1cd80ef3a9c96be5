import type { SamplerName, Schedule } from './samplers/catalog.ts'

/** Everything that decides a picture beside the model: the same request gives the same picture. */
export interface PictureRequest {
  /** With A1111's weights, BREAK and names of embeddings; of any length. */
  readonly prompt: string
  readonly negativePrompt: string
  /** In pixels, multiples of the VAE's scale. */
  readonly width: number
  readonly height: number
  readonly steps: number
  /** 1 or less: no guidance, half the work. */
  readonly guidanceScale: number
  readonly sampler: SamplerName
  readonly schedule: Schedule
  /** Absent: the sampler's default. */
  readonly eta?: number | undefined
  /** In place of those of the schedule: as many as there are steps. */
  readonly timesteps?: readonly number[] | undefined
  /** The part of the steps that has guidance, of those that are taken; absent: all. */
  readonly guidanceEnd?: number | undefined
  /** For the infotext alone: the name of the choice that LoRAs and settings come from. */
  readonly pace?: string | undefined
  /** 0 to 2^32 - 1 */
  readonly seed: number
  /** Which layer of the text encoder counts, from the end; 1 is the last. */
  readonly clipSkip?: number
  readonly loras?: readonly LoraFile[]
  /** Textual inversions: what a prompt calls them, and their files. */
  readonly embeddings?: ReadonlyMap<string, string>
  /** `int8`: weights and what goes into them are 8-bit numbers; faster, and another picture. Absent: exact. */
  readonly precision?: 'int8' | undefined
  /** The file of a tiny VAE that decodes the picture in place of the model's: faster, and another picture. */
  readonly decoder?: string | undefined
  /** A picture to begin with, of this request's size. */
  readonly image?: SourceImage | undefined
}

export interface LoraFile {
  readonly file: string
  /** Of the UNet's part, and of the text encoder's unless that has its own. */
  readonly strength: number
  readonly textStrength?: number | undefined
}

export interface RunOptions {
  /** Called as the work goes on; `step` counts from 1 to the request's steps. */
  readonly onStep?: (step: number, steps: number) => void
  /** Called when the text, the steps and the decoding begin. */
  readonly onPhase?: (phase: 'text' | 'steps' | 'decode') => void
  /** Read before each call of the model. */
  readonly signal?: { readonly aborted: boolean }
  /**
   * Looks at the picture while it is made: what it would be if all noise that the model sees were taken away at once.
   * `count` of them at even distances, fewer in a short run. The run waits for `show`.
   */
  readonly previews?: Previews
}

interface Previews {
  readonly count: number
  /** At least so much time is between two; those that come sooner are left out. */
  readonly everyMs?: number
  /** The file of a tiny VAE, which makes them if there is memory for it. Otherwise they are coarse: see `LatentColours`. */
  readonly decoder?: string | undefined
  readonly show: (picture: Picture) => void | Promise<void>
}

/** 8 bits a channel, rows from top to bottom, [height, width, 3]. */
export interface Picture {
  readonly rgb: Uint8Array
  readonly width: number
  readonly height: number
}

/** A picture to begin with, already of the size of the picture that is asked for. */
export interface SourceImage extends Picture {
  /** How much of it is painted anew: above 0, and 1 keeps nothing but a hint. */
  readonly strength: number
  /** [height, width]: 128 to 255 is painted anew, 0 to 127 is kept. Absent: everything is painted anew. */
  readonly mask?: Uint8Array | undefined
}
