import { rm } from 'node:fs/promises'
import { setGlobalProxyFromEnv } from 'node:http'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { loadConfig } from '../config.ts'
import { type Kind, kindNames } from '../diffusion/checkpoint/kinds.ts'
import { AppError } from '../jobs/errors.ts'
import { sameName } from '../jobs/offer.ts'
import { addModel } from '../library/add.ts'
import { removeEntry } from '../library/folder/install.ts'
import { type Entry, listModels, vaesFor } from '../library/folder/list.ts'
import { verifyEntry } from '../library/folder/verify.ts'
import { type DownloadProgress, readableBytes } from '../library/progress.ts'
import { entryDetails, entryLine, fewSteps } from './models-show.ts'
import { progressOnTerminal } from './progress.ts'
import { endWith, runCommand, UsageError } from './run-command.ts'

/** `npm run models -- ...`: lists, adds, verifies and removes models in the models folder. */

const usage = `Usage: npm run models -- COMMAND

  add SOURCE      adds a .safetensors file, a model folder, an https URL, or a Hugging Face id: owner/name for a model in
                  diffusers layout, owner/name:file.safetensors for one file. An interrupted download is resumed.
    --name NAME         default: the name of the source
    --kind KIND         ${kindNames.join(', ')}; default: detected from the file
    --sha256 HEX        the expected hash of the file
    --token TEXT        for a site that requires a login (for Hugging Face rather set HF_TOKEN)
    --precision P       fp16 (default) or fp32: which weights of a Hugging Face model, if it has both
  list            lists everything; what cannot be used is listed with the reason
  show NAME       shows everything that is known about an entry
  verify [NAME]   checks that files are as they were added, and that all weights are finite numbers
  remove NAME     deletes an entry or an unfinished download (--kind, if several have the name)

The folder is PACKSHOT_MODELS_DIR (./models). Downloads use the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name.
`

const options = {
  name: { type: 'string' },
  kind: { type: 'string' },
  sha256: { type: 'string' },
  token: { type: 'string' },
  precision: { type: 'string' },
  help: { type: 'boolean' },
} as const

/** The environment and the outputs of the command. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly print: (line: string) => void
  readonly complain: (line: string) => void
  readonly progress: DownloadProgress
}

/** @returns the exit status */
export function runModels(args: readonly string[], around: Surroundings): Promise<number> {
  return runCommand(usage, () => run(args, around), around.complain)
}

async function run(args: readonly string[], around: Surroundings): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true })
  const [command, argument, ...more] = positionals
  if (values.help || command === undefined || more.length > 0) throw new UsageError()
  const { env, print } = around
  const dir = loadConfig(env).modelsDir
  const kind = oneOf('--kind', values.kind, kindNames)
  const allowed = command === 'add' ? Object.keys(options) : ['kind']
  const unused = Object.keys(values).find((name) => !allowed.includes(name))
  if (unused !== undefined) throw new UsageError(`${command} has no option --${unused}.`)
  if (command === 'add' && argument !== undefined) {
    const { placed, sha256 } = await addModel({
      dir,
      source: argument,
      kind,
      name: values.name,
      sha256: checkedHash(values.sha256),
      token: checkedToken('--token', values.token),
      hub: { endpoint: checkedEndpoint(env.HF_ENDPOINT), token: checkedToken('HF_TOKEN', env.HF_TOKEN) },
      precision: oneOf('--precision', values.precision, ['fp16', 'fp32'] as const) ?? 'fp16',
      progress: around.progress,
    })
    print(`Added ${placed.kind} ${placed.name}: ${placed.path}`)
    if (sha256 !== undefined) print(`SHA-256 ${sha256}`)
    const { entries } = await listModels(dir)
    const { problem, facts } = entries.find(({ path }) => path === placed.path) ?? {}
    if (facts?.fewSteps) print(`It gives models that it fits the pace ${fewSteps(facts.fewSteps)}.`)
    if (problem !== undefined) print(`It cannot be used yet: ${problem.detail}.`)
  } else if (command === 'list' && argument === undefined) {
    await list(dir, kind, print)
  } else if (command === 'show' && argument !== undefined) {
    for (const entry of await find(dir, argument, kind)) print(await entryDetails(entry))
  } else if (command === 'verify') {
    return verify(dir, argument, kind, print)
  } else if (command === 'remove' && argument !== undefined) {
    await remove(dir, argument, kind, print)
  } else {
    throw new UsageError()
  }
  return 0
}

type Print = Surroundings['print']

async function list(dir: string, kind: Kind | undefined, print: Print): Promise<void> {
  const { entries, partials, remarks } = await listModels(dir)
  const shown = entries.filter((entry) => kind === undefined || entry.kind === kind)
  for (const entry of shown) print(entryLine(entry))
  for (const { path, bytes } of partials) {
    print(
      `partial    ${basename(path)}  ${readableBytes(bytes)}: unfinished; add it again to resume, or remove it`,
    )
  }
  for (const remark of remarks) print(`note: ${remark}`)
  if (shown.length + partials.length === 0) print(`${dir} contains no models.`)
}

async function verify(
  dir: string,
  name: string | undefined,
  kind: Kind | undefined,
  print: Print,
): Promise<number> {
  const all = (await listModels(dir)).entries
  const entries = name === undefined ? all : await find(dir, name, kind)
  let bad = 0
  for (const entry of entries) {
    const { faults, note } = await verifyEntry(entry, vaeFor(entry, all))
    print(`${entry.kind} ${entry.name}: ${faults.length === 0 ? `good${note}` : 'BAD'}`)
    for (const fault of faults) print(`  ${fault}`)
    if (faults.length > 0) bad += 1
  }
  return bad > 0 ? 1 : 0
}

/** For a model without its own. */
function vaeFor(entry: Entry, all: readonly Entry[]): string | undefined {
  const model = entry.facts?.model
  const needed = model !== undefined && !(model instanceof Error) && model.needsVae
  return needed ? vaesFor(entry, all)[0]?.path : undefined
}

async function remove(dir: string, name: string, kind: Kind | undefined, print: Print): Promise<void> {
  const { partials } = await listModels(dir)
  const partial = partials.find(({ path }) => [name, `${name}.partial`].includes(basename(path)))
  if (partial !== undefined) {
    await rm(partial.path, { recursive: true })
    await rm(`${partial.path}.json`, { force: true })
    print(`Removed ${partial.path}.`)
    return
  }
  const found = await find(dir, name, kind)
  if (found.length > 1) {
    const what = found.map((entry) => `--kind ${entry.kind} (${entry.path})`).join(', ')
    throw new AppError(
      'invalid_request',
      `Several entries have the name ${name}: choose one with ${what}, or by its file name.`,
    )
  }
  for (const entry of found) {
    await removeEntry(entry)
    print(`Removed ${entry.kind} ${entry.name}.`)
  }
}

/** At least one entry. @throws AppError `not_found` with the known names */
async function find(dir: string, name: string, kind: Kind | undefined): Promise<Entry[]> {
  const { entries } = await listModels(dir)
  const found = entries.filter(
    (entry) =>
      (sameName(entry.name, name) || basename(entry.path) === name) &&
      (kind === undefined || entry.kind === kind),
  )
  if (found.length > 0) return found
  const names = entries.map((entry) => `${entry.kind} ${entry.name}`).join(', ')
  throw new AppError(
    'not_found',
    `There is no ${kind ?? 'model'} ${name} in ${dir}. It contains: ${names || 'nothing'}.`,
  )
}

function oneOf<T extends string>(
  option: string,
  value: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (value === undefined) return undefined
  const found = choices.find((choice) => choice === value)
  if (found === undefined)
    throw new UsageError(`${option} must be one of ${choices.join(', ')}, but was "${value}".`)
  return found
}

function checkedHash(text: string | undefined): string | undefined {
  if (text === undefined || /^[0-9a-f]{64}$/i.test(text)) return text?.toLowerCase()
  throw new UsageError(`--sha256 must be 64 hexadecimal digits, but was "${text}".`)
}

/** `fetch` would repeat a token that is no header in its message. */
function checkedToken(name: string, text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined
  if (/^[\x21-\x7e]+$/.test(text)) return text
  throw new UsageError(
    `${name} has a space, a line break or another character that no token has (not shown).`,
  )
}

function checkedEndpoint(text: string | undefined): string {
  if (text === undefined || text === '') return 'https://huggingface.co'
  if (URL.canParse(text) && /^https?:\/\/[^@?#\s]+$/.test(text)) return text
  throw new UsageError(
    'HF_ENDPOINT must be an http:// or https:// address without user, password or query (not shown).',
  )
}

if (import.meta.main) {
  const complain = (line: string) => console.error(line)
  try {
    // HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as other programs read them
    setGlobalProxyFromEnv()
  } catch {
    complain('HTTPS_PROXY and HTTP_PROXY must be URLs such as http://proxy:3128; one of them is not used.')
  }
  await endWith(
    runModels(process.argv.slice(2), {
      env: process.env,
      print: (line) => console.log(line),
      complain,
      progress: progressOnTerminal(),
    }),
  )
}
