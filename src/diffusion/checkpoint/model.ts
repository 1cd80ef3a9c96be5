import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { CheckpointError } from '../errors.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { ClipTokenizer } from '../tokenizer/clip-tokenizer.ts'
import { clipVocabulary } from '../tokenizer/clip-vocabulary.ts'
import { type Architecture, checkArchitecture, isInpainting } from './architecture.ts'
import { openDiffusersFolder } from './diffusers-folder.ts'
import { type Classified, classify, type FileKind, familyNames } from './family.ts'
import { openSingleFile } from './single-file.ts'
import { openVaeFile, type Vae } from './vae-file.ts'

/** A model on disk, whichever layout it has. Its parts are known by diffusers' names. */
export interface Model {
  /** As it was given. */
  readonly path: string
  /** The folder's name, or the file's without `.safetensors`. */
  readonly name: string
  readonly family: 'sd1'
  readonly layout: 'diffusers' | 'single-file'
  readonly architecture: Architecture
  readonly text: SafetensorsFile
  readonly unet: SafetensorsFile
  readonly vae: SafetensorsFile
  /** The UNet takes a mask and a masked picture as well. */
  readonly inpainting: boolean
  tokenizer(): Promise<ClipTokenizer>
}

export interface ModelOptions {
  /** A file whose VAE replaces the model's own, which may then be missing from a single file. */
  readonly vae?: string
}

/**
 * Opens a folder in diffusers layout or a single `.safetensors` file in the original one. Reads headers and configs
 * only; every key is accounted for.
 * @throws CheckpointError naming the file and what is wrong with it
 */
export async function openModel(path: string, options: ModelOptions = {}): Promise<Model> {
  const foreign = foreignName(path)
  if (foreign) throw new CheckpointError(`${path}: ${foreign}`)
  const vae = options.vae === undefined ? undefined : await openVaeFile(options.vae)
  return (await isFolder(path)) ? openFolder(path, vae) : openFile(path, vae)
}

/** @throws CheckpointError if there is nothing */
export async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw new CheckpointError(`${path}: there is no such file or folder`, { cause })
  })
  return stats.isDirectory()
}

async function openFolder(path: string, vae: Vae | undefined): Promise<Model> {
  const { architecture: own, ...files } = await openDiffusersFolder(path)
  const architecture = vae ? { ...own, vae: vae.config } : own
  checkArchitecture(architecture, path)
  return {
    ...files,
    name: modelName(path),
    family: 'sd1',
    layout: 'diffusers',
    architecture,
    vae: vae?.file ?? files.vae,
    inpainting: isInpainting(architecture),
    tokenizer: () => ClipTokenizer.load(join(path, 'tokenizer')),
  }
}

async function openFile(path: string, vae: Vae | undefined): Promise<Model> {
  const file = await openSafetensors(path)
  const what = classify(file.tensors)
  if (what.kind !== 'checkpoint' || what.family !== 'sd1') {
    throw new CheckpointError(`${path}: ${refusal(what)}`)
  }
  const parts = openSingleFile(file, vae)
  return {
    ...parts,
    path,
    name: modelName(path),
    family: 'sd1',
    layout: 'single-file',
    inpainting: isInpainting(parts.architecture),
    tokenizer: () => singleFileTokenizer(file, parts.text),
  }
}

/** A symbolic link's own name counts: download caches name the files behind it by their hashes. */
export function modelName(path: string): string {
  return basename(resolve(path)).replace(/\.safetensors$/i, '')
}

const places: Partial<Record<FileKind, string>> = {
  lora: 'models/loras',
  vae: 'models/vae',
  embedding: 'models/embeddings',
}

function refusal({ kind, description }: Classified): string {
  const place = places[kind]
  if (place) return `this is ${description}, not a model; put it into ${place} and name it beside a model`
  return `this is ${description}; only ${familyNames.sd1} checkpoints can be used`
}

/** The file's own vocabulary if it carries one, else CLIP's, which all of Stable Diffusion 1.x have. */
async function singleFileTokenizer(file: SafetensorsFile, text: SafetensorsFile): Promise<ClipTokenizer> {
  const own = file.metadata.get('packshot.tokenizer')
  if (own !== undefined) return ClipTokenizer.parse(own, `${file.path} (packshot.tokenizer)`)
  const vocabulary = await clipVocabulary()
  const table = text.tensors.get('text_model.embeddings.token_embedding.weight')
  const [rows, known] = [table?.shape[0] ?? 0, Object.keys(vocabulary.ids).length]
  if (rows < known) {
    throw new CheckpointError(
      `${file.path}: "${table?.key}" has ${rows} tokens, CLIP's vocabulary has ${known}; a file with another ` +
        'vocabulary must carry it as "packshot.tokenizer" in its metadata',
    )
  }
  return ClipTokenizer.of(vocabulary.ids, vocabulary.merges)
}

/**
 * To be asked before the file is read again after it was opened, as before a session is made: offsets of
 * another file would give a picture of noise.
 * @throws CheckpointError if the file was replaced, written to or removed since
 */
export async function assertUnchanged({ path, stamp }: SafetensorsFile): Promise<void> {
  const now = await stat(path, { bigint: true }).catch((cause: unknown) => {
    throw new CheckpointError(`${path}: the file was removed while it was in use`, { cause })
  })
  if (now.size !== stamp.size || now.mtimeNs !== stamp.mtimeNs || now.ino !== stamp.ino) {
    throw new CheckpointError(`${path}: the file changed while it was in use; it must be opened again`)
  }
}
