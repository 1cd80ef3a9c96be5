import { readdir, stat } from 'node:fs/promises'
import { basename, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config.ts'
import { describeModel } from '../diffusion/checkpoint/describe.ts'
import { openModel } from '../diffusion/checkpoint/model.ts'
import { Weights } from '../diffusion/checkpoint/weights.ts'
import { CheckpointError } from '../diffusion/errors.ts'
import { hasEncoder } from '../diffusion/models/vae.ts'
import { AppError } from '../jobs/errors.ts'
import type { ModelInfo } from '../jobs/offer.ts'
import { type Entry, IdentityCache, listModels } from './folder/list.ts'
import { folderOf, type Kind } from './folder/names.ts'
import { engineInspect } from './inspect.ts'

const builtInName = 'packshot-mini'
const builtIn = fileURLToPath(new URL(`../../models/${builtInName}`, import.meta.url))

/** A model that pictures can be made with. */
export interface LibraryModel extends ModelInfo {
  readonly path: string
  /** How many numbers its weights are. */
  readonly parameters: number
}

/** What an installation has on its disk, by name. */
export interface Contents {
  /** The default first, if it can be used. */
  readonly models: readonly LibraryModel[]
  /** Why the default model cannot be used. */
  readonly defaultFault: AppError | undefined
  /** Without those that cannot be used. */
  readonly addOns: readonly Entry[]
  /** A sentence for each file that cannot be used. */
  readonly problems: readonly string[]
}

type Settings = Pick<Config, 'model' | 'modelsDir'>

/**
 * The models folder of a configuration, with the default model and the built-in one. Reading it again costs little while
 * nothing changed.
 */
export class Library {
  readonly #settings: Settings
  readonly #identities = new IdentityCache()
  readonly #known = new Map<string, { stamp: string; model: LibraryModel }>()
  #last: { stamp: string; contents: Contents } | undefined

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** What is there now. Rejects `model_invalid` when the default model cannot be used. */
  async read(): Promise<Contents> {
    const contents = await this.readAll()
    if (contents.defaultFault !== undefined) throw contents.defaultFault
    return contents
  }

  /** What is there now, with the default model or without. */
  async readAll(): Promise<Contents> {
    const stamp = await this.#stamp()
    if (this.#last?.stamp === stamp) return this.#last.contents
    const contents = await this.#list()
    this.#last = { stamp, contents }
    return contents
  }

  async #list(): Promise<Contents> {
    const { entries } = await listModels(this.#settings.modelsDir, engineInspect, this.#identities)
    const problems = entries.flatMap((entry) =>
      entry.problem === undefined ? [] : [`The ${entry.kind} ${entry.name} cannot be used: ${entry.problem}`],
    )
    const usable = entries.filter((entry) => entry.problem === undefined)
    const { model: chosen, fault: defaultFault } = await this.#default(entries)
    const models = chosen === undefined ? [] : [chosen]
    const more = usable.filter((entry) => entry.kind === 'model').map(({ name, path }) => ({ name, path }))
    for (const each of [...more, { name: builtInName, path: builtIn }]) {
      if (models.some((model) => sameName(model.name, each.name))) continue
      try {
        models.push(await this.#open(each.name, each.path))
      } catch (thrown) {
        if (!(thrown instanceof CheckpointError)) throw thrown
        problems.push(`The model ${each.name} cannot be used: ${thrown.message}`)
      }
    }
    return { models, defaultFault, addOns: usable.filter((entry) => entry.kind !== 'model'), problems }
  }

  async #default(entries: readonly Entry[]): Promise<{ model?: LibraryModel; fault?: AppError }> {
    const wanted = this.#settings.model
    try {
      const { name, path } = this.#find(wanted, entries)
      return { model: await this.#open(name, path) }
    } catch (thrown) {
      if (thrown instanceof AppError) return { fault: thrown }
      if (!(thrown instanceof CheckpointError)) throw thrown
      const message = `The model ${wanted} cannot be used: ${thrown.message}`
      return { fault: new AppError('model_invalid', message, { param: 'PACKSHOT_MODEL', cause: thrown }) }
    }
  }

  /** A name is looked for in the folder; anything with a slash is a path. */
  #find(wanted: string, entries: readonly Entry[]): { name: string; path: string } {
    if (isAbsolute(wanted) || /[/\\]/.test(wanted)) {
      return { name: basename(resolve(wanted)).replace(/\.safetensors$/i, ''), path: resolve(wanted) }
    }
    const entry = entries.find(({ kind, name }) => kind === 'model' && sameName(name, wanted))
    if (entry !== undefined) return { name: entry.name, path: entry.path }
    if (sameName(wanted, builtInName)) return { name: builtInName, path: builtIn }
    const names = entries.filter(({ kind }) => kind === 'model').map(({ name }) => name)
    const there = [...names, builtInName].join(', ')
    const message = `There is no model ${wanted} in ${resolve(this.#settings.modelsDir)}; there are ${there}. Name one of them, or a path, with PACKSHOT_MODEL.`
    throw new AppError('model_invalid', message, { param: 'PACKSHOT_MODEL' })
  }

  async #open(name: string, path: string): Promise<LibraryModel> {
    const stamp = await stampOf(path)
    const known = this.#known.get(path)
    if (known?.stamp === stamp && known.model.name === name) return known.model
    const described = await describeModel(path)
    const { words, ...about } = described.about
    const { architecture, vae, inpainting, family } = await openModel(path)
    const { parameters } = await engineInspect.identify(path)
    const model: LibraryModel = {
      name,
      path,
      parameters,
      family,
      inpainting,
      width: described.width,
      height: described.height,
      steps: described.steps,
      guidance_scale: described.guidanceScale,
      size_multiple: described.sizeMultiple,
      clip_layers: architecture.text.num_hidden_layers,
      images: hasEncoder(new Weights(vae)),
      ...about,
      ...(words === undefined ? {} : { words: new Set(words.map((word) => word.normalize('NFC'))) }),
    }
    this.#known.set(path, { stamp, model })
    return model
  }

  /** Changes when something is added, removed, renamed or overwritten, but for files deep inside of model folders. */
  async #stamp(): Promise<string> {
    const stamps: string[] = []
    for (const folder of Object.values(folderOf)) {
      const path = join(resolve(this.#settings.modelsDir), folder)
      const names = await readdir(path).catch(() => [])
      for (const name of ['', ...names]) {
        const stats = await stat(join(path, name)).catch(() => undefined)
        stamps.push(`${name} ${stats?.ino} ${stats?.size} ${stats?.mtimeMs}`)
      }
    }
    return stamps.join('\n')
  }
}

/** The file of a VAE, embedding or LoRA; undefined when there is none of this name. */
export function addOnFile({ addOns }: Contents, kind: Kind, name: string): string | undefined {
  return addOns.find((entry) => entry.kind === kind && sameName(entry.name, name))?.path
}

export function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}

/** Changes when a file, or one in a model folder, or the defaults beside a file change. Empty for what is not there. */
export async function stampOf(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return ''
  const files = stats.isDirectory()
    ? (await readdir(path, { recursive: true })).sort().map((name) => join(path, name))
    : [path, path.replace(/\.safetensors$/i, '.json')]
  const stamps: string[] = []
  for (const file of files) {
    const { ino, size, mtimeMs } = (await stat(file).catch(() => undefined)) ?? {}
    stamps.push(`${ino} ${size} ${mtimeMs}`)
  }
  return stamps.join(' ')
}
