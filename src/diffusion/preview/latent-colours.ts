import type { LatentSize } from '../model-sessions.ts'
import { toPicture } from '../planes.ts'
import type { Picture } from '../request.ts'

/**
 * What a sample looks like, without decoding it: each latent becomes a square of pixels by a linear map. That is coarse and
 * costs next to nothing. The map of Stable Diffusion 1.x is published; any other VAE's is fitted to what it decodes.
 */

/** Channels of a pixel, -1 to 1, for one of each latent channel: ComfyUI's `latent_rgb_factors` of SD 1.5 (comfy/latent_formats.py). */
const sd1Factors = [
  [0.3512, 0.2297, 0.3227],
  [0.325, 0.4974, 0.235],
  [-0.2829, 0.1762, 0.2721],
  [-0.212, -0.2616, -0.7177],
]

/** Positions of a picture that are fitted to, at most: more say nothing new. */
const mostPositions = 4096
/** Pictures that are fitted to; more tell little. */
const mostPictures = 64
/** Keeps the map small where a picture says little about a channel. */
const ridge = 1e-3

export class LatentColours {
  readonly #channels: number
  /** Pixels on each side of a latent, in what is shown. */
  readonly #side: number
  /** Pixels on each side of a latent, in what is decoded. */
  readonly #scale: number
  /** [channels + 1, 3 * side^2]: the last row is what is added. */
  #map: Float64Array | undefined
  readonly #products: Float64Array
  readonly #targets: Float64Array
  #learned = 0

  /**
   * @param scale pixels per latent of the VAE
   * @param known a map of this VAE, as `map` gives it; one that does not have its size is passed over
   */
  constructor(channels: number, scale: number, known?: readonly number[]) {
    this.#channels = channels
    this.#scale = scale
    const isSd1 = channels === sd1Factors.length && scale === 8
    this.#side = isSd1 ? 1 : Math.max(1, Math.floor(scale / 4))
    if (isSd1) {
      this.#map = Float64Array.from([...sd1Factors.flat(), 0, 0, 0])
      this.#learned = mostPictures
    }
    const rows = channels + 1
    if (known?.length === rows * this.#outputs) {
      this.#map = Float64Array.from(known)
      this.#learned = mostPictures
    }
    this.#products = new Float64Array(rows * rows)
    this.#targets = new Float64Array(rows * this.#outputs)
  }

  /** Whether a sample can be shown: a map that has to be fitted needs one decoded picture. */
  get isKnown(): boolean {
    return this.#map !== undefined
  }

  /** [channels + 1, 3 * side^2]; undefined if nothing was learned. */
  get map(): readonly number[] | undefined {
    return this.#map && [...this.#map]
  }

  /** @param sample [1, channels, height, width] @returns a picture of `side` pixels for each latent */
  show(sample: Float32Array, { height, width }: LatentSize): Picture {
    const map = this.#map
    if (map === undefined) throw new Error('nothing was learned yet')
    const [channels, side, positions] = [this.#channels, this.#side, height * width]
    const planes = new Float32Array(3 * positions * side ** 2)
    const outputs = this.#outputs
    for (let at = 0; at < positions; at++) {
      for (let output = 0; output < outputs; output++) {
        let value = map[channels * outputs + output] as number
        for (let channel = 0; channel < channels; channel++) {
          value += (map[channel * outputs + output] as number) * (sample[channel * positions + at] as number)
        }
        const [color, square] = [Math.floor(output / side ** 2), output % side ** 2]
        const y = Math.floor(at / width) * side + Math.floor(square / side)
        const x = (at % width) * side + (square % side)
        planes[color * positions * side ** 2 + y * width * side + x] = value
      }
    }
    return toPicture(planes, width * side, height * side)
  }

  /**
   * Takes in what the VAE makes of a sample, until it has seen enough.
   * @param sample [1, channels, height, width] @param planes [1, 3, height * scale, width * scale], -1 to 1
   */
  learn(sample: Float32Array, planes: Float32Array, { height, width }: LatentSize): void {
    if (this.#learned >= mostPictures) return
    this.#learned += 1
    const [channels, positions, outputs] = [this.#channels, height * width, this.#outputs]
    const rows = channels + 1
    const inputs = new Float64Array(rows).fill(1)
    const step = Math.max(1, Math.ceil(positions / mostPositions))
    for (let at = 0; at < positions; at += step) {
      for (let channel = 0; channel < channels; channel++) {
        inputs[channel] = sample[channel * positions + at] as number
      }
      const seen = this.#squareAt(planes, at, { height, width })
      for (let row = 0; row < rows; row++) {
        const input = inputs[row] as number
        for (let column = 0; column < rows; column++) {
          this.#products[row * rows + column]! += input * (inputs[column] as number)
        }
        for (let output = 0; output < outputs; output++) {
          this.#targets[row * outputs + output]! += input * (seen[output] as number)
        }
      }
    }
    this.#map = solved(this.#products, this.#targets, rows, outputs)
  }

  get #outputs(): number {
    return 3 * this.#side ** 2
  }

  /** The decoded pixels of a latent as `side` x `side` means, by channel. */
  #squareAt(planes: Float32Array, at: number, { height, width }: LatentSize): Float64Array {
    const [side, scale] = [this.#side, this.#scale]
    const block = scale / side
    const seen = new Float64Array(this.#outputs)
    const [top, left] = [Math.floor(at / width) * scale, (at % width) * scale]
    for (let output = 0; output < seen.length; output++) {
      const [color, square] = [Math.floor(output / side ** 2), output % side ** 2]
      const y = top + Math.floor(Math.floor(square / side) * block)
      const x = left + Math.floor((square % side) * block)
      const edge = Math.max(1, Math.floor(block))
      let sum = 0
      for (let row = 0; row < edge; row++) {
        const from = (color * height * scale + y + row) * width * scale + x
        for (let column = 0; column < edge; column++) sum += planes[from + column] as number
      }
      seen[output] = sum / edge ** 2
    }
    return seen
  }
}

/** Least squares by the normal equations: Gauss's elimination, which a ridge keeps away from zero. */
function solved(products: Float64Array, targets: Float64Array, rows: number, outputs: number): Float64Array {
  const [left, right] = [products.slice(), targets.slice()]
  const size = Array.from({ length: rows }, (_, row) => left[row * rows + row] as number)
  const added = (ridge * size.reduce((sum, value) => sum + value, 0)) / rows
  for (let row = 0; row < rows; row++) left[row * rows + row]! += added
  for (let pivot = 0; pivot < rows; pivot++) {
    for (let row = 0; row < rows; row++) {
      if (row === pivot) continue
      const factor = (left[row * rows + pivot] as number) / (left[pivot * rows + pivot] as number)
      if (factor === 0) continue
      for (let i = pivot; i < rows; i++) left[row * rows + i]! -= factor * (left[pivot * rows + i] as number)
      for (let i = 0; i < outputs; i++)
        right[row * outputs + i]! -= factor * (right[pivot * outputs + i] as number)
    }
  }
  return right.map((value, i) => {
    const row = Math.floor(i / outputs)
    return value / (left[row * rows + row] as number)
  })
}
