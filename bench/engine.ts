import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Graph } from '../src/diffusion/graph/graph.ts'
import { withoutWeights } from '../src/diffusion/graph/without-weights.ts'
import { profiles, Session } from '../src/diffusion/runtime/session.ts'
import { SessionCache } from '../src/diffusion/runtime/session-cache.ts'
import { modelMemory } from '../src/generator/auto-profile.ts'
import { fullSizeCheckpoint } from './full-size-checkpoint.ts'

/**
 * The cost of the engine on this machine, with a checkpoint of Stable Diffusion 1.5's full size (random weights,
 * written once, about 2 GB) or any other model: seconds to load, seconds per step, threads and processor time per
 * step, GFLOP/s, memory.
 *
 *   npm run bench:engine -- [--model <folder or file>] [--size 512] [--steps 4] [--profile fast | packed | dense]
 *                           [--precision int8] [--json]
 *
 * With `packed`, `dense` and `int8` the model is loaded twice, and the second time is reported: files are written the first time.
 *
 * `--json` prints one line of JSON and nothing else. `--source <folder>` measures the engine of a different checkout,
 * to compare two checkouts with the same program: see docs/performance.md.
 */

/** One row of a UNet call on a 64x64 latent, counted with torch's FlopCounterMode on the diffusers module. */
const unetGflop = 803.3

/** Of it, what both rows of a guided picture share: a resnet of 320 channels, four projections, attention to itself. */
const sharedGflop = 40.8

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    size: { type: 'string', default: '512' },
    steps: { type: 'string', default: '4' },
    profile: { type: 'string', default: 'fast' },
    threads: { type: 'string' },
    precision: { type: 'string', default: 'exact' },
    source: { type: 'string', default: join(import.meta.dirname, '..') },
    json: { type: 'boolean', default: false },
  },
})
const profile = profiles.find((each) => each === values.profile)
if (profile === undefined) throw new Error(`--profile must be one of ${profiles.join(', ')}`)
const precision = values.precision === 'int8' ? ('int8' as const) : undefined
const engine: typeof import('../src/diffusion/engine.ts') = await import(
  resolve(values.source, 'src/diffusion/engine.ts')
)
const path = values.model ?? (await fullSizeCheckpoint())
const size = Number(values.size)
const steps = Number(values.steps)

const seconds = (since: number) => (performance.now() - since) / 1000
const say = (line: string) => {
  if (!values.json) console.log(line)
}

say(`${cpus()[0]?.model ?? 'unknown processor'}, ${size}x${size}, ${profile}`)
const ceiling = values.json ? Number.NaN : await matrixProductRate()
say(`one matrix product    ${Math.round(ceiling)} GFLOP/s: the UNet's widest layer alone, to compare with`)
const cacheFolder = join(tmpdir(), 'packshot-bench-weights')
const threads = values.threads === undefined ? undefined : Number(values.threads)
const sessions = new SessionCache<Session>(modelMemory({ modelMemoryMb: undefined }))
const open = () =>
  engine.openEngine({ model: path, provider: 'cpu', profile, threads, cacheFolder, sessions })
const shape = { width: size, height: size }
if (profile !== 'fast' || precision === 'int8') {
  const began = performance.now()
  const first = await open()
  await first.prepare({ ...shape, precision })
  await first.close()
  say(`the first time        ${seconds(began).toFixed(2)} s, in which files may be written`)
}
let began = performance.now()
const model = await open()
say(`check every key       ${seconds(began).toFixed(2)} s`)
began = performance.now()
await model.prepare({ ...shape, precision })
const load = seconds(began)
say(`load weights          ${load.toFixed(2)} s     ${memoryInWords()}`)

const marks = [mark()]
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
    precision,
  },
  { onStep: () => void marks.push(mark()) },
)
const decode = seconds(marks.at(-1)!.at)
const spans = marks.slice(1).map((end, index) => between(marks[index]!, end))
// the first step also encodes the prompt and touches all memory for the first time
const later = spans.slice(1).toSorted((a, b) => a.wall - b.wall)
const step = later[Math.floor(later.length / 2)] ?? spans[0]!
const cpuPerWall = step.cpu / step.wall
const busy = busyThreads(marks.length > 2 ? marks[1]! : marks[0]!, marks.at(-1)!) ?? Math.round(cpuPerWall)
const rate =
  values.model === undefined && size === 512 ? (2 * unetGflop - sharedGflop) / step.wall : undefined
const share =
  rate === undefined
    ? ''
    : `, ${Math.round(rate)} GFLOP/s, ${Math.round((rate / ceiling) * 100)} % of the widest layer alone`
say(`first guided step     ${spans[0]!.wall.toFixed(2)} s`)
say(`guided step (median)  ${step.wall.toFixed(3)} s${share}`)
say(`its processor time    ${cpuPerWall.toFixed(2)} of its wall time, by ${busy} threads`)
say(`decode                ${decode.toFixed(2)} s`)
say(`${steps} steps in all        ${seconds(marks[0]!.at).toFixed(2)} s     ${memoryInWords()}`)
if (values.json) {
  const { own, mapped } = memory()
  console.log(
    JSON.stringify({
      profile,
      threads: busy,
      precision: values.precision,
      cpuPerWall: rounded(cpuPerWall, 2),
      loadSeconds: rounded(load, 2),
      firstStepSeconds: rounded(spans[0]!.wall, 3),
      stepSeconds: rounded(step.wall, 4),
      decodeSeconds: rounded(decode, 3),
      ownBytes: own,
      mappedBytes: mapped,
      peakBytes: process.resourceUsage().maxRSS * 1024,
      gflopPerSecond: rate === undefined ? null : rounded(rate, 1),
    }),
  )
}
await model.close()

interface Mark {
  /** In milliseconds. */
  readonly at: number
  /** Of all threads, user and system, in microseconds. */
  readonly cpu: number
  /** Nanoseconds on a processor, by thread; undefined where the system does not report it. */
  readonly threads: ReadonlyMap<string, number> | undefined
}

function mark(): Mark {
  const { user, system } = process.cpuUsage()
  return { at: performance.now(), cpu: user + system, threads: threadTimes() }
}

/** In seconds. */
function between(start: Mark, end: Mark): { readonly wall: number; readonly cpu: number } {
  return { wall: (end.at - start.at) / 1000, cpu: (end.cpu - start.cpu) / 1e6 }
}

function threadTimes(): Map<string, number> | undefined {
  const folder = '/proc/self/task'
  if (!existsSync(join(folder, String(process.pid), 'schedstat'))) return undefined
  const times = readdirSync(folder).map((id): [string, number] => {
    return [id, Number(readFileSync(join(folder, id, 'schedstat'), 'utf8').split(' ', 1)[0])]
  })
  return new Map(times)
}

/** Threads that were on a processor for at least a quarter as long as the busiest, which excludes helper threads of Node. */
function busyThreads(start: Mark, end: Mark): number | undefined {
  if (start.threads === undefined || end.threads === undefined) return undefined
  const times = [...end.threads].map(([id, time]) => time - (start.threads?.get(id) ?? 0))
  const most = Math.max(...times)
  return times.filter((time) => time >= most / 4).length
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** The rate of the UNet's most favourable product, a feed-forward layer's: [512, 1280] x [1280, 10240]. */
async function matrixProductRate(): Promise<number> {
  const [rows, inner, columns] = [512, 1280, 10240]
  const g = new Graph('product', withoutWeights())
  const a = g.input('a', [rows, inner])
  // a constant, like weights: ONNX Runtime packs it once, on loading
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
 * In bytes. `own` is memory of this process alone; memory mapped from files is shared with others, and the system
 * reclaims it when needed. Where the two cannot be distinguished, all counts as own.
 */
function memory(): { readonly own: number; readonly mapped: number } {
  const rollup = '/proc/self/smaps_rollup'
  if (!existsSync(rollup)) return { own: process.memoryUsage.rss(), mapped: 0 }
  const text = readFileSync(rollup, 'utf8')
  const bytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(text)?.[1]) * 1024
  const own = bytes('Anonymous')
  return { own, mapped: bytes('Rss') - own }
}

function memoryInWords(): string {
  const { own, mapped } = memory()
  const megabytes = (value: number) => Math.round(value / 2 ** 20)
  const peak = Math.round(process.resourceUsage().maxRSS / 1024)
  return `memory ${megabytes(own)} MB own, ${megabytes(mapped)} MB mapped (peak of both ${peak} MB)`
}
