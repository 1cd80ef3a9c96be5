import { AppError } from '../../jobs/errors.ts'

/** What lies in the models folder: models in it, the rest in folders of its own. */
export const kinds = ['model', 'vae', 'embedding', 'lora'] as const
export type Kind = (typeof kinds)[number]

export const folderOf: Readonly<Record<Kind, string>> = {
  model: '',
  vae: 'vae',
  embedding: 'embeddings',
  lora: 'loras',
}

export const extension = '.safetensors'

/** File systems allow 255 bytes; this leaves room for what is appended. */
const longest = 100

/** Why a text is no name; undefined for one that is. A name is a part of a path, so none may lead out of its folder. */
export function nameFault(name: string): string | undefined {
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}...` : name)
  if (name === '') return 'a name must not be empty'
  if (Buffer.byteLength(name) > longest) {
    return `the name ${shown} has ${Buffer.byteLength(name)} bytes, at most ${longest} are allowed`
  }
  if (name.startsWith('.')) return `the name ${shown} begins with a dot`
  // the rest is taken by prompts (<lora:name:0.8>), by shells, or by file systems of other systems
  if (!/^[\p{L}\p{M}\p{N} ._()+@&'!,=~#-]+$/u.test(name)) {
    return `the name ${shown} has characters that names must not have, such as / \\ : < > * ? " |`
  }
  if (name.trim() !== name) return `the name ${shown} begins or ends with a space`
  return undefined
}

/** @throws AppError `invalid_request` naming the fault */
export function checkName(name: string): void {
  const fault = nameFault(name) ?? (isReserved(name) ? `the name ${name} is that of a folder` : undefined)
  if (fault !== undefined) throw new AppError('invalid_request', `${fault}.`, { param: 'name' })
}

/** What no model may be called, as a folder or an ending of the models folder is. */
function isReserved(name: string): boolean {
  const lower = name.toLowerCase()
  return Object.values(folderOf).includes(lower) || /\.(partial|sha256|json|safetensors)$/.test(lower)
}

/** A name from a file name of the outside world: its last part, without ending and without what names must not have. */
export function safeName(fileName: string): string {
  const last = fileName.split(/[/\\]/).at(-1) ?? ''
  const cleaned = last
    .normalize('NFC')
    .replace(/\.(safetensors|partial|json|sha256)$/i, '')
    .replaceAll(/[^\p{L}\p{M}\p{N} ._()+@&'!,=~#-]/gu, '_')
    .replace(/^[.\s]+/, '')
    .trim()
  let name = cleaned
  while (Buffer.byteLength(name) > longest) name = [...name].slice(0, -1).join('')
  name = name.trim()
  return name === '' || isReserved(name) ? `model-${name.replaceAll('.', '-')}`.replace(/-$/, '') : name
}
