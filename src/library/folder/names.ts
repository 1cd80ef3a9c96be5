import { extname } from 'node:path'
import { type Kind, kinds } from '../../diffusion/checkpoint/kinds.ts'
import { foreignName } from '../../diffusion/safetensors/foreign-file.ts'
import { AppError } from '../../jobs/errors.ts'

/** The folder of each kind within the models folder; '' is the models folder itself. */
export const kindFolders: readonly string[] = Object.values(kinds).map(({ folder }) => folder)

export const extension = '.safetensors'

/** Of a file that is added as this kind. */
export function extensionOf(kind: Kind): string {
  return kind === 'matte' ? '.onnx' : extension
}

/** Why no file of this name is read, whatever its content. @param kind absent: any kind may be meant */
export function refusedName(fileName: string, kind: Kind = 'matte'): string | undefined {
  const matte = kind === 'matte' && extname(fileName).toLowerCase() === '.onnx'
  return matte ? undefined : foreignName(fileName)
}

/** The name of a file of weights, in a format that is read or refused; undefined for any other file. */
export function weightsName(fileName: string): string | undefined {
  const ending = extname(fileName)
  const ours = ending.toLowerCase() === extension || foreignName(fileName) !== undefined
  return ours ? fileName.slice(0, -ending.length) : undefined
}

/** File systems allow 255 bytes; this leaves room for suffixes. */
const longest = 100

/** Why a text is not a valid name; undefined if it is. A name is a part of a path, so none may lead out of its folder. */
export function nameFault(name: string): string | undefined {
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}...` : name)
  if (name === '') return 'a name must not be empty'
  if (Buffer.byteLength(name) > longest) {
    return `the name ${shown} has ${Buffer.byteLength(name)} bytes, at most ${longest} are allowed`
  }
  if (name.startsWith('.')) return `the name ${shown} begins with a dot`
  // the rest is taken by prompts (<lora:name:0.8>), by shells, or by file systems of other systems
  if (!/^[\p{L}\p{M}\p{N} ._()+@&'!,=~#-]+$/u.test(name)) {
    return `the name ${shown} has characters that are not allowed, such as / \\ : < > * ? " |`
  }
  if (name.trim() !== name) return `the name ${shown} begins or ends with a space`
  return undefined
}

/** @throws AppError `invalid_request` naming the fault */
export function checkName(name: string): void {
  const fault = nameFault(name) ?? (isReserved(name) ? `the name ${name} is reserved` : undefined)
  if (fault !== undefined) throw new AppError('invalid_request', `${fault}.`, { param: 'name' })
}

/** Names that a folder or a file ending of the models folder already has. */
function isReserved(name: string): boolean {
  const lower = name.toLowerCase()
  return kindFolders.includes(lower) || /\.(partial|sha256|json|safetensors|onnx)$/.test(lower)
}

/** Makes a name from any file name: its last part, without its ending and without characters that are not allowed. */
export function safeName(fileName: string): string {
  const last = fileName.split(/[/\\]/).at(-1) ?? ''
  const cleaned = last
    .normalize('NFC')
    .replace(/\.(safetensors|onnx|partial|json|sha256)$/i, '')
    .replaceAll(/[^\p{L}\p{M}\p{N} ._()+@&'!,=~#-]/gu, '_')
    .replace(/^[.\s]+/, '')
    .trim()
  let name = cleaned
  while (Buffer.byteLength(name) > longest) name = [...name].slice(0, -1).join('')
  name = name.trim()
  return name === '' || isReserved(name) ? `model-${name.replaceAll('.', '-')}`.replace(/-$/, '') : name
}
