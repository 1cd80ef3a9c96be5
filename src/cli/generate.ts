import { writeFile } from 'node:fs/promises'
import { extname, parse, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import { loadConfig } from '../config.ts'
import { openEngine } from '../diffusion/engine.ts'
import { eightBitsGain } from '../diffusion/int8/probe.ts'
import { infotext } from '../diffusion/output/infotext.ts'
import { findDevice } from '../diffusion/runtime/provider.ts'
import type { Session } from '../diffusion/runtime/session.ts'
import { SessionCache } from '../diffusion/runtime/session-cache.ts'
import { modelMemory, profileFor } from '../generator/auto-profile.ts'
import { deliver } from '../generator/deliver.ts'
import { engineFiles, engineRequest } from '../generator/engine-request.ts'
import { matteSource } from '../generator/matte-source.ts'
import { defaultLimits, fieldEntries, type ImageFormat, imageFiles } from '../jobs/fields.ts'
import type { Measured } from '../jobs/finish.ts'
import { resolveRequest } from '../jobs/request/resolve.ts'
import { Library } from '../library/library.ts'
import { offerOf } from '../library/offer-source.ts'
import { packageVersion } from '../version.ts'
import { progressBar } from './progress.ts'
import { endWith, runCommand, UsageError } from './run-command.ts'

/** `npm run generate`: pictures from the command line, without a server or queue. */

/** The options of the command that are fields of a request. */
const fieldOptions = fieldEntries.flatMap(([name, { form, option }]) =>
  option === undefined ? [] : [{ ...option, name, isNumber: form?.as === 'number' }],
)

const usage = `Usage: npm run generate -- "a red apple" [options]

${usageLine('out', 'FILE', 'output file (default: packshot-SEED.png); several pictures get -1, -2 ...')}
${usageLine('model', 'NAME', 'a model of the models folder, or the path of a model folder or .safetensors file')}
${fieldOptions.map(({ flag, value, help }) => usageLine(flag, value, help)).join('\n')}

LoRAs and embeddings are named in the prompt: <lora:name:0.8>
`

function usageLine(flag: string, value: string, help: string): string {
  return `  ${`--${flag} ${value}`.padEnd(18)} ${help}`
}

const options = {
  out: { type: 'string' },
  model: { type: 'string' },
  help: { type: 'boolean' },
  ...Object.fromEntries(fieldOptions.map(({ flag }) => [flag, { type: 'string' } as const])),
} as const

async function generate(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  if (values.help || positionals.length !== 1) throw new UsageError()
  const config = loadConfig({ ...process.env, ...(values.model && { PACKSHOT_MODEL: values.model }) })
  const body: Record<string, unknown> = { prompt: positionals[0] }
  const given: Readonly<Record<string, unknown>> = values
  for (const { flag, name, isNumber } of fieldOptions) {
    const value = given[flag]
    // a value that is not a number is kept as text, so that the message shows it as typed
    if (typeof value === 'string') body[name] = isNumber && value !== '' ? number(value) : value
  }
  if (typeof body.finish === 'string') body.finish = { preset: body.finish }
  // a finish has a format of its own, unless the name of the file says which
  if (body.finish === undefined || values.out !== undefined) body.format ??= formatOfName(values.out)
  const contents = await new Library(config).read()
  const { request } = resolveRequest(body, offerOf(contents), {
    ...defaultLimits,
    precision: config.precision,
  })

  const { model, vae } = engineFiles(request, contents)
  const { threads, dataDir } = config
  const cacheFolder = resolve(dataDir, 'weights')
  const device = await findDevice(config.providers)
  for (const reason of device.passedOver) console.error(reason)
  const { profile } = await profileFor(config, model, { ...device, cacheFolder })
  const engine = await openEngine({
    ...device,
    profile,
    threads,
    cacheFolder,
    model: model.path,
    vae,
    sessions: new SessionCache<Session>(modelMemory(config)),
  })
  const gain =
    request.precision === 'int8' ? await eightBitsGain({ provider: device.provider, threads }) : undefined
  if (gain) console.error(gain.why)
  const version = await packageVersion()
  const bar = progressBar()
  const parts = {
    matte: matteSource(config, Number.POSITIVE_INFINITY),
    enlarge: () => Promise.reject(new Error('this command has no option for upscalers')),
    reader: pictureReader(),
    images: undefined,
    kept: undefined,
    looks: [],
    onDrawn: () => {},
  }
  for (let index = 0; index < request.count; index++) {
    const { extension } = imageFiles[request.format]
    const file = fileName(values.out ?? `packshot-${request.seed}.${extension}`, index, request.count)
    const began = performance.now()
    const told = new Map<number, string>()
    const draw = (seed: number) => {
      const { precision, ...exact } = engineRequest(request, seed, contents)
      const wanted = gain?.gains ? { ...exact, precision } : exact
      told.set(seed, infotext(wanted, { ...request, version }))
      return engine.generate(wanted, {
        onStep: (step, steps) => bar.draw(step / steps, `step ${step} of ${steps}`),
      })
    }
    const parametersOf = (seed: number) => told.get(seed)
    const made = await deliver(request, index, { ...parts, draw, parametersOf })
    await writeFile(file, made.bytes)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    const { seed, width, height, measured } = made
    console.log(
      `${file}  seed ${seed}, ${width}x${height}, ${request.steps} steps, ${seconds} s${figures(measured)}`,
    )
  }
  await engine.close()
  return 0
}

/** What a finished picture was measured to be. */
function figures(measured: Measured | undefined): string {
  if (measured === undefined) return ''
  const { product, border_white: border, missed = [] } = measured
  const exact = border === undefined ? '' : `, border ${Math.floor(border * 1000) / 10} % exact`
  return `; product ${product} %${exact}${missed.length === 0 ? '' : `, missed: ${missed.join(', ')}`}`
}

function number(text: string): number | string {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}

/** The format given by a file's name; PNG if the name has none. */
function formatOfName(out = ''): ImageFormat {
  const extension = extname(out).slice(1).toLowerCase()
  if (extension === 'jpg' || extension === 'jpeg') return 'jpeg'
  return extension === 'webp' ? 'webp' : 'png'
}

function fileName(out: string, index: number, count: number): string {
  if (count === 1) return out
  const { dir, name, ext } = parse(out)
  return `${dir === '' ? '' : `${dir}/`}${name}-${index + 1}${ext}`
}

await endWith(runCommand(usage, () => generate(process.argv.slice(2))))
