import { setImmediate as pause } from 'node:timers/promises'
import type { LatentSize } from './model-sessions.ts'
import type { TextStates } from './prompt/encode.ts'
import type { Turns } from './runtime/turns.ts'

/** One picture's call of the UNet. */
export interface UnetCall {
  /** [1, in_channels, height, width]: the same for every row of text states. */
  readonly sample: Float32Array
  readonly timestep: number
  readonly text: TextStates
  /** Rows of text states: two with guidance. */
  readonly rows: number
  readonly size: LatentSize
}

/** Whether two calls fit into one run: the same size, and as many tokens of text, with or without a mask. */
function fits(one: UnetCall, { size, text }: UnetCall): boolean {
  return (
    one.size.height === size.height &&
    one.size.width === size.width &&
    one.text.tokens === text.tokens &&
    (one.text.mask === undefined) === (text.mask === undefined)
  )
}

interface Options {
  /** How many rows one run may have that takes several calls like this one; 0: each goes alone. */
  readonly rowsTogether: (like: UnetCall) => Promise<number>
  /** Fewer rows than this go alone. */
  readonly leastRows: number
  /** @returns the prediction of each call, in their order */
  readonly run: (calls: readonly UnetCall[]) => Promise<Float32Array[]>
  /** Of the sessions. */
  readonly turns: Turns
  /** Resolves when no picture is about to begin, whose first call could go with the next run. */
  readonly settled: () => Promise<void>
  /** Receives what an operator should know of, in a sentence. */
  readonly onWarning: (message: string) => void
}

interface Waiting {
  readonly call: UnetCall
  readonly resolve: (prediction: Float32Array) => void
  readonly reject: (thrown: unknown) => void
}

/**
 * Calls of one UNet with one choice of LoRAs by pictures that are drawn at the same time: those that wait when it is free
 * go in one run, whatever their steps, seeds and samplers. So a picture joins and leaves the others between two of their
 * steps. If a run of several fails, each is run alone, so that only the one at fault fails.
 */
export class UnetCalls {
  readonly #options: Options
  #waiting: Waiting[] = []
  #together = true

  constructor(options: Options) {
    this.#options = options
  }

  predict(call: UnetCall): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject })
      void this.#soon()
    })
  }

  /** Never rejects: each call is told what became of it. */
  async #soon(): Promise<void> {
    await this.#options.settled()
    await this.#options.turns.take(() => this.#runNext())
  }

  async #runNext(): Promise<void> {
    // a picture that got its prediction a moment ago asks for the next one before this returns
    await pause()
    const [first] = this.#waiting
    // it went with the run before
    if (first === undefined) return
    let going: readonly Waiting[] = [first]
    try {
      going = await this.#take(first)
      const predictions = await this.#options.run(going.map(({ call }) => call))
      for (const [i, { resolve }] of going.entries()) resolve(predictions[i] as Float32Array)
    } catch (thrown) {
      if (going.length === 1) return this.#fail(first, thrown)
      await this.#runEach(going, thrown)
    }
  }

  /** Takes those that go with the first one out of those that wait, in their order. */
  async #take(first: Waiting): Promise<Waiting[]> {
    const { leastRows, rowsTogether } = this.#options
    const joins = this.#together && first.call.rows >= leastRows
    let left = joins ? (await rowsTogether(first.call)) - first.call.rows : 0
    const going = this.#waiting.filter((each) => {
      if (each === first) return true
      if (each.call.rows > left || each.call.rows < leastRows || !fits(each.call, first.call)) return false
      left -= each.call.rows
      return true
    })
    this.#waiting = this.#waiting.filter((each) => !going.includes(each))
    return going
  }

  async #runEach(going: readonly Waiting[], thrown: unknown): Promise<void> {
    let failed = 0
    for (const { call, resolve, reject } of going) {
      try {
        resolve((await this.#options.run([call]))[0] as Float32Array)
      } catch (alone) {
        failed += 1
        reject(alone)
      }
    }
    if (failed > 0) return
    // it would fail again at each step
    this.#together = false
    const reason = thrown instanceof Error ? thrown.message : String(thrown)
    this.#options.onWarning(
      `Pictures are drawn one after the other from now on: drawing several failed (${reason}).`,
    )
  }

  #fail(waiting: Waiting, thrown: unknown): void {
    this.#waiting = this.#waiting.filter((each) => each !== waiting)
    waiting.reject(thrown)
  }
}
