import { writeFile } from 'node:fs/promises'
import { parse, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../config.ts'
import { openEngine } from '../diffusion/engine.ts'
import { infotext } from '../diffusion/output/infotext.ts'
import { encodePng } from '../diffusion/output/png.ts'
import { findDevice } from '../diffusion/runtime/provider.ts'
import { engineFiles, engineRequest } from '../generator/engine-request.ts'
import { defaultLimits } from '../jobs/fields.ts'
import { imageSeed } from '../jobs/job.ts'
import { resolveRequest } from '../jobs/request/resolve.ts'
import { Library } from '../library/library.ts'
import { offerOf } from '../library/offer-source.ts'
import { packageVersion } from '../version.ts'
import { progressBar } from './progress.ts'
import { runCommand, UsageError } from './run-command.ts'

/** `npm run generate`: pictures from the command line, without a server or queue. */

const usage = `Usage: npm run generate -- "a red apple" [options]

  --out FILE         output file (default: packshot-SEED.png); several pictures get -1, -2 ...
  --negative TEXT    what the picture must not show
  --width, --height  in pixels (default: the model's)
  --steps N          number of steps (default: the model's)
  --guidance N       how closely to follow the prompt (default: the model's)
  --seed N           default: a random seed, which is printed
  --count N          number of pictures, with seeds N, N+1 ... (default: 1)
  --sampler, --schedule
  --model NAME       a model of the models folder, or the path of a model folder or .safetensors file
  --vae NAME         a VAE of vae/ in the models folder
  --clip-skip N      which layer of the text encoder to use, counted from the last (default: 1)

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

/** The request field of each option; error messages name the field. */
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

async function generate(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  if (values.help || positionals.length !== 1) throw new UsageError()
  const config = loadConfig({ ...process.env, ...(values.model && { PACKSHOT_MODEL: values.model }) })
  const body: Record<string, unknown> = { prompt: positionals[0] }
  for (const [option, field] of Object.entries(fields)) {
    const value = values[option as keyof typeof fields]
    // a value that is not a number is kept as text, so that the message shows it as typed
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
    const picture = await engine.generate(wanted, {
      onStep: (step, steps) => bar.draw(step / steps, `step ${step} of ${steps}`),
    })
    await writeFile(file, encodePng(picture, { parameters: infotext(wanted, { ...request, version }) }))
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    console.log(
      `${file}  seed ${wanted.seed}, ${wanted.width}x${wanted.height}, ${wanted.steps} steps, ${seconds} s`,
    )
  }
  await engine.close()
  return 0
}

function number(text: string): number | string {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}

function fileName(out: string, index: number, count: number): string {
  if (count === 1) return out
  const { dir, name, ext } = parse(out)
  return `${dir === '' ? '' : `${dir}/`}${name}-${index + 1}${ext}`
}

process.exitCode = await runCommand(usage, () => generate(process.argv.slice(2)))
