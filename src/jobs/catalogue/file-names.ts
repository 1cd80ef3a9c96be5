import { describeValue, isBlank } from '../wording.ts'

/**
 * Names of picture files, which must work on every system they are unpacked on. Windows: "Naming Files, Paths, and
 * Namespaces", learn.microsoft.com/windows/win32/fileio/naming-a-file.
 */

/** Bytes in UTF-8, without the extension: file systems allow 255. */
const mostBytes = 200
const reserved = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i

/** Why no file should have this name (without an extension): the end of the sentence "The file name ...". */
export function nameFault(name: string): string | undefined {
  if (!name.isWellFormed()) return 'contains half of a character'
  if (isBlank(name)) return 'is empty'
  if (/[/\\]/.test(name)) return 'must not contain a slash'
  const [wrong] = /[<>:"|?*]/.exec(name) ?? []
  if (wrong !== undefined) return `must not contain ${wrong}`
  const code = /[\p{Cc}\p{Cf}\u2028\u2029]/u.exec(name)?.[0]?.codePointAt(0)
  if (code !== undefined) return `must not contain U+${code.toString(16).toUpperCase().padStart(4, '0')}`
  if (/^[\s.]|[\s.]$/u.test(name)) return 'must not begin or end with a dot or space'
  if (reserved.test(name)) return 'is reserved on Windows'
  const bytes = Buffer.byteLength(name)
  return bytes > mostBytes ? `must have at most ${mostBytes} bytes, but has ${bytes}` : undefined
}

/** Two names that are one to some file system are equal in this form. */
export function nameKey(name: string): string {
  return name.normalize('NFC').toLowerCase()
}

export function shownName(name: string): string {
  return describeValue(name)
}
