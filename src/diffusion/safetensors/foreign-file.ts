import { extname } from 'node:path'

/** What people put in a checkpoint's place, told by name or by the first bytes, and what to do about it. */

const pickle =
  'this is a pickle: it can run code when it is opened, so it is never opened; ' +
  'download the .safetensors file of the same model, or convert it where nothing can be harmed'
const gguf = 'this is a GGUF file (quantized weights); download the .safetensors file of the same model'

const byExtension: Readonly<Record<string, string>> = {
  '.ckpt': pickle,
  '.pt': pickle,
  '.pth': pickle,
  '.bin': pickle,
  '.pkl': pickle,
  '.gguf': gguf,
}

/** @returns a sentence if files of this name are refused whatever is in them */
export function foreignName(path: string): string | undefined {
  return byExtension[extname(path).toLowerCase()]
}

const pickleProtocol = 0x80

/** @param first the first eight bytes of a file that is no safetensors file @returns a sentence if they are known */
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
