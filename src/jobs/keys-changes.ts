import { AppError } from './errors.ts'
import { type KeysFile, newKey, type StoredCaller, type StoredKey } from './keys.ts'

/**
 * What an operator does to a keys file, as functions from one file to the next. Each throws `not_found` or
 * `invalid_request` with a sentence.
 */

/** What an operator says of a caller. An absent setting stays as it is; `null` removes it. */
export interface CallerSettings {
  readonly scopes?: StoredCaller['scopes'] | null
  readonly priorities?: StoredCaller['priorities'] | null
  readonly limits?: { readonly [Name in keyof NonNullable<StoredCaller['limits']>]?: number | null }
  readonly webhookUrl?: string | null
}

/** A file, and the key in it that is shown once. */
export interface WithKey {
  readonly file: KeysFile
  readonly key: string
}

export function addCaller(
  file: KeysFile,
  name: string,
  settings: CallerSettings,
  { now, expires }: { readonly now: Date; readonly expires?: Date },
): WithKey {
  if (file.callers.some((caller) => caller.name === name)) {
    const message = `There is a caller ${name} already. \`rotate ${name}\` gives it another key, \`set ${name}\` changes its limits.`
    throw new AppError('invalid_request', message)
  }
  const { key, stored } = newKey(now, expires)
  const caller = changed({ name, keys: [stored] }, settings)
  return { file: { ...file, callers: [...file.callers, caller] }, key }
}

export function setCaller(file: KeysFile, name: string, settings: CallerSettings): KeysFile {
  return withCaller(file, name, (caller) => changed(caller, settings))
}

/** Keys of a caller that can be live at the same time: the one in use, and the one that takes its place. */
const mostLive = 2

/** @param keep when the keys of before end; absent: they stay */
export function rotateKey(
  file: KeysFile,
  name: string,
  { now, expires, keep }: { readonly now: Date; readonly expires?: Date; readonly keep?: Date },
): WithKey {
  const { key, stored } = newKey(now, expires)
  const next = withCaller(file, name, (caller) => {
    const live = caller.keys.filter((each) => isLive(each, now))
    if (live.length >= mostLive) {
      const ids = live.map(({ id }) => id).join(' and ')
      throw new AppError('invalid_request', `${name} has two live keys, ${ids}. Disable or remove one first.`)
    }
    const ending = (each: StoredKey) =>
      keep === undefined || !isLive(each, now) || endsBefore(each, keep)
        ? each
        : { ...each, expires: keep.toISOString() }
    return { ...caller, keys: [...caller.keys.map(ending), stored] }
  })
  return { file: next, key }
}

/** The next generation of a caller's webhook secret; the one before counts too while it is rotated. */
export function rotateWebhook(file: KeysFile, name: string): { file: KeysFile; generation: number } {
  let generation = 0
  const next = withCaller(file, name, (caller) => {
    generation = (caller.webhook?.secret ?? 1) + 1
    return { ...caller, webhook: { ...caller.webhook, secret: generation } }
  })
  return { file: next, generation }
}

/** @param which the name of a caller, or the id of a key */
export function setDisabled(file: KeysFile, which: string, disabled: boolean): KeysFile {
  const switched = <T extends { disabled?: boolean | undefined }>({ disabled: _, ...rest }: T) =>
    disabled ? { ...rest, disabled } : rest
  if (isName(file, which)) return withCaller(file, which, (caller) => switched(caller) as StoredCaller)
  const caller = ownerOf(file, which)
  return withCaller(file, caller.name, (each) => ({
    ...each,
    keys: each.keys.map((key) => (key.id === which ? (switched(key) as StoredKey) : key)),
  }))
}

/** @param which the name of a caller, or the id of a key */
export function removeEntry(file: KeysFile, which: string): KeysFile {
  if (isName(file, which)) {
    return { ...file, callers: file.callers.filter(({ name }) => name !== which) }
  }
  const { name } = ownerOf(file, which)
  return withCaller(file, name, (each) => ({ ...each, keys: each.keys.filter(({ id }) => id !== which) }))
}

export function isLive({ disabled, expires }: StoredKey, now: Date): boolean {
  return disabled !== true && (expires === undefined || Date.parse(expires) > now.getTime())
}

function endsBefore({ expires }: StoredKey, time: Date): boolean {
  return expires !== undefined && Date.parse(expires) <= time.getTime()
}

function isName({ callers }: KeysFile, which: string): boolean {
  return callers.some(({ name }) => name === which)
}

function withCaller(file: KeysFile, name: string, change: (caller: StoredCaller) => StoredCaller): KeysFile {
  if (!isName(file, name)) throw unknown(file, `caller ${name}`)
  return { ...file, callers: file.callers.map((each) => (each.name === name ? change(each) : each)) }
}

function ownerOf(file: KeysFile, id: string): StoredCaller {
  const owner = file.callers.find(({ keys }) => keys.some((key) => key.id === id))
  if (owner === undefined) throw unknown(file, `caller and no key ${id}`)
  return owner
}

function unknown({ callers }: KeysFile, what: string): AppError {
  const names = callers.map(({ name }) => name).join(', ') || 'none'
  return new AppError('not_found', `There is no ${what}. Callers: ${names}.`)
}

function changed(caller: StoredCaller, settings: CallerSettings): StoredCaller {
  const { scopes, priorities, limits = {}, webhook, ...rest } = caller
  const { url, secret = 1 } = webhook ?? {}
  const pick = <T>(next: T | null | undefined, before: T | undefined) =>
    next === undefined ? before : (next ?? undefined)
  const merged = Object.fromEntries(
    Object.entries({ ...limits, ...settings.limits }).filter(([, value]) => value !== null),
  )
  const next = {
    scopes: pick(settings.scopes, scopes),
    priorities: pick(settings.priorities, priorities),
    url: pick(settings.webhookUrl, url),
  }
  const hasWebhook = next.url !== undefined || webhook !== undefined
  return {
    ...rest,
    ...(next.scopes === undefined ? {} : { scopes: next.scopes }),
    ...(Object.keys(merged).length === 0 ? {} : { limits: merged }),
    ...(next.priorities === undefined ? {} : { priorities: next.priorities }),
    ...(hasWebhook ? { webhook: { ...(next.url === undefined ? {} : { url: next.url }), secret } } : {}),
  }
}
