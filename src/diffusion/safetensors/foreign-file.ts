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

/** @param first the first eight bytes of a file that is not safetensors @returns a sentence if the format is known */
export function foreignContent(first: Uint8Array): string | undefined {
  const text = String.fromCharCode(...first)
  // torch.save writes a zip archive with a pickle in it, older versions the pickle alone
  if (text.startsWith('PK\x03\x04') || (first[0] === pickleProtocol && (first[1] as number) <= 5))
    return pickle
  if (text.startsWith('GGUF')) return gguf
  if (text.startsWith('version ')) {
    return 'this is a Git LFS pointer, not the file that it points to; download the file itself'
  }
  if (/^\s*</.test(text)) {
    return 'this is a web page, not a checkpoint; the download may have needed a login'
  }
  return undefined
}
