import { stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { opening, refused } from '../errors.ts'
import { fileStamp } from '../file-stamp.ts'
import { tokenEmbeddingKey } from '../models/clip-text.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { ClipTokenizer } from '../tokenizer/clip-tokenizer.ts'
import { clipVocabulary } from '../tokenizer/clip-vocabulary.ts'
import { type Architecture, checkArchitecture, isInpainting } from './architecture.ts'
import { type Beside, besideFile } from './beside.ts'
import { type DiffusersFolder, openDiffusersFolder } from './diffusers-folder.ts'
import { families } from './families.ts'
import { classify } from './family.ts'
import { type Classified, refusal } from './kinds.ts'
import { openSingleFile } from './single-file.ts'
import { openVaeFile, type Vae } from './vae-file.ts'
import { Weights } from './weights.ts'

/** A model on disk, in either layout. Its parts have diffusers' names. */
export interface Model {
  /** As it was given. */
  readonly path: string
  /** The folder's name, or the file's without `.safetensors`. */
  readonly name: string
  readonly family: 'sd1'
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

/** The file or folder at a path, its headers and configs read once. `modelOf` decides whether it is a usable model. */
export type Checkpoint = {
  /** As it was given. */
  readonly path: string
  readonly classified: Classified
  readonly beside: Beside
} & ({ readonly file: SafetensorsFile } | { readonly folder: DiffusersFolder })

/**
 * Reads the headers and configs of a `.safetensors` file or of a folder in diffusers layout.
 * @throws CheckpointError if it is damaged or of an unsupported format
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const foreign = foreignName(path)
  if (foreign) throw refused(path, foreign)
  if (!(await isFolder(path))) {
    const file = await openSafetensors(path)
    return { path, file, beside: await besideFile(path, modelName(path)), classified: classify(file.tensors) }
  }
  const folder = await openDiffusersFolder(path)
  return {
    path,
    folder,
    beside: folder.beside,
    classified: { kind: 'model', family: 'sd1', description: families.sd1.name },
  }
}

/**
 * Opens a folder in diffusers layout or a single `.safetensors` file in the original one. Reads headers and configs
 * only; every key is accounted for.
 * @throws CheckpointError naming the file and what is wrong with it
 */
export async function openModel(path: string, options: ModelOptions = {}): Promise<Model> {
  const checkpoint = await readCheckpoint(path)
  const { vae } = options
  if (vae === undefined) return modelOf(checkpoint)
  return modelOf(checkpoint, await opening(`The VAE ${modelName(vae)}`, () => openVaeFile(vae)))
}

/**
 * @param vae used in place of the model's own
 * @throws CheckpointError naming the file, and why it cannot be used as a model
 */
export function modelOf(checkpoint: Checkpoint, vae?: Vae): Model {
  const { path, classified } = checkpoint
  const fault = refusal('model', classified)
  if (fault !== undefined) throw refused(path, fault)
  const parts =
    'file' in checkpoint
      ? openSingleFile(checkpoint.file, checkpoint.beside, vae)
      : withVae(path, checkpoint.folder, vae)
  const tokenizer = async () => {
    const found =
      'file' in checkpoint
        ? await singleFileTokenizer(checkpoint.file, parts.text)
        : await ClipTokenizer.load(join(path, 'tokenizer'))
    const rows = tokenRows(parts.text)
    if (found.size <= rows) return found
    throw refused(path, `its tokenizer has ${found.size} tokens, but its text encoder has ${rows}`)
  }
  return {
    ...parts,
    path,
    name: modelName(path),
    family: 'sd1',
    inpainting: isInpainting(parts.architecture),
    tokenizer,
  }
}

/** @throws CheckpointError if the path does not exist */
async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw refused(path, 'no such file or folder', cause)
  })
  return stats.isDirectory()
}

function withVae(path: string, folder: DiffusersFolder, vae: Vae | undefined): DiffusersFolder {
  if (vae === undefined) return folder
  const architecture = { ...folder.architecture, vae: vae.config }
  checkArchitecture(architecture, path)
  return { ...folder, architecture, vae: vae.file }
}

function tokenRows(text: SafetensorsFile): number {
  const weights = new Weights(text)
  return weights.shape(tokenEmbeddingKey(weights))[0] as number
}

/** The name of a symbolic link, not of its target: download caches name files by their hashes. */
function modelName(path: string): string {
  return basename(resolve(path)).replace(/\.safetensors$/i, '')
}

/** The file's own vocabulary if it has one, else CLIP's, which all Stable Diffusion 1.x models use. */
async function singleFileTokenizer(file: SafetensorsFile, text: SafetensorsFile): Promise<ClipTokenizer> {
  const own = file.metadata.get('packshot.tokenizer')
  if (own !== undefined) return ClipTokenizer.parse(own, `${file.path} (packshot.tokenizer)`)
  const vocabulary = await clipVocabulary()
  const [rows, known] = [tokenRows(text), Object.keys(vocabulary.ids).length]
  if (rows < known) {
    throw refused(
      file.path,
      `its text encoder has ${rows} tokens, but CLIP's vocabulary has ${known}; a file with a different vocabulary ` +
        'must include it as "packshot.tokenizer" in its metadata',
    )
  }
  return ClipTokenizer.of(vocabulary.ids, vocabulary.merges)
}

/**
 * Call this before reading an opened file again, for instance before creating a session: the offsets of a different
 * file would give a picture of noise.
 * @throws CheckpointError if the file has since been replaced, written to or removed
 */
export async function assertUnchanged({ path, stamp }: SafetensorsFile): Promise<void> {
  const now = await fileStamp(path)
  if (now === undefined) throw refused(path, 'the file was removed while it was in use')
  if (now !== stamp) {
    throw refused(path, 'the file changed while it was in use; it must be opened again')
  }
}
