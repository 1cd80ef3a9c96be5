import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { CheckpointError } from './errors.ts'

/** Python writes infinite numbers into JSON files (`lambda_min_clipped: -Infinity`), which JSON does not have. */
const pythonNumbers = /(?<=[:,[]\s*)(-?Infinity|NaN)(?=\s*[,}\]])/g

/** More than a hundred times what a config has; a vocabulary has a limit of its own. */
const mostBytes = 1_000_000

interface SmallText {
  readonly mostBytes?: number
}

/**
 * Reads a text file of limited size.
 * @param options.ifPresent undefined if the file is missing
 * @throws CheckpointError if it is missing, not a file, not readable or too large
 */
export async function readSmallText(path: string, options?: SmallText): Promise<string>
export async function readSmallText(
  path: string,
  options: SmallText & { readonly ifPresent: true },
): Promise<string | undefined>
export async function readSmallText(
  path: string,
  options: SmallText & { readonly ifPresent?: true } = {},
): Promise<string | undefined> {
  const most = options.mostBytes ?? mostBytes
  let handle: FileHandle | undefined
  try {
    // not blocking: opening a named pipe would wait for a writer
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const stats = await handle.stat()
    if (!stats.isFile()) throw new CheckpointError(`${path}: this is not a file`)
    if (stats.size > most) {
      throw new CheckpointError(`${path}: the file has ${stats.size} bytes, at most ${most} are read`, {
        reason: 'one of its text files is too large',
      })
    }
    return await handle.readFile('utf8')
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause
    const missing =
      cause instanceof Error && 'code' in cause && ['ENOENT', 'ENOTDIR'].includes(String(cause.code))
    if (missing && options.ifPresent) return undefined
    throw new CheckpointError(`${path}: the file is missing or not readable`, { cause })
  } finally {
    await handle?.close()
  }
}

/** Both ends are allowed. */
interface Range {
  readonly least: number
  readonly most: number
  /** It must be a multiple of this. */
  readonly step?: number
}

/** What a text for people must be like. */
interface TextRule {
  /** In characters. */
  readonly longest: number
  /** Whether each must be one lowercase word. */
  readonly words?: boolean
}

/**
 * A JSON file of a diffusers folder, read field by field: a value of the wrong type, or one that the engine does not
 * support, is an error that names file and field, never a guess.
 */
export class ConfigFile {
  readonly path: string
  readonly #fields: Readonly<Record<string, unknown>>
  readonly #asked = new Set<string>()

  constructor(path: string, fields: Readonly<Record<string, unknown>>) {
    this.path = path
    this.#fields = fields
  }

  /** As they are, unchecked. */
  get fields(): Readonly<Record<string, unknown>> {
    return this.#fields
  }

  /** @throws CheckpointError if the file is missing or not a JSON object */
  static async read(path: string): Promise<ConfigFile> {
    return ConfigFile.parse(path, await readSmallText(path))
  }

  /** @param path source of the text, for messages @throws CheckpointError if it is not a JSON object */
  static parse(path: string, text: string): ConfigFile {
    let value: unknown
    try {
      value = JSON.parse(text.replace(pythonNumbers, 'null'))
    } catch (cause) {
      throw new CheckpointError(`${path}: the file is not JSON`, { cause })
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new CheckpointError(`${path}: the file is not a JSON object`)
    }
    return new ConfigFile(path, value as Record<string, unknown>)
  }

  /** Like `read`, but a missing file has no fields. */
  static async readIfPresent(path: string): Promise<ConfigFile> {
    const text = await readSmallText(path, { ifPresent: true })
    return text === undefined ? new ConfigFile(path, {}) : ConfigFile.parse(path, text)
  }

  /** The names of all fields. */
  names(): string[] {
    return Object.keys(this.#fields)
  }

  /** Fields with a value that were not asked for, besides `harmless` and those that begin with `_`. */
  notAskedFor(harmless: readonly string[]): string[] {
    return this.names().filter((name) => {
      const value = this.#fields[name]
      const idle = value === null || value === false || name.startsWith('_') || harmless.includes(name)
      return !idle && !this.#asked.has(name)
    })
  }

  /** Whether a field that may be a list is a single value or absent. */
  single(field: string): boolean {
    this.#asked.add(field)
    return !Array.isArray(this.#fields[field])
  }

  isNull(field: string): boolean {
    return this.#fields[field] === null
  }

  /** Whether a field has exactly this text. */
  says(field: string, text: string): boolean {
    return this.#fields[field] === text
  }

  /** A token of special_tokens_map.json: plain text, or an object with `content`. */
  tokenText(field: string): string | undefined {
    const value = this.#fields[field]
    if (typeof value === 'string') return value
    const content =
      typeof value === 'object' && value !== null && 'content' in value ? value.content : undefined
    return typeof content === 'string' ? content : undefined
  }

  integer(field: string, fallback?: number): number {
    return this.#checked(field, fallback, 'a whole number above 0', isPositiveInteger, true)
  }

  /** A whole number that a person chose. */
  integerWithin(field: string, fallback: number, { least, most, step = 1 }: Range): number {
    const check = (value: unknown) =>
      isPositiveInteger(value) && value >= least && value <= most && value % step === 0
    const kind = step === 1 ? 'a whole number' : `a multiple of ${step}`
    return this.#checked(field, fallback, `${kind} from ${least} to ${most}`, check)
  }

  number(field: string, fallback?: number): number {
    return this.#checked(field, fallback, 'a number', (value) => typeof value === 'number')
  }

  numberWithin(field: string, fallback: number, { least, most }: Range): number {
    const check = (value: unknown) => typeof value === 'number' && value >= least && value <= most
    return this.#checked(field, fallback, `a number from ${least} to ${most}`, check)
  }

  boolean(field: string, fallback?: boolean): boolean {
    return this.#checked(field, fallback, 'true or false', (value) => typeof value === 'boolean')
  }

  /** Null and absent alike: neither is a statement. */
  booleanOrNull(field: string): boolean | null {
    const check = (value: unknown): value is boolean | null => value === null || typeof value === 'boolean'
    return this.#checked(field, null, 'true or false', check)
  }

  integers(field: string): readonly number[] {
    const check = (value: unknown): value is readonly number[] =>
      Array.isArray(value) && value.length > 0 && value.every(isPositiveInteger)
    return this.#checked(field, undefined, 'a list of whole numbers above 0', check)
  }

  oneOf<const T extends string>(field: string, choices: readonly T[], fallback?: T): T {
    const check = (value: unknown): value is T => choices.includes(value as T)
    return this.#checked(field, fallback, `one of ${choices.join(', ')}`, check)
  }

  listOf<const T extends string>(field: string, choices: readonly T[]): readonly T[] {
    const check = (value: unknown): value is readonly T[] =>
      Array.isArray(value) && value.length > 0 && value.every((item) => choices.includes(item))
    return this.#checked(field, undefined, `a list of ${choices.join(', ')}`, check)
  }

  /** One line of text for people; undefined if the field is absent. */
  text(field: string, rule: TextRule): string | undefined {
    const value = this.#fields[field]
    // other programs write every field, empty or not
    if (value === undefined || value === null || value === '') return undefined
    return this.#line(`"${field}"`, value, rule)
  }

  /** A non-empty list of such texts; undefined if the field is absent. */
  texts(field: string, rule: TextRule & { readonly most: number }): readonly string[] | undefined {
    const value: unknown = this.#fields[field]
    if (value === undefined || value === null) return undefined
    if (!Array.isArray(value) || value.length === 0 || value.length > rule.most) {
      const given = Array.isArray(value) ? `has ${value.length} entries` : `is ${brief(value)}`
      throw new CheckpointError(
        `${this.path}: "${field}" ${given}; it must be a list of 1 to ${rule.most} strings`,
      )
    }
    return value.map((item: unknown, index) => this.#line(`"${field}"[${index}]`, item, rule))
  }

  /** Short texts by short names, in the file's order; undefined if the field is absent. */
  namedTexts(
    field: string,
    rule: TextRule & { readonly most: number },
  ): Readonly<Record<string, string>> | undefined {
    const value: unknown = this.#fields[field]
    if (value === undefined || value === null) return undefined
    const entries = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : []
    if (entries.length === 0 || entries.length > rule.most) {
      throw new CheckpointError(
        `${this.path}: "${field}" is ${brief(value)}; it must be an object of 1 to ${rule.most} strings`,
      )
    }
    return Object.fromEntries(
      entries.map(([name, text]) => [
        this.#line(`a name in "${field}"`, name, rule),
        this.#line(`"${field}"."${name}"`, text, rule),
      ]),
    )
  }

  /** An object of this file as a file of its own, for messages too; undefined if the field is absent. */
  part(field: string): ConfigFile | undefined {
    const value: unknown = this.#fields[field]
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'object' || Array.isArray(value)) {
      throw new CheckpointError(`${this.path}: "${field}" is ${brief(value)}; it must be an object`)
    }
    return new ConfigFile(`${this.path}, "${field}"`, value as Record<string, unknown>)
  }

  #line(place: string, value: unknown, { longest, words = false }: TextRule): string {
    if (isLine(value, longest) && (!words || isWord(value))) return value
    const kind = words ? 'one lowercase word' : 'one line of text'
    const size = typeof value === 'string' ? ` (${[...value].length} characters)` : ''
    throw new CheckpointError(
      `${this.path}: ${place} is ${brief(value)}${size}; it must be ${kind}, 1 to ${longest} characters long`,
    )
  }

  /**
   * Refuses a setting that changes the architecture in a way that the engine does not support.
   * @param harmless the values that are supported, also as a list of one per level; without any, null is. Absent is
   *   always supported: it stands for the first of them.
   */
  refuse(field: string, ...harmless: unknown[]): void {
    this.#asked.add(field)
    const value = this.#fields[field]
    const supported = harmless.length === 0 ? [null, undefined] : [...harmless, undefined]
    const values = Array.isArray(value) && value.length > 0 ? value : [value]
    if (values.every((each) => supported.includes(each))) return
    const said = `"${field}": ${brief(value)}`
    throw new CheckpointError(`${this.path}: ${said} is not supported`, {
      reason: `its config has ${said}, which is not supported`,
    })
  }

  #checked<T>(
    field: string,
    fallback: T | undefined,
    expected: string,
    check: (value: unknown) => value is T,
    perLevel?: boolean,
  ): T
  #checked<T>(field: string, fallback: T | undefined, expected: string, check: (value: unknown) => boolean): T
  #checked<T>(
    field: string,
    fallback: T | undefined,
    expected: string,
    check: (value: unknown) => boolean,
    perLevel = false,
  ): T {
    this.#asked.add(field)
    const given = this.#fields[field]
    // null is a value of its own in Python's configs: it is not the default
    const listed = perLevel && Array.isArray(given) && given.every((each) => each === given[0])
    const value = listed ? given[0] : given === undefined ? fallback : given
    if (!check(value)) {
      const said = value === undefined ? 'is missing' : `is ${brief(value)}`
      const sentence = `"${field}" ${said}; it must be ${expected}`
      throw new CheckpointError(`${this.path}: ${sentence}`, { reason: `in its config ${sentence}` })
    }
    return value as T
  }
}

function isPositiveInteger(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

/** Not blank, without control characters and lone surrogates. */
function isLine(value: unknown, longest: number): value is string {
  if (typeof value !== 'string' || !value.isWellFormed() || value.trim() === '') return false
  return !/\p{Cc}/u.test(value) && [...value].length <= longest
}

function isWord(text: string): boolean {
  return text === text.toLowerCase() && !/\s/u.test(text)
}

/** A value of any size, shortened for a message. */
function brief(value: unknown): string {
  const [text, most] = [JSON.stringify(value) ?? 'nothing', 80]
  return text.length <= most ? text : `${text.slice(0, most)}...`
}
