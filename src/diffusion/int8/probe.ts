import { Graph, type Value } from '../graph/graph.ts'
import { elementType } from '../graph/messages.ts'
import { withoutWeights } from '../graph/without-weights.ts'
import { type Feed, Session, type SessionOptions } from '../runtime/session.ts'

/** What a processor gains from products of 8-bit numbers. */
export interface Gain {
  readonly gains: boolean
  /** For the log: a sentence with the figures. */
  readonly why: string
}

/** A layer of the UNet's middle size: 3.4 GFLOP, 10 ms on two cores. */
const [rows, inner, columns] = [1024, 1280, 1280]

/** The least times are compared. Beside other programs a few rounds are not enough to see a gain, so one that is clear ends them early. */
const [leastRounds, mostRounds] = [3, 40]
const clearTime = 0.45

/** The layer may take at most this share of the exact one's time: exact convolutions are computed in fewer products, and attention is the same. */
const mostTime = 0.65

/** Sums that overflow, as they do where the processor has no instruction for them, are off by far more. */
const mostError = 0.02

/**
 * Computes one layer both ways, by turns, with numbers at the end of their range: without VNNI (or AMX, or a dot product) sums of
 * 16 bits overflow in MLAS's kernels for signed weights. Takes a quarter of a second, or one where it is not clear.
 */
export async function eightBitsGain(options: SessionOptions): Promise<Gain> {
  if (options.provider !== 'cpu') {
    return { gains: false, why: `int8 is for the provider cpu, this worker computes on ${options.provider}.` }
  }
  const feeds = { x: { data: new Float32Array(rows * inner).fill(1), dims: [rows, inner] } }
  const [exact, eight] = [await layer(false, options), await layer(true, options)]
  try {
    const times = { exact: Number.POSITIVE_INFINITY, eight: Number.POSITIVE_INFINITY }
    let error = 0
    for (let round = 1; round <= mostRounds; round++) {
      times.exact = Math.min(times.exact, (await timed(exact, feeds)).ms)
      const { ms, result } = await timed(eight, feeds)
      times.eight = Math.min(times.eight, ms)
      error = result.reduce((most, value) => Math.max(most, Math.abs(value / inner - 1)), error)
      if (error >= mostError || (round >= leastRounds && times.eight < clearTime * times.exact)) break
    }
    const figures = `one layer takes ${times.eight.toFixed(1)} ms in int8 and ${times.exact.toFixed(1)} ms exactly`
    if (!(error < mostError)) {
      return {
        gains: false,
        why: `int8 is not used: this processor has no instructions for it, sums overflow.`,
      }
    }
    return times.eight < mostTime * times.exact
      ? { gains: true, why: `int8 is used where a request asks for it: ${figures}.` }
      : { gains: false, why: `int8 is not used, there is nothing to gain: ${figures}.` }
  } finally {
    await exact.release()
    await eight.release()
  }
}

/** x [rows, inner] times ones: every output is the sum of its row. */
async function layer(inEightBits: boolean, options: SessionOptions): Promise<Session> {
  const g = new Graph('probe', withoutWeights())
  const x = g.input('x', [rows, inner])
  const product = inEightBits
    ? ones(g, x)
    : g.op('MatMul', [x, g.filled(1, [inner, columns])], [rows, columns])
  g.output('y', product)
  return Session.create(g.serialize(), '', { ...options, profile: 'fast' })
}

/** Weights of 127, the largest, with a scale of 1/127. */
function ones(g: Graph, x: Value): Value {
  const { values, scale, zero } = g.quantized(x)
  const weights = g.op('Cast', [g.filled(127, [inner, columns])], [inner, columns], { to: elementType.I8 })
  const inputs = [values, weights, scale, g.filled(1 / 127, [columns]), zero]
  return g.op('MatMulIntegerToFloat', inputs, [rows, columns], {}, 'com.microsoft')
}

async function timed(session: Session, feeds: Readonly<Record<string, Feed>>) {
  const began = performance.now()
  const result = await session.run(feeds)
  return { ms: performance.now() - began, result }
}
