import { CheckpointError } from '../errors.ts'

/**
 * Parses and checks the JSON header of a safetensors file (https://github.com/huggingface/safetensors#format):
 * nothing in it can be trusted. Nothing here reads a file.
 */

const bitsPerElement: ReadonlyMap<string, number> = new Map([
  ['F64', 64],
  ['F32', 32],
  ['F16', 16],
  ['BF16', 16],
  ['F8_E5M2', 8],
  ['F8_E4M3', 8],
  ['F8_E8M0', 8],
  ['F8_E5M2FNUZ', 8],
  ['F8_E4M3FNUZ', 8],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F4', 4],
  ['C64', 64],
  ['I64', 64],
  ['I32', 32],
  ['I16', 16],
  ['I8', 8],
  ['U64', 64],
  ['U32', 32],
  ['U16', 16],
  ['U8', 8],
  ['BOOL', 8],
])

/**
 * The name of a dtype. The engine computes with F32, F16, BF16 and F64 only; a tensor of any other, even one that the
 * format did not have yet, does no harm in a file until somebody needs its numbers.
 */
export type Dtype = string

/** No dtype has a longer name; anything else is damage. */
const dtypeName = /^[A-Za-z][A-Za-z0-9_]{0,31}$/

/** A tensor in a file. `offset` counts from the beginning of the file, `length` is in bytes. */
export interface StoredTensor {
  /** Its name in the file, for messages. */
  readonly key: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly offset: number
  readonly length: number
}

export interface Header {
  readonly tensors: Map<string, StoredTensor>
  /** The header's `__metadata__`. */
  readonly metadata: Map<string, string>
}

/** The deepest valid header is {key: {field: [numbers]}}. */
const maxDepth = 3

/** Several times as many as the largest models have; a million would keep a process busy for many seconds. */
const maxTensors = 15_000

/** In characters, twice as long as the longest: names are searched by patterns, some in time that is not linear. */
const maxName = 400

const maxAxes = 64

/**
 * @param bytes the header only @param dataBegin where the tensors' bytes begin in the file
 * @param fileBytes the size of the whole file @param file its name, for messages
 * @throws CheckpointError naming the file and the fault: invalid JSON, a duplicate key, an invalid dtype, shape or
 *   offset, tensors that overlap, leave a gap, or do not end where the file ends
 */
export function parseHeader(bytes: Uint8Array, dataBegin: number, fileBytes: number, file: string): Header {
  const tensors = new Map<string, StoredTensor>()
  const metadata = new Map<string, string>()
  for (const [key, value] of Object.entries(parseObject(bytes, file))) {
    if (key === '__metadata__') {
      for (const [name, text] of parseMetadata(value, file)) metadata.set(name, text)
    } else {
      tensors.set(key, parseTensor(key, value, dataBegin, file))
    }
  }
  checkLayout([...tensors.values()], dataBegin, fileBytes, file)
  return { tensors, metadata }
}

/** @throws CheckpointError for a dtype without a whole number of bytes per element */
export function elementBytes(dtype: Dtype): number {
  const bits = bitsPerElement.get(dtype) ?? 0
  if (bits < 8) throw new CheckpointError(`weights of dtype ${dtype} are not supported`)
  return bits / 8
}

function parseObject(bytes: Uint8Array, file: string): Record<string, unknown> {
  let header: unknown
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    checkKeys(text, file)
    header = JSON.parse(text)
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause
    throw new CheckpointError(`${file}: the header is not JSON`, { cause })
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw new CheckpointError(`${file}: the header is not a JSON object`)
  }
  return header as Record<string, unknown>
}

const code = {
  quote: 0x22,
  colon: 0x3a,
  backslash: 0x5c,
  openObject: 0x7b,
  closeObject: 0x7d,
  openList: 0x5b,
  closeList: 0x5d,
}

/**
 * Finds what JSON.parse accepts silently: of two equal keys it keeps the last, and a header nested a million levels
 * deep breaks any code that walks over it later. Invalid JSON is left to JSON.parse.
 */
function checkKeys(text: string, file: string): void {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === code.openObject || char === code.openList) {
      open.push(char === code.openObject ? new Set() : undefined)
      if (open.length > maxDepth) throw new CheckpointError(`${file}: the header is nested too deeply`)
    } else if (char === code.closeObject || char === code.closeList) {
      open.pop()
    } else if (char === code.quote) {
      const end = endOfText(text, at)
      const keys = open.at(-1)
      if (keys && nextIs(text, end + 1, code.colon)) {
        const raw = text.slice(at, end + 1)
        const key: string = raw.includes('\\') ? JSON.parse(raw) : raw.slice(1, -1)
        if (key.length > maxName) {
          throw new CheckpointError(
            `${file}: the header has a key of ${key.length} characters: "${clipped(key)}"`,
          )
        }
        if (keys.has(key)) throw new CheckpointError(`${file}: the header contains "${clipped(key)}" twice`)
        keys.add(key)
        if (keys.size > maxTensors) {
          throw new CheckpointError(`${file}: the header has more than ${maxTensors} keys`)
        }
      }
      at = end
    }
  }
}

/** @returns the index of the closing quote of the JSON string that begins at `begin` */
function endOfText(text: string, begin: number): number {
  for (let end = text.indexOf('"', begin + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let first = end
    while (text.charCodeAt(first - 1) === code.backslash && first - 1 > begin) first -= 1
    // an even number of backslashes escape each other, not the quote
    if ((end - first) % 2 === 0) return end
  }
  return text.length
}

function nextIs(text: string, from: number, char: number): boolean {
  let at = from
  while (' \n\r\t'.includes(text.charAt(at)) && at < text.length) at += 1
  return text.charCodeAt(at) === char
}

function parseMetadata(value: unknown, file: string): [string, string][] {
  if (value === null) return []
  const entries =
    typeof value === 'object' && !Array.isArray(value) ? Object.entries(value as object) : [['', 0]]
  for (const [name, text] of entries) {
    if (typeof text !== 'string') {
      throw new CheckpointError(
        `${file}: "__metadata__" must contain strings only, but "${clipped(String(name))}" is ${shown(text)}`,
      )
    }
  }
  return entries as [string, string][]
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function parseTensor(key: string, value: unknown, dataBegin: number, file: string): StoredTensor {
  const fault = (what: string) => new CheckpointError(`${file}: tensor "${clipped(key)}" ${what}`)
  if (typeof value !== 'object' || value === null) throw fault('has no description')
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>
  if (typeof dtype !== 'string' || !dtypeName.test(dtype)) {
    throw fault(`has dtype ${shown(dtype)}; it must be the name of one, such as F16`)
  }
  if (!Array.isArray(shape) || shape.length > maxAxes || !shape.every(isCount))
    throw fault(`has shape ${shown(shape)}`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fault(`has data_offsets ${shown(offsets)}`)
  }
  const [begin, end] = offsets as [number, number]
  // a product beyond 2^53 is not exact, but then it cannot equal a difference of two safe integers
  const bits = bitsPerElement.get(dtype)
  const expected = bits === undefined ? undefined : shape.reduce((product, dim) => product * dim, bits) / 8
  if (end < begin) throw fault(`has data_offsets ${shown(offsets)}`)
  if (expected !== undefined && end - begin !== expected) {
    const described = `${dtype} [${clipped(shape.join(', '))}]`
    throw fault(`of ${described} needs ${expected} bytes, but its offsets give ${end - begin}`)
  }
  return { key, dtype, shape, offset: dataBegin + begin, length: end - begin }
}

function checkLayout(tensors: StoredTensor[], dataBegin: number, fileBytes: number, file: string): void {
  tensors.sort((a, b) => a.offset - b.offset || a.length - b.length)
  let end = dataBegin
  for (const tensor of tensors) {
    const fault = (what: string) => new CheckpointError(`${file}: ${what}`)
    const name = `tensor "${clipped(tensor.key)}"`
    if (tensor.offset < end) throw fault(`${name} overlaps another tensor`)
    if (tensor.offset > end) throw fault(`${tensor.offset - end} unused bytes before ${name}`)
    end = tensor.offset + tensor.length
    if (end > fileBytes) {
      throw new CheckpointError(`${file}: ${name} ends at byte ${end}, but the file has ${fileBytes}`, {
        reason: 'the file is incomplete; the download or copy may not have finished',
      })
    }
  }
  if (end !== fileBytes) throw new CheckpointError(`${file}: ${fileBytes - end} bytes belong to no tensor`)
}

function shown(value: unknown): string {
  return clipped(JSON.stringify(value) ?? 'missing')
}

/** Untrusted text in a message: long enough to search for, short enough to read. */
function clipped(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}...` : text
}
