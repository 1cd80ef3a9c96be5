import { parseArgs } from 'node:util'
import { changeKeys, loadKeys } from '../adapters/disk/keys-file.ts'
import { endWith, runCommand, UsageError } from '../cli/run-command.ts'
import { ConfigError, loadConfig } from '../config.ts'
import { scopes } from '../jobs/caller.ts'
import { priorities } from '../jobs/fields.ts'
import { type KeysFile, parseKeys, type StoredCaller, type StoredKey } from '../jobs/keys.ts'
import {
  addCaller,
  type CallerSettings,
  isLive,
  removeEntry,
  rotateKey,
  rotateWebhook,
  setCaller,
  setDisabled,
} from '../jobs/keys-changes.ts'

/** `npm run keys`: who may use the service. Needs no running service; a running one follows within seconds. */

const usage = `Usage: npm run keys -- COMMAND            (PACKSHOT_KEYS_FILE says which file)

  add NAME         a new caller with a key, which is printed once: only its hash is kept
  set NAME         changes what a caller may do
  list             callers and their keys
  rotate NAME      another key for a caller; the key of before stays until it is disabled, or for --keep
  disable WHICH    a caller, or a key by its id, counts no longer
  enable WHICH
  remove WHICH     deletes a caller, or a key by its id

Of a caller (add, set); "default" takes back what was set:
  --scopes LIST           ${scopes.join(',')}; default: all
  --priority LIST         ${priorities.join(',')}: the classes of its jobs; default: all
  --jobs-per-minute N     jobs and uploads; 0: no limit; default, here and below: that of a caller without a key
  --jobs-in-flight N      jobs that wait or run
  --units-per-day N       work: a unit is one call of the model for one megapixel
  --webhook URL           where the outcome of its jobs is sent unless a job says otherwise
Of a key (add, rotate):
  --expires WHEN          2027-01-31, or 90d: from then on it counts no longer
  --keep WHEN             rotate: how long the keys of before count, 7d for example
  --webhook-secret        rotate: the secret of its webhooks instead of its key
`

const options = {
  scopes: { type: 'string' },
  priority: { type: 'string' },
  'jobs-per-minute': { type: 'string' },
  'jobs-in-flight': { type: 'string' },
  'units-per-day': { type: 'string' },
  webhook: { type: 'string' },
  expires: { type: 'string' },
  keep: { type: 'string' },
  'webhook-secret': { type: 'boolean' },
  help: { type: 'boolean' },
} as const

type Option = keyof typeof options
type Values = ReturnType<typeof parsed>['values']

const ofCaller: readonly Option[] = [
  'scopes',
  'priority',
  'jobs-per-minute',
  'jobs-in-flight',
  'units-per-day',
  'webhook',
]
const allowed: Readonly<Record<string, readonly Option[]>> = {
  add: [...ofCaller, 'expires'],
  set: ofCaller,
  list: [],
  rotate: ['expires', 'keep', 'webhook-secret'],
  disable: [],
  enable: [],
  remove: [],
}

function parsed(args: readonly string[]) {
  return parseArgs({ args: [...args], options, allowPositionals: true })
}

/** The environment and the outputs of the command. */
interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly print: (line: string) => void
  readonly complain: (line: string) => void
}

/** Resolves with the exit status. A key is printed alone; all else that is said of it is a complaint. */
export function runKeys(args: readonly string[], around: Surroundings): Promise<number> {
  return runCommand(usage, () => keys(args, around), around.complain)
}

async function keys(args: readonly string[], { env, print, complain }: Surroundings): Promise<number> {
  const { values, positionals } = parsed(args)
  if (values.help === true) {
    print(usage)
    return 0
  }
  const [command = '', which, ...more] = positionals
  const fits = Object.hasOwn(allowed, command) && (command === 'list') === (which === undefined)
  if (!fits || more.length > 0) throw new UsageError()
  const unused = Object.keys(values).find((name) => !allowed[command]?.includes(name as Option))
  if (unused !== undefined) throw new UsageError(`${command} has no option --${unused}.`)
  const { keysFile: path } = loadConfig(env)
  if (path === undefined) {
    const message = 'PACKSHOT_KEYS_FILE must be set to the path of the keys file, such as ./keys.json.'
    throw new ConfigError([message])
  }
  const place = { path, uid: process.getuid?.() }
  if (which === undefined) {
    const { callers } = await loadKeys(place)
    for (const line of callers.flatMap(linesOf)) print(line)
    complain(`${callers.length} callers.`)
    return 0
  }
  let said: Said = { note: '' }
  await changeKeys(place, (file) => {
    said = apply(command, which, values, file)
    // what the file could not be read with again must not be written
    return parseKeys(JSON.stringify(said.file))
  })
  if (said.key !== undefined) print(said.key)
  complain(said.note)
  return 0
}

interface Said {
  readonly file?: KeysFile
  readonly key?: string
  readonly note: string
}

const once = 'This is the only time that the key is shown: what is kept is its hash.'

function apply(command: string, which: string, values: Values, file: KeysFile): Said {
  const now = new Date()
  const expires = timeOf('--expires', values.expires, now)
  const ends = expires === undefined ? {} : { expires }
  switch (command) {
    case 'add': {
      if (!/^[a-z0-9][a-z0-9_-]{0,39}$/.test(which) || which === 'anonymous') {
        throw new UsageError(
          'NAME must be 1 to 40 of the characters a-z, 0-9, - and _, begin with a letter or digit, and not be "anonymous".',
        )
      }
      return { ...addCaller(file, which, settingsOf(values), { now, ...ends }), note: once }
    }
    case 'set':
      return { file: setCaller(file, which, settingsOf(values)), note: `${which} is changed.` }
    case 'rotate': {
      if (values['webhook-secret'] === true) {
        if (expires !== undefined || values.keep !== undefined)
          throw new UsageError('--webhook-secret has no effect on keys: give it alone.')
        const { generation, ...next } = rotateWebhook(file, which)
        return {
          ...next,
          note: `The webhook secret of ${which} is now number ${generation}; the one before counts too.`,
        }
      }
      const keep = timeOf('--keep', values.keep, now)
      const rotated = rotateKey(file, which, { now, ...ends, ...(keep === undefined ? {} : { keep }) })
      const before = keep === undefined ? 'stay until you disable them' : `count until ${keep.toISOString()}`
      return { ...rotated, note: `${once} The keys of before ${before}.` }
    }
    case 'disable':
    case 'enable':
      return { file: setDisabled(file, which, command === 'disable'), note: `${which} is ${command}d.` }
    default:
      return { file: removeEntry(file, which), note: `${which} is removed.` }
  }
}

function settingsOf(values: Values): CallerSettings {
  const limits = {
    jobs_per_minute: numberOf('--jobs-per-minute', values['jobs-per-minute']),
    jobs_in_flight: numberOf('--jobs-in-flight', values['jobs-in-flight']),
    units_per_day: numberOf('--units-per-day', values['units-per-day']),
  }
  const given = Object.entries(limits).filter(([, value]) => value !== undefined)
  const scopeList = listOf('--scopes', values.scopes, scopes)
  const classes = listOf('--priority', values.priority, priorities)
  const webhookUrl = values.webhook === 'default' ? null : checkedUrl(values.webhook)
  return {
    ...(scopeList === undefined ? {} : { scopes: scopeList }),
    ...(classes === undefined ? {} : { priorities: classes }),
    ...(webhookUrl === undefined ? {} : { webhookUrl }),
    limits: Object.fromEntries(given),
  }
}

function numberOf(option: string, text: string | undefined): number | null | undefined {
  if (text === undefined) return undefined
  if (text === 'default') return null
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new UsageError(`${option} must be a whole number or "default", but was "${text}".`)
}

function listOf<T extends string>(
  option: string,
  text: string | undefined,
  choices: readonly T[],
): T[] | null | undefined {
  if (text === undefined) return undefined
  if (text === 'default') return null
  const given = text.split(',').map((each) => each.trim())
  const found = choices.filter((choice) => given.includes(choice))
  if (found.length > 0 && given.every((each) => choices.some((choice) => choice === each))) return found
  throw new UsageError(`${option} must be some of ${choices.join(',')}, but was "${text}".`)
}

function checkedUrl(text: string | undefined): string | undefined {
  if (text === undefined || (/^https?:\/\/.{1,1900}$/.test(text) && URL.canParse(text))) return text
  throw new UsageError(`--webhook must be an http:// or https:// address, but was "${text}".`)
}

/** A time from now on: a date, a time in ISO 8601, or so many days (`90d`) or hours (`12h`). */
function timeOf(option: string, text: string | undefined, now: Date): Date | undefined {
  if (text === undefined) return undefined
  const [, count, unit] = /^(\d{1,5})([dh])$/.exec(text) ?? []
  const time =
    count === undefined
      ? new Date(/^\d{4}-\d\d-\d\d/.test(text) ? text : Number.NaN)
      : new Date(now.getTime() + Number(count) * (unit === 'd' ? 86_400_000 : 3_600_000))
  if (time.getTime() > now.getTime()) return time
  throw new UsageError(`${option} must be a time to come, such as 2027-01-31, 90d or 12h, but was "${text}".`)
}

function linesOf(caller: StoredCaller): string[] {
  const now = new Date()
  const head = `${caller.name}${caller.disabled === true ? '  DISABLED' : ''}${aboutCaller(caller)}`
  return [head, ...caller.keys.map((key) => `  ${aboutKey(key, now)}`)]
}

function aboutCaller({ scopes, priorities, limits = {}, webhook }: StoredCaller): string {
  const parts = [
    ...(scopes === undefined ? [] : [`scopes ${scopes.join(',') || 'none'}`]),
    ...(priorities === undefined ? [] : [`priority ${priorities.join(',')}`]),
    ...Object.entries(limits).map(([name, value]) => `${name.replaceAll('_', '-')} ${value}`),
    ...(webhook?.url === undefined ? [] : [`webhook ${webhook.url}`]),
    ...(webhook === undefined || webhook.secret === 1 ? [] : [`webhook-secret number ${webhook.secret}`]),
  ]
  return parts.map((part) => `  ${part}`).join('')
}

function aboutKey(key: StoredKey, now: Date): string {
  const { id, created, expires, disabled } = key
  const until = expires === undefined ? '' : `  expires ${expires}`
  const state = disabled === true ? '  DISABLED' : isLive(key, now) ? '' : '  EXPIRED'
  return `${id}  created ${created}${until}${state}`
}

if (import.meta.main) {
  process.umask(0o077)
  await endWith(
    runKeys(process.argv.slice(2), {
      env: process.env,
      print: (line) => console.log(line),
      complain: (line) => console.error(line),
    }),
  )
}
