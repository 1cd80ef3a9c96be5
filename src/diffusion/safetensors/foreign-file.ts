import { extname } from 'node:path'

/**
 * The one list of refused formats: files that people mistake for checkpoints, recognized by name or by their first
 * bytes, and what to do about each.
 */

const instead = 'download the .safetensors file of the same model'

const pickle =
  'this is a pickle: it can run code when it is opened, so it is never opened; ' +
  `${instead}, or convert it on a machine where that is safe`
const gguf = `this is a GGUF file (quantized weights); ${instead}`
const archive = 'this is an archive; unpack it and use the .safetensors file in it'

const byExtension: Readonly<Record<string, string>> = {
  '.ckpt': pickle,
  '.pt': pickle,
  '.pth': pickle,
  '.bin': pickle,
  '.pkl': pickle,
  '.pickle': pickle,
  '.gguf': gguf,
  '.ggml': `this is a GGML file (quantized weights); ${instead}`,
  '.onnx': `this is an ONNX file (a graph exported for fixed uses); ${instead}`,
  '.engine': `this is a TensorRT engine (compiled for one GPU); ${instead}`,
  '.h5': `this is an HDF5 file (Keras weights); ${instead}`,
  '.keras': `this is a Keras file; ${instead}`,
  '.msgpack': `this is a Flax file (MessagePack weights); ${instead}`,
  '.npz': `this is a NumPy archive; ${instead}`,
  '.tflite': `this is a TensorFlow Lite file; ${instead}`,
  '.mlmodel': `this is a Core ML file; ${instead}`,
  '.zip': archive,
  '.7z': archive,
  '.rar': archive,
  '.tar': archive,
  '.gz': archive,
}

/** @param path a path, or the path of a URL @returns a sentence if any file of this name is refused */
export function foreignName(path: string): string | undefined {
  return byExtension[extname(path).toLowerCase()]
}

const pickleProtocol = 0x80

const picture = 'this is a picture, not a model; download the model itself'

/** First bytes of formats that are known by them, as Latin-1. */
const byContent: readonly (readonly [string, string])[] = [
  // torch.save writes a zip archive with a pickle in it, older versions the pickle alone
  ['PK\x03\x04', pickle],
  ['GGUF', gguf],
  ['\x89HDF', byExtension['.h5'] as string],
  ['\x93NUMPY', `this is a NumPy file; ${instead}`],
  ['\x1f\x8b', archive],
  ['7z\xbc\xaf', archive],
  ['Rar!', archive],
  ['\x89PNG', picture],
  ['\xff\xd8\xff', picture],
  ['RIFF', picture],
  ['GIF8', picture],
  ['%PDF', 'this is a PDF document, not a model; download the model itself'],
  [
    'version https://git-lfs',
    'this is a Git LFS pointer, not the file that it points to; download the file itself',
  ],
]

/** What a site sends in place of a file that needs a login, has moved or is gone. */
const notSent =
  'download the file again; its site may require a login, a token, or that its terms are accepted'

/**
 * @param first the first bytes of a file that is not safetensors; some hundred, so that an answer can be quoted
 * @returns a sentence if the format is known
 */
export function foreignContent(first: Uint8Array): string | undefined {
  const bytes = String.fromCharCode(...first)
  if (first[0] === pickleProtocol && (first[1] as number) <= 5) return pickle
  const known = byContent.find(([begin]) => bytes.startsWith(begin))?.[1]
  if (known !== undefined) return known
  const text = plainText(first)
  if (text === undefined) return undefined
  if (/^<(\?xml|[a-z]*:?error)/i.test(text))
    return `this is an XML text, such as an error of a site, not a model; ${notSent}`
  if (text.startsWith('<')) return `this is a web page, not a model; ${notSent}`
  if (/^[{[]/.test(text)) return `this is a JSON text, ${answered(text)}, not a model; ${notSent}`
  return `this is a text (${quoted(text)}), not a model; ${notSent}`
}

/** The text without what precedes its first visible character; undefined for bytes that are no text. */
function plainText(first: Uint8Array): string | undefined {
  const wide = first[0] === 0xff && first[1] === 0xfe
  const text = new TextDecoder(wide ? 'utf-16le' : 'utf-8').decode(first, { stream: true }).trimStart()
  const odd = /[\p{Cc}\ufffd]/u
  return text === '' || odd.test(text.replaceAll(/\s/g, ' ')) ? undefined : text
}

/** The message of an error in JSON, wherever it is. */
function answered(text: string): string {
  const message = /"(?:message|error|detail)"\s*:\s*"((?:[^"\\]|\\.)+)"/.exec(text)?.[1]
  return message === undefined ? 'such as the answer of a site' : `the answer of a site (${quoted(message)})`
}

function quoted(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return JSON.stringify(line.length > 80 ? `${line.slice(0, 80)}...` : line)
}
