import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { CheckpointError } from './errors.ts'

/** Python writes infinite numbers into JSON files (`lambda_min_clipped: -Infinity`), which JSON does not have. */
const pythonNumbers = /(?<=[:,[]\s*)(-?Infinity|NaN)(?=\s*[,}\]])/g

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
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      throw new CheckpointError(`${path}: the file is missing or not readable`, { cause })
    })
    return ConfigFile.parse(path, text)
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
    return existsSync(path) ? ConfigFile.read(path) : new ConfigFile(path, {})
  }

  /** Whether a field that may be a list is a single value or absent. */
  single(field: string): boolean {
    return !Array.isArray(this.#fields[field])
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
    return this.#checked(field, fallback, 'a whole number above 0', isPositiveInteger)
  }

  number(field: string, fallback?: number): number {
    return this.#checked(field, fallback, 'a number', (value) => typeof value === 'number')
  }

  boolean(field: string, fallback?: boolean): boolean {
    return this.#checked(field, fallback, 'true or false', (value) => typeof value === 'boolean')
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
    if (value === undefined || value === null) return undefined
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

  #line(place: string, value: unknown, { longest, words = false }: TextRule): string {
    if (isLine(value, longest) && (!words || isWord(value))) return value
    const kind = words ? 'one lowercase word' : 'one line of text'
    const size = typeof value === 'string' ? ` (${[...value].length} characters)` : ''
    throw new CheckpointError(
      `${this.path}: ${place} is ${brief(value)}${size}; it must be ${kind}, 1 to ${longest} characters long`,
    )
  }

  /** Refuses a setting that changes the architecture in a way that the engine does not support. */
  refuse(field: string, ...harmless: unknown[]): void {
    const value = this.#fields[field]
    if (value === undefined || value === null || harmless.includes(value)) return
    throw new CheckpointError(`${this.path}: "${field}": ${JSON.stringify(value)} is not supported`)
  }

  #checked<T>(
    field: string,
    fallback: T | undefined,
    expected: string,
    check: (value: unknown) => value is T,
  ): T
  #checked<T>(field: string, fallback: T | undefined, expected: string, check: (value: unknown) => boolean): T
  #checked<T>(
    field: string,
    fallback: T | undefined,
    expected: string,
    check: (value: unknown) => boolean,
  ): T {
    const value = this.#fields[field] ?? fallback
    if (!check(value)) {
      const given = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`
      throw new CheckpointError(`${this.path}: "${field}" ${given}; it must be ${expected}`)
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
