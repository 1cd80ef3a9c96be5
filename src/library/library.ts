import { basename, isAbsolute, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config.ts'
import type { CheckpointFacts, ModelDescription } from '../diffusion/checkpoint/facts.ts'
import type { Kind } from '../diffusion/checkpoint/kinds.ts'
import { unusable } from '../diffusion/checkpoint/usable.ts'
import { CheckpointError, refused } from '../diffusion/errors.ts'
import { AppError } from '../jobs/errors.ts'
import { findNamed, type ModelInfo, sameName } from '../jobs/offer.ts'
import { fileFault } from './file-fault.ts'
import { entryStamp, FactsCache } from './folder/facts-cache.ts'
import { type Entry, listModels, vaesFor } from './folder/list.ts'
import { walk } from './folder/walk.ts'

/** Of the text states of Stable Diffusion 1.x, for which LoRAs are published. */
const publishedWidth = 768

const builtInName = 'packshot-mini'
const builtIn = fileURLToPath(new URL(`../../models/${builtInName}`, import.meta.url))

/** A model that pictures can be made with. */
export interface LibraryModel extends ModelInfo {
  readonly path: string
  /** How many numbers its weights have. */
  readonly parameters: number
  readonly described: ModelDescription
}

/** The models and add-ons that an installation has on disk, by name. */
export interface Contents {
  /** The default first, if it can be used. */
  readonly models: readonly LibraryModel[]
  /** Why the default model cannot be used; undefined if it can. */
  readonly defaultFault: AppError | undefined
  /** Only those that can be used, with models that they fit. */
  readonly addOns: readonly Entry[]
  /** All that cannot be used. */
  readonly unusable: readonly Entry[]
  /** For the operator: a sentence for each file that cannot be used. */
  readonly problems: readonly string[]
  /** For the operator: what was passed over, or not searched. */
  readonly remarks: readonly string[]
}

type Settings = Pick<Config, 'model' | 'modelsDir'>

/**
 * The models folder of a configuration, with the default model and the built-in one. Reading it again is cheap while
 * nothing changes: each file is read once per change.
 */
export class Library {
  readonly #settings: Settings
  readonly #facts: FactsCache
  #last: { stamp: string; contents: Contents } | undefined

  /** @param read how a file is read, if not here; throws like `readFacts` */
  constructor(settings: Settings, read?: (path: string) => Promise<CheckpointFacts>) {
    this.#settings = settings
    this.#facts = new FactsCache(read)
  }

  /** The current contents. Rejects `model_invalid` if the default model cannot be used. */
  async read(): Promise<Contents> {
    const contents = await this.readAll()
    if (contents.defaultFault !== undefined) throw contents.defaultFault
    return contents
  }

  /** The current contents, even if the default model cannot be used. */
  async readAll(): Promise<Contents> {
    const stamp = await this.#stamp()
    if (this.#last?.stamp === stamp) return this.#last.contents
    const contents = await this.#list()
    this.#last = { stamp, contents }
    return contents
  }

  async #list(): Promise<Contents> {
    const { entries, remarks } = await listModels(this.#settings.modelsDir, this.#facts)
    const problems = entries.flatMap(({ kind, name, problem }) =>
      problem === undefined ? [] : [`The ${kind} ${name} cannot be used: ${problem.detail}`],
    )
    const notes = [...remarks, ...entries.flatMap((entry) => entry.remarks)]
    const usable = entries.filter((entry) => entry.problem === undefined)
    const bad = entries.filter((entry) => entry.problem !== undefined)
    const { model: chosen, fault: defaultFault } = await this.#default(entries)
    const models = chosen === undefined ? [] : [chosen]
    const more = usable.filter((entry) => entry.kind === 'model')
    for (const { name, path } of [...more, { name: builtInName, path: builtIn }]) {
      if (findNamed(models, name) !== undefined) continue
      try {
        models.push(await this.#open(name, path, entries))
      } catch (thrown) {
        if (!(thrown instanceof CheckpointError)) throw thrown
        problems.push(`The model ${name} cannot be used: ${thrown.message}`)
      }
    }
    const addOns = usable.filter((entry) => entry.kind !== 'model')
    return { models, defaultFault, addOns, unusable: bad, problems, remarks: notes }
  }

  async #default(entries: readonly Entry[]): Promise<{ model?: LibraryModel; fault?: AppError }> {
    const wanted = this.#settings.model
    try {
      const { name, path } = this.#find(wanted, entries)
      return { model: await this.#open(name, path, entries) }
    } catch (thrown) {
      if (thrown instanceof AppError) return { fault: thrown }
      if (!(thrown instanceof CheckpointError)) throw thrown
      const { name } = this.#find(wanted, entries)
      return { fault: fileFault(thrown, `The model ${name}`) }
    }
  }

  /** A name is looked up in the folder; anything with a slash is a path. */
  #find(wanted: string, entries: readonly Entry[]): { name: string; path: string } {
    if (isAbsolute(wanted) || /[/\\]/.test(wanted)) {
      return { name: basename(resolve(wanted)).replace(/\.safetensors$/i, ''), path: resolve(wanted) }
    }
    const models = entries.filter(({ kind }) => kind === 'model')
    const usable = models.filter(({ problem }) => problem === undefined)
    const entry = findNamed(usable, wanted) ?? findNamed(models, wanted)
    if (entry !== undefined) return { name: entry.name, path: entry.path }
    if (sameName(wanted, builtInName)) return { name: builtInName, path: builtIn }
    const known = [...models.map(({ name }) => name), builtInName].join(', ')
    const detail = `There is no model ${wanted} in ${resolve(this.#settings.modelsDir)}; known models are ${known}. Set PACKSHOT_MODEL to one of them, or to a path.`
    throw new AppError('model_invalid', `There is no model ${wanted}.`, { param: 'PACKSHOT_MODEL', detail })
  }

  /** @throws CheckpointError naming the file, and why it cannot be used as a model */
  async #open(name: string, path: string, entries: readonly Entry[]): Promise<LibraryModel> {
    const facts = await this.#facts.get(path)
    const { model, parameters } = facts
    const fault = unusable(path, facts, 'model')
    if (fault !== undefined || model instanceof CheckpointError) throw fault ?? model
    const vaes = model.needsVae ? vaesFor({ name, facts }, entries) : []
    if (model.needsVae && vaes.length === 0) {
      throw refused(path, 'this is a model without a VAE, and vae/ in the models folder has none that fits')
    }
    const { words, ...about } = model.about
    return {
      name,
      path,
      parameters,
      described: model,
      ...(model.needsVae && { needs_vae: true, ...defaultVae(name, vaes) }),
      family: model.family,
      inpainting: model.inpainting,
      width: model.width,
      height: model.height,
      steps: model.steps,
      guidance_scale: model.guidanceScale,
      size_multiple: model.sizeMultiple,
      clip_layers: model.clipLayers,
      image_to_image: model.imageToImage,
      ...(model.sizes.contextWidth !== publishedWidth && { own_widths: true as const }),
      ...about,
      ...(words === undefined ? {} : { words: new Set(words.map((word) => word.normalize('NFC'))) }),
    }
  }

  /** Changes when something that can be an entry, or a file of a model, is added, removed, renamed or overwritten. */
  async #stamp(): Promise<string> {
    const { found, remarks } = await walk(this.#settings.modelsDir)
    const stamps: string[] = [...remarks]
    for (const { path } of found) stamps.push(`${path} ${await entryStamp(path)}`)
    return stamps.join('\n')
  }
}

/** One VAE is no choice, and one that has the model's name was meant for it; among others somebody has to choose. */
function defaultVae(model: string, [first, ...others]: readonly Entry[]): { default_vae?: string } {
  const own = first !== undefined && (sameName(first.name, model) || sameName(first.name, `${model}.vae`))
  return first !== undefined && (own || others.length === 0) ? { default_vae: first.name } : {}
}

/** The file of a VAE, embedding or LoRA; undefined if there is none of this name. */
export function addOnFile({ addOns }: Contents, kind: Kind, name: string): string | undefined {
  return findNamed(
    addOns.filter((entry) => entry.kind === kind),
    name,
  )?.path
}
