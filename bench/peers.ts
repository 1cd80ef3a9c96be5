import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { rewriteReport } from '../scripts/judge/report.ts'
import { profiles } from '../src/diffusion/runtime/session.ts'
import { noTelemetry } from '../src/diffusion/runtime/telemetry.ts'
import { usableCores } from '../src/diffusion/runtime/threads.ts'
import { withLargePages } from '../src/main/process/large-pages.ts'
import { fullSizeCheckpoint } from './full-size-checkpoint.ts'
import { fromSdCpp, type Measured, peersTable, type Run } from './peers-table.ts'

/**
 * Packshot beside torch with diffusers and beside stable-diffusion.cpp, on the same random weights of full size, with the same
 * number of threads, with large pages and without. Every run is a process of its own, and rounds go through all of them in
 * turn, so that what else the machine does meets all alike.
 *
 *   npm run bench:peers -- [--python <venv or program>] [--diffusers <folder with its source>] [--sdcpp <program>]
 *     [--rounds 3] [--steps 3] [--size 512] [--threads N] [--only <part of a name>] [--write]
 *
 * What is missing is left out, and the report says so. `--write` puts the table into docs/performance.md.
 */
const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    diffusers: { type: 'string' },
    sdcpp: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '3' },
    size: { type: 'string', default: '512' },
    threads: { type: 'string', default: String(usableCores()) },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
  },
})

interface Contender {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly read: (out: string) => Measured
}

interface Outcome {
  readonly out: string
  readonly errors: string
  readonly code: number | null
  readonly peak: number | undefined
}

const leftOut: string[] = []
const { threads, steps, size } = values
const folder = await fullSizeCheckpoint()
const contenders = [...ours(), ...torch(), ...sdCpp()].filter(({ name }) => name.includes(values.only))
const failed = new Set<string>()
const runs: Run[] = []
for (let round = 0; round < Number(values.rounds); round++) {
  for (const contender of contenders) {
    for (const largePages of [true, false]) {
      if (failed.has(contender.name)) continue
      const { out, errors, code, peak } = await run(contender, largePages)
      const measured = code === 0 ? contender.read(out + errors) : {}
      if (measured.step === undefined) {
        failed.add(contender.name)
        leftOut.push(`${contender.name}: ${lastLine(errors) ?? `it ended with ${code} and measured nothing`}`)
        continue
      }
      runs.push({ peak, ...measured, name: contender.name, largePages })
      console.error(`round ${round + 1}: ${JSON.stringify(runs.at(-1))}`)
    }
  }
}
const report = peersTable({
  date: new Date().toISOString().slice(0, 10),
  processor: cpus()[0]?.model ?? 'unknown processor',
  threads: Number(threads),
  size: Number(size),
  rounds: Number(values.rounds),
  runs,
  leftOut,
})
console.log(report)
if (values.write) {
  await rewriteReport(new URL('../docs/performance.md', import.meta.url), report, 'bench:peers')
}

/** Each profile, and eight bits: where the processor cannot, its run says so and is left out. */
function ours(): Contender[] {
  const program = join(import.meta.dirname, 'engine.ts')
  // a step more: the first is reported by itself
  const common = ['--json', '--threads', threads, '--size', size, '--steps', String(Number(steps) + 1)]
  const kinds = profiles.map((profile) => [`Packshot ${profile}`, '--profile', profile])
  const int8 = ['--precision', 'int8']
  kinds.push(['Packshot int8', ...int8], ['Packshot int8, packed', '--profile', 'packed', ...int8])
  return kinds.map(([name = '', ...more]) => ({
    name,
    command: [process.execPath, program, ...common, ...more],
    read: fromJson,
  }))
}

function torch(): Contender[] {
  if (values.python === undefined) {
    leftOut.push('torch: no --python was given')
    return []
  }
  const inside = join(values.python, 'bin/python')
  const python = existsSync(inside) ? inside : values.python
  const source = values.diffusers && resolve(values.diffusers)
  const paths = source === undefined ? [] : [join(source, 'src'), source].filter((path) => existsSync(path))
  const env = { ...process.env, PYTHONPATH: [...paths, process.env.PYTHONPATH ?? ''].join(':') }
  const probe =
    'import torch, transformers, safetensors, diffusers; print(torch.__version__, diffusers.__version__)'
  const { stdout, stderr, error } = spawnSync(python, ['-c', probe], { env, encoding: 'utf8' })
  const [torchVersion, version] = (stdout ?? '').trim().split(' ')
  if (version === undefined) {
    leftOut.push(`torch: ${error?.message ?? lastLine(stderr) ?? 'it does not start'}`)
    return []
  }
  const kinds = ['float32', 'bfloat16'].filter((dtype) => {
    if (dtype === 'float32' || hasBfloat16()) return true
    leftOut.push('torch bfloat16: the processor has no instructions for it')
    return false
  })
  const program = join(import.meta.dirname, 'peers.py')
  const common = ['--model', folder, '--threads', threads, '--steps', steps, '--size', size]
  return kinds.map((dtype) => ({
    name: `torch ${torchVersion}, diffusers ${version}, ${dtype}`,
    command: [python, program, ...common, '--dtype', dtype],
    env: { ...env, OMP_NUM_THREADS: threads },
    read: fromJson,
  }))
}

function hasBfloat16(): boolean {
  return (
    existsSync('/proc/cpuinfo') &&
    /\b(avx512_bf16|amx_bf16|bf16)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))
  )
}

function sdCpp(): Contender[] {
  if (values.sdcpp === undefined) {
    leftOut.push('stable-diffusion.cpp: no --sdcpp was given')
    return []
  }
  const picture = ['-p', 'a red apple on a white table', '-n', 'blurry', '-W', size, '-H', size, '-s', '7']
  const how = ['--steps', steps, '--cfg-scale', '7', '--sampling-method', 'euler', '-t', threads, '-v']
  const out = join(tmpdir(), `packshot-peers-${process.pid}.png`)
  return [
    {
      name: 'stable-diffusion.cpp',
      command: [resolve(values.sdcpp), '-m', folder, ...picture, ...how, '-o', out],
      read: (log) => fromSdCpp(log, Number(steps)),
    },
  ]
}

/** The last line of output that is JSON, in the names of bench/engine.ts. */
function fromJson(out: string): Measured {
  const line = out.split('\n').findLast((each) => each.startsWith('{'))
  if (line === undefined) return {}
  const said: Readonly<Record<string, number | undefined>> = JSON.parse(line)
  return {
    load: said.loadSeconds,
    firstStep: said.firstStepSeconds,
    step: said.stepSeconds,
    decode: said.decodeSeconds,
    own: said.ownBytes,
    mapped: said.mappedBytes,
    cpuPerWall: said.cpuPerWall,
    ...(said.peakBytes !== undefined && { peak: said.peakBytes }),
  }
}

async function run({ command, env = process.env }: Contender, largePages: boolean): Promise<Outcome> {
  const { GLIBC_TUNABLES: _given, ...rest } = env
  const small = { ...rest, ...noTelemetry }
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    env: largePages ? withLargePages(small).env : small,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let peak: number | undefined
  const timer = setInterval(() => {
    peak = mostResident(child.pid) ?? peak
  }, 500)
  let fault = ''
  child.once('error', ({ message }) => {
    fault = message
  })
  const closed = new Promise<number | null>((settle) => child.once('close', settle))
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  clearInterval(timer)
  return { out, errors: fault === '' ? errors : fault, code, peak }
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1)?.slice(0, 200) || undefined
}

function mostResident(pid: number | undefined): number | undefined {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
  } catch {
    return undefined
  }
}
