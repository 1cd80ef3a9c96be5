import { assertUnchanged } from '../checkpoint/model.ts'
import { openUpscalerFile, type UpscalerFile } from '../checkpoint/upscaler-file.ts'
import { Weights } from '../checkpoint/weights.ts'
import { AbortedError, saidToAll } from '../errors.ts'
import type { GraphMemory } from '../graph/activations.ts'
import type { Precision } from '../graph/graph.ts'
import { arenaFactor, weightBytes } from '../model-sessions.ts'
import { multipleOf, reachOf, scaleOf, upscalerGraph } from '../models/upscaler.ts'
import type { Picture } from '../request.ts'
import { Session, type SessionOptions } from '../runtime/session.ts'
import type { SessionCache } from '../runtime/session-cache.ts'
import { type Tile, tilesOf } from './tiles.ts'

export interface UpscalerOptions extends SessionOptions {
  /** A `.safetensors` file. */
  readonly path: string
  readonly precision?: Precision
  /** Holds its session, beside those of models. */
  readonly sessions: SessionCache<Session>
  /** What a tile may take in memory, weights included; by default 2 GiB, and never more than the cache may hold. */
  readonly tileBytes?: number
}

export interface EnlargeOptions {
  /** Read before each tile. */
  readonly signal?: { readonly aborted: boolean } | undefined
  /** Called after each tile, counted from 1. */
  readonly onTile?: ((tile: number, tiles: number) => void) | undefined
}

const defaultTileBytes = 2 * 2 ** 30

/**
 * Neighbours that a tile shows the network on each side, at most: what is farther away changes a pixel by less than
 * 1/255. A network that reaches less far gets no more than that, and its tiles are exact.
 */
const mostOverlap = 32

/** Sides of tiles without their overlap, the largest that fits is taken: fewer tiles repeat less work. */
const tileSides = [1024, 768, 512, 384, 256, 192, 128, 96, 64, 32]

/** @throws CheckpointError naming the file and what is wrong with it, before anything is computed */
export async function openUpscaler(options: UpscalerOptions): Promise<Upscaler> {
  return new Upscaler(await openUpscalerFile(options.path), options)
}

/** A network that makes pictures larger. */
export class Upscaler {
  /** How many times as wide and high a picture becomes. */
  readonly scale: number
  readonly #network: UpscalerFile
  readonly #options: UpscalerOptions

  constructor(network: UpscalerFile, options: UpscalerOptions) {
    this.scale = scaleOf(network.config)
    this.#network = network
    this.#options = options
  }

  /** Memory that it holds, approximately. */
  get bytes(): number {
    return this.#options.sessions.bytes(this)
  }

  /**
   * The picture, `scale` times as wide and high. Memory is bounded by tiles, which overlap; a channel differs by at most
   * 1/255 from what the whole picture at once gives.
   * @throws AbortedError, MemoryError if not even a small tile fits, CheckpointError if the weights are damaged
   */
  async enlarge(picture: Picture, { signal, onTile }: EnlargeOptions = {}): Promise<Picture> {
    const { width, height } = picture
    const multiple = multipleOf(this.#network.config)
    const padded = { width: up(width, multiple), height: up(height, multiple) }
    const overlap = up(Math.min(reachOf(this.#network.config), mostOverlap), 4)
    const size = this.#tileSize(padded, overlap)
    const rows = tilesOf(padded.height, size.height, overlap)
    const columns = tilesOf(padded.width, size.width, overlap)
    const result = {
      rgb: new Uint8Array(3 * width * height * this.scale ** 2),
      width: width * this.scale,
      height: height * this.scale,
    }
    let done = 0
    for (const row of rows) {
      for (const column of columns) {
        if (signal?.aborted) throw new AbortedError(`stopped before tile ${done + 1}`)
        const data = cut(picture, row.start, column.start, size)
        const planes = await this.#options.sessions.turns.take(async () => {
          const session = await this.#session(size)
          return session.run({ picture: { data, dims: [1, 3, size.height, size.width] } })
        })
        if (!planes.every(Number.isFinite))
          throw saidToAll('the upscaler gave no finite numbers: its weights are damaged')
        this.#place(planes, size, { row, column }, result)
        done += 1
        onTile?.(done, rows.length * columns.length)
      }
    }
    return result
  }

  async close(): Promise<void> {
    const { sessions } = this.#options
    await sessions.turns.take(() => sessions.release(this))
  }

  /** The largest tile that fits; the smallest, if none does. */
  #tileSize(padded: TileSize, overlap: number): TileSize {
    const { tileBytes = defaultTileBytes, sessions } = this.#options
    const budget = Math.min(tileBytes, sessions.budgetBytes)
    const sizes = tileSides.map((side) => ({
      width: Math.min(padded.width, side + 2 * overlap),
      height: Math.min(padded.height, side + 2 * overlap),
    }))
    return sizes.find((size) => this.#plan(size).bytes <= budget) ?? (sizes.at(-1) as TileSize)
  }

  #plan({ width, height }: TileSize): { graph: Uint8Array; bytes: number } {
    const { precision = 'float32' } = this.#options
    const { config, file } = this.#network
    let memory: GraphMemory = { activations: 0, constants: 0 }
    const onMemory = (counted: GraphMemory) => {
      memory = counted
    }
    const graph = upscalerGraph(config, new Weights(file), height, width, { precision, onMemory })
    const activations = Math.ceil(arenaFactor * memory.activations)
    return { graph, bytes: weightBytes(file, precision) + memory.constants + activations }
  }

  #session(size: TileSize): Promise<Session> {
    const { sessions } = this.#options
    const { file } = this.#network
    return sessions.get(this, `tile ${size.height}x${size.width}`, () => {
      const { graph, bytes } = this.#plan(size)
      return {
        bytes,
        create: async () => {
          await assertUnchanged(file)
          return Session.create(graph, file.folder, this.#options)
        },
      }
    })
  }

  #place(
    planes: Float32Array,
    size: TileSize,
    { row, column }: { row: Tile; column: Tile },
    to: Picture,
  ): void {
    const { scale } = this
    const [wide, high] = [size.width * scale, size.height * scale]
    const [right, bottom] = [Math.min(column.to * scale, to.width), Math.min(row.to * scale, to.height)]
    for (let y = row.from * scale; y < bottom; y++) {
      for (let x = column.from * scale; x < right; x++) {
        const at = (y - row.start * scale) * wide + x - column.start * scale
        for (let channel = 0; channel < 3; channel++) {
          const value = planes[channel * wide * high + at]!
          to.rgb[(y * to.width + x) * 3 + channel] = Math.round(Math.min(Math.max(value, 0), 1) * 255)
        }
      }
    }
  }
}

interface TileSize {
  readonly width: number
  readonly height: number
}

function up(length: number, multiple: number): number {
  return Math.ceil(length / multiple) * multiple
}

/** A part of a picture as planes of 0 to 1; what lies right of it and below is a reflection, as Real-ESRGAN pads. */
function cut({ rgb, width, height }: Picture, top: number, left: number, size: TileSize): Float32Array {
  const pixels = size.width * size.height
  const planes = new Float32Array(3 * pixels)
  for (let y = 0; y < size.height; y++) {
    const row = reflected(top + y, height) * width
    for (let x = 0; x < size.width; x++) {
      const from = (row + reflected(left + x, width)) * 3
      for (let channel = 0; channel < 3; channel++) {
        planes[channel * pixels + y * size.width + x] = rgb[from + channel]! / 255
      }
    }
  }
  return planes
}

function reflected(at: number, length: number): number {
  return at < length ? at : Math.max(0, 2 * (length - 1) - at)
}
