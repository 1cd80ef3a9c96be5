import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Picture } from '../../src/diffusion/request.ts'
import { Session } from '../../src/diffusion/runtime/session.ts'
import { judgeFolder, type Part } from './questions.ts'

/** `training/judge/judge.json`: the meaning of the scores, and the judge's accuracy on renders it had not seen. */
interface JudgeFacts {
  readonly side: number
  readonly parts: Readonly<Record<Part, readonly (string | number)[]>>
  readonly measured: {
    /** Root mean square difference of two renders of the same prompt, 0..255, at 64x64. */
    readonly diversity: number
    readonly unseen: JudgeAccuracy
    readonly 'unseen-held': JudgeAccuracy
  }
}

export type JudgeAccuracy = Readonly<Record<Part | 'pictures', number>>

/** The small network that classifies what a picture shows. It was trained on renders only. */
export class Classifier {
  readonly facts: JudgeFacts
  readonly #session: Session

  private constructor(facts: JudgeFacts, session: Session) {
    this.facts = facts
    this.#session = session
  }

  static async open(): Promise<Classifier> {
    const facts: JudgeFacts = JSON.parse(await readFile(new URL('judge.json', judgeFolder), 'utf8'))
    const graph = await readFile(new URL('judge.onnx', judgeFolder))
    return new Classifier(facts, await Session.create(graph, fileURLToPath(judgeFolder), { provider: 'cpu' }))
  }

  /** The most likely value of every part. */
  async look(picture: Picture): Promise<Record<Part, string | number>> {
    const { side, parts } = this.facts
    const scores = await this.#session.run({
      pictures: { data: planes(picture, side), dims: [1, 3, side, side] },
    })
    const seen: [string, string | number][] = []
    let first = 0
    for (const [part, values] of Object.entries(parts)) {
      const own = scores.subarray(first, first + values.length)
      seen.push([part, values[own.indexOf(Math.max(...own))]!])
      first += values.length
    }
    return Object.fromEntries(seen) as Record<Part, string | number>
  }

  async close(): Promise<void> {
    await this.#session.release()
  }
}

/**
 * The picture scaled down, each pixel the mean of those it replaces.
 * @returns [3, side, side] in 0..1
 * @throws RangeError if the picture is not square or its side is not a multiple of `side`
 */
export function planes({ rgb, width, height }: Picture, side: number): Float32Array {
  const block = width / side
  if (width !== height || !Number.isInteger(block))
    throw new RangeError(`a picture of ${width}x${height} cannot be scaled to ${side}x${side}`)
  const out = new Float32Array(3 * side * side)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = Math.floor(y / block) * side + Math.floor(x / block)
      for (let c = 0; c < 3; c++) out[c * side * side + at]! += rgb[(y * width + x) * 3 + c]!
    }
  }
  return out.map((sum) => sum / (block * block * 255))
}
