import { writeFile } from 'node:fs/promises'
import { parse, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError, loadConfig } from '../config.ts'
import { openEngine } from '../diffusion/engine.ts'
import { CheckpointError, ProviderError } from '../diffusion/errors.ts'
import { infotext } from '../diffusion/output/infotext.ts'
import { encodePng } from '../diffusion/output/png.ts'
import { findDevice } from '../diffusion/runtime/provider.ts'
import { engineFiles, engineRequest } from '../generator/engine-request.ts'
import { AppError } from '../jobs/errors.ts'
import { defaultLimits } from '../jobs/fields.ts'
import { imageSeed } from '../jobs/job.ts'
import { resolveRequest } from '../jobs/request/resolve.ts'
import { Library } from '../library/library.ts'
import { offerOf } from '../library/offer-source.ts'
import { packageVersion } from '../version.ts'

/** Pictures from the command line, without server or queue. */

const usage = `Usage: npm run generate -- "a red apple" [options]

  --out FILE         where to write (default: packshot-SEED.png); several pictures get -1, -2 ...
  --negative TEXT    what to keep out of the picture
  --width, --height  in pixels
  --steps N          default: the model's
  --guidance N       how closely to follow the prompt
  --seed N           default: a random one, which is printed
  --count N          pictures, with seeds N, N+1 ...
  --sampler, --schedule
  --model NAME       in the models folder, or the path of a model folder or .safetensors file
  --vae NAME         in vae/ of the models folder
  --clip-skip N      which layer of the text encoder counts, from the end (1)
                     LoRAs and embeddings are named in the prompt: <lora:name:0.8>
`

const options = {
  out: { type: 'string' },
  negative: { type: 'string' },
  width: { type: 'string' },
  height: { type: 'string' },
  steps: { type: 'string' },
  guidance: { type: 'string' },
  seed: { type: 'string' },
  count: { type: 'string' },
  sampler: { type: 'string' },
  schedule: { type: 'string' },
  model: { type: 'string' },
  vae: { type: 'string' },
  'clip-skip': { type: 'string' },
  help: { type: 'boolean' },
} as const

/** How the options are called in a request, and in what messages say of it. */
const fields = {
  negative: 'negative_prompt',
  width: 'width',
  height: 'height',
  steps: 'steps',
  guidance: 'guidance_scale',
  seed: 'seed',
  count: 'count',
  sampler: 'sampler',
  schedule: 'schedule',
  vae: 'vae',
  'clip-skip': 'clip_skip',
} as const
const numbers = new Set(['width', 'height', 'steps', 'guidance', 'seed', 'count', 'clip-skip'])

async function generate(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  if (values.help || positionals.length !== 1) throw new UsageError()
  const config = loadConfig({ ...process.env, ...(values.model && { PACKSHOT_MODEL: values.model }) })
  const body: Record<string, unknown> = { prompt: positionals[0] }
  for (const [option, field] of Object.entries(fields)) {
    const value = values[option as keyof typeof fields]
    // what is no number goes on as text, so that the message shows it as it was typed
    if (value !== undefined) body[field] = numbers.has(option) && value !== '' ? number(value) : value
  }
  const contents = await new Library(config).read()
  const { request } = resolveRequest(body, offerOf(contents), defaultLimits)

  const { model, vae } = engineFiles(request, contents)
  const { profile, threads, dataDir } = config
  const device = await findDevice(config.providers)
  for (const reason of device.passedOver) console.error(reason)
  const engine = await openEngine({
    ...device,
    profile,
    threads,
    cacheFolder: resolve(dataDir, 'weights'),
    model: model.path,
    vae,
  })
  const version = await packageVersion()
  const bar = progressBar()
  for (let index = 0; index < request.count; index++) {
    const wanted = engineRequest(request, imageSeed(request, index), contents)
    const file = fileName(values.out ?? `packshot-${request.seed}.png`, index, request.count)
    const began = performance.now()
    const picture = await engine.generate(wanted, { onStep: bar })
    await writeFile(file, encodePng(picture, { parameters: infotext(wanted, { ...request, version }) }))
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    console.log(
      `${file}  seed ${wanted.seed}, ${wanted.width}x${wanted.height}, ${wanted.steps} steps, ${seconds} s`,
    )
  }
  await engine.close()
}

class UsageError extends Error {}

function number(text: string): number | string {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}

function fileName(out: string, index: number, count: number): string {
  if (count === 1) return out
  const { dir, name, ext } = parse(out)
  return `${dir === '' ? '' : `${dir}/`}${name}-${index + 1}${ext}`
}

/** One line that is drawn over itself; nothing where the output is not a terminal. */
function progressBar(): (step: number, steps: number) => void {
  const width = 30
  return (step, steps) => {
    if (!process.stderr.isTTY) return
    const done = Math.round((step / steps) * width)
    process.stderr.write(`\r[${'#'.repeat(done)}${'.'.repeat(width - done)}] step ${step} of ${steps} `)
    if (step === steps) process.stderr.write('\r\x1b[K')
  }
}

try {
  await generate(process.argv.slice(2))
} catch (thrown) {
  const badOption =
    thrown instanceof TypeError && 'code' in thrown && String(thrown.code).startsWith('ERR_PARSE_ARGS')
  const expected =
    thrown instanceof AppError ||
    thrown instanceof ConfigError ||
    thrown instanceof CheckpointError ||
    thrown instanceof ProviderError ||
    isFileFault(thrown)
  if (thrown instanceof UsageError) console.error(usage)
  else if (badOption) console.error(`${thrown.message}\n\n${usage}`)
  else if (expected) console.error((thrown as Error).message)
  else console.error(thrown)
  process.exitCode = 1
}

/** The output file cannot be written: the message of the system names it. */
function isFileFault(thrown: unknown): boolean {
  return thrown instanceof Error && 'syscall' in thrown && 'path' in thrown
}
