import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.ts'
import { openEngine } from '../src/diffusion/engine.ts'
import { Graph } from '../src/diffusion/graph/graph.ts'
import { withoutWeights } from '../src/diffusion/graph/without-weights.ts'
import { profiles, Session } from '../src/diffusion/runtime/session.ts'

/**
 * What the engine costs on this machine, with a checkpoint of Stable Diffusion 1.5's full size (random weights,
 * written once, about 2 GB) or any other model: seconds to load, seconds a step, GFLOP/s, peak memory.
 *
 *   node bench/engine.ts [--model <folder or file>] [--size 512] [--steps 4] [--profile fast | dense]
 */

/** One UNet call on a 64x64 latent, counted with torch's FlopCounterMode on the diffusers module. */
const unetGflop = 803.3

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    size: { type: 'string' },
    steps: { type: 'string' },
    profile: { type: 'string', default: 'fast' },
  },
})
const profile = profiles.find((each) => each === values.profile)
if (profile === undefined) throw new Error(`--profile must be one of ${profiles.join(', ')}`)
const path = values.model ?? (await fullSizeCheckpoint())
const size = Number(values.size ?? 512)
const steps = Number(values.steps ?? 4)

const seconds = (since: number) => (performance.now() - since) / 1000

console.log(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} threads, ${size}x${size}, ${profile}`,
)
const ceiling = await matrixProductRate()
console.log(
  `one matrix product    ${Math.round(ceiling)} GFLOP/s: the UNet's widest layer alone, to compare with`,
)
const cacheFolder = join(tmpdir(), 'packshot-bench-float32')
let began = performance.now()
const open = () => openEngine({ model: path, provider: 'cpu', profile, cacheFolder })
let model = await open()
console.log(
  `check every key       ${seconds(began).toFixed(2)} s${profile === 'dense' ? ' (and float32 copies, if there were none)' : ''}`,
)
if (profile === 'dense') {
  began = performance.now()
  model = await open()
  console.log(`again                 ${seconds(began).toFixed(2)} s`)
}
began = performance.now()
await model.prepare({ width: size, height: size })
console.log(`load weights          ${seconds(began).toFixed(2)} s     ${memory()}`)

const times: number[] = []
began = performance.now()
const whole = began
let last = began
await model.generate(
  {
    prompt: 'a red apple on a white table',
    negativePrompt: 'blurry',
    width: size,
    height: size,
    steps,
    guidanceScale: 7,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 7,
  },
  {
    onStep() {
      times.push(seconds(last))
      last = performance.now()
    },
  },
)
const decode = seconds(last)
// the first step also encodes the prompt and touches all memory for the first time
const later = times.slice(1).toSorted((a, b) => a - b)
const step = later[Math.floor(later.length / 2)] ?? times[0]!
const rate = (2 * unetGflop) / step
const known = values.model === undefined && size === 512
const share = known
  ? `     ${Math.round(rate)} GFLOP/s, ${Math.round((rate / ceiling) * 100)} % of the widest layer alone`
  : ''
console.log(`first guided step     ${times[0]!.toFixed(2)} s`)
console.log(`guided step (median)  ${step.toFixed(3)} s${share}`)
console.log(`decode                ${decode.toFixed(2)} s`)
console.log(`${steps} steps in all        ${seconds(whole).toFixed(2)} s     ${memory()}`)
await model.close()

/** The rate of the UNet's most favourable product, a feed-forward layer's: [512, 1280] x [1280, 10240]. */
async function matrixProductRate(): Promise<number> {
  const [rows, inner, columns] = [512, 1280, 10240]
  const g = new Graph('product', withoutWeights())
  const a = g.input('a', [rows, inner])
  // a constant, as weights are: ONNX Runtime packs it once, at load
  g.output('c', g.op('MatMul', [a, g.filled(0.5, [inner, columns])], [rows, columns]))
  const session = await Session.create(g.serialize(), tmpdir(), { provider: 'cpu' })
  const feeds = { a: { data: new Float32Array(rows * inner).fill(0.5), dims: a.dims } }
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 6; i++) {
    const began = performance.now()
    await session.run(feeds)
    best = Math.min(best, seconds(began))
  }
  await session.release()
  return (2 * rows * inner * columns) / best / 1e9
}

/**
 * `own` is what this process alone takes; what is mapped from files is shared with others, and the system takes it back
 * when it needs it.
 */
function memory(): string {
  const peak = Math.round(process.resourceUsage().maxRSS / 1024)
  const rollup = '/proc/self/smaps_rollup'
  if (!existsSync(rollup)) return `peak memory ${peak} MB`
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(readFileSync(rollup, 'utf8'))?.[1])
  const own = kilobytes('Anonymous')
  const megabytes = (value: number) => Math.round(value / 1024)
  return `memory ${megabytes(own)} MB own, ${megabytes(kilobytes('Rss') - own)} MB mapped (peak of both ${peak} MB)`
}

async function fullSizeCheckpoint(): Promise<string> {
  const folder = join(tmpdir(), 'packshot-random-sd15')
  if (!existsSync(join(folder, 'model_index.json'))) {
    console.log(`writing a full-size random checkpoint to ${folder} ...`)
    await writeRandomCheckpoint(folder, join(import.meta.dirname, '../test/golden/tiny-sd/tokenizer'))
  }
  return folder
}
