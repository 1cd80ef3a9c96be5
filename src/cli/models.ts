import { rm } from 'node:fs/promises'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError, loadConfig } from '../config.ts'
import { type Kind, kindNames } from '../diffusion/checkpoint/kinds.ts'
import { CheckpointError } from '../diffusion/errors.ts'
import { AppError } from '../jobs/errors.ts'
import { addModel } from '../library/add.ts'
import { DownloadError } from '../library/download/addresses.ts'
import { removeEntry } from '../library/folder/install.ts'
import { type Entry, listModels } from '../library/folder/list.ts'
import { verifyEntry } from '../library/folder/verify.ts'
import { type Progress, readableBytes } from '../library/progress.ts'
import { entryDetails, entryLine } from './models-show.ts'
import { progressOnTerminal } from './progress.ts'

/** `npm run models -- ...`: what lies in the models folder, and how it gets there. */

const usage = `Usage: npm run models -- COMMAND

  add SOURCE      a .safetensors file, a model folder, an https address, or a Hugging Face id: owner/name for a model
                  in diffusers layout, owner/name:file.safetensors for one file. A download that broke off goes on.
    --name NAME         default: that of the source
    --kind KIND         ${kindNames.join(', ')}; default: what the file is
    --sha256 HEX        what the file must have
    --token TEXT        for a site that wants a login (for Hugging Face better in HF_TOKEN)
    --precision P       fp16 (default) or fp32: which weights of a Hugging Face model, if it has both
  list            everything, with what cannot be used and why
  show NAME       all that is known of it
  verify [NAME]   whether files are still as they were added, and whether their numbers are numbers
  remove NAME     deletes it, or what came of a download (--kind, if several have the name)

The folder is PACKSHOT_MODELS_DIR (./models).
`

const options = {
  name: { type: 'string' },
  kind: { type: 'string' },
  sha256: { type: 'string' },
  token: { type: 'string' },
  precision: { type: 'string' },
  help: { type: 'boolean' },
} as const

class UsageError extends Error {}

/** Where the command takes its settings from, and where it writes. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly print: (line: string) => void
  readonly complain: (line: string) => void
  readonly progress: Progress
}

/** @returns the exit status */
export async function runModels(args: readonly string[], around: Surroundings): Promise<number> {
  try {
    return await run(args, around)
  } catch (thrown) {
    around.complain(explain(thrown))
    return 1
  }
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
      token: values.token,
      hub: { endpoint: env.HF_ENDPOINT || 'https://huggingface.co', token: env.HF_TOKEN || undefined },
      precision: oneOf('--precision', values.precision, ['fp16', 'fp32'] as const) ?? 'fp16',
      progress: around.progress,
    })
    print(`${placed.kind} ${placed.name} is there: ${placed.path}`)
    if (sha256 !== undefined) print(`SHA-256 ${sha256}`)
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
  const { entries, partials } = await listModels(dir)
  const shown = entries.filter((entry) => kind === undefined || entry.kind === kind)
  for (const entry of shown) print(entryLine(entry))
  for (const { path, bytes } of partials) {
    print(`partial    ${basename(path)}  ${readableBytes(bytes)}: add it again to go on, or remove it`)
  }
  if (shown.length + partials.length === 0) print(`${dir} has no models.`)
}

async function verify(
  dir: string,
  name: string | undefined,
  kind: Kind | undefined,
  print: Print,
): Promise<number> {
  const entries = name === undefined ? (await listModels(dir)).entries : await find(dir, name, kind)
  let bad = 0
  for (const entry of entries) {
    const { faults, note } = await verifyEntry(entry)
    print(`${entry.kind} ${entry.name}: ${faults.length === 0 ? `good${note}` : 'BAD'}`)
    for (const fault of faults) print(`  ${fault}`)
    if (faults.length > 0) bad += 1
  }
  return bad > 0 ? 1 : 0
}

async function remove(dir: string, name: string, kind: Kind | undefined, print: Print): Promise<void> {
  const { partials } = await listModels(dir)
  const partial = partials.find(({ path }) => [name, `${name}.partial`].includes(basename(path)))
  if (partial !== undefined) {
    await rm(partial.path, { recursive: true })
    await rm(`${partial.path}.json`, { force: true })
    print(`${partial.path} is removed.`)
    return
  }
  const found = await find(dir, name, kind)
  if (found.length > 1) {
    const what = found.map((entry) => `--kind ${entry.kind} (${entry.path})`).join(', ')
    throw new AppError('invalid_request', `Several have the name ${name}: say which with ${what}.`)
  }
  for (const entry of found) {
    await removeEntry(entry)
    print(`${entry.kind} ${entry.name} is removed.`)
  }
}

/** At least one. @throws AppError `not_found` with the names that there are */
async function find(dir: string, name: string, kind: Kind | undefined): Promise<Entry[]> {
  const { entries } = await listModels(dir)
  const found = entries.filter(
    (entry) => entry.name.toLowerCase() === name.toLowerCase() && (kind === undefined || entry.kind === kind),
  )
  if (found.length > 0) return found
  const names = entries.map((entry) => `${entry.kind} ${entry.name}`).join(', ')
  throw new AppError(
    'not_found',
    `There is no ${kind ?? 'model'} ${name} in ${dir}. There are: ${names || 'none'}.`,
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

/** Faults that a person can mend are told as sentences; only a fault of the program shows its stack. */
function explain(thrown: unknown): string {
  if (thrown instanceof UsageError) return `${thrown.message}${thrown.message && '\n\n'}${usage}`
  if (!(thrown instanceof Error)) return String(thrown)
  const code = 'code' in thrown ? String(thrown.code) : ''
  if (thrown instanceof TypeError && code.startsWith('ERR_PARSE_ARGS')) return `${thrown.message}\n\n${usage}`
  const expected =
    thrown instanceof AppError ||
    thrown instanceof ConfigError ||
    thrown instanceof CheckpointError ||
    thrown instanceof DownloadError ||
    'syscall' in thrown
  return expected ? thrown.message : (thrown.stack ?? thrown.message)
}

if (import.meta.main) {
  process.exitCode = await runModels(process.argv.slice(2), {
    env: process.env,
    print: (line) => console.log(line),
    complain: (line) => console.error(line),
    progress: progressOnTerminal(),
  })
}
