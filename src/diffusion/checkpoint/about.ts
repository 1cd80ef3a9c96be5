import type { ConfigFile } from '../config-file.ts'

/** What a model's own file tells people about it. All fields are optional. */
export interface About {
  /** What the model was trained on and can draw, in a sentence or two. */
  readonly description?: string
  /** Prompts to start with. */
  readonly examples?: readonly string[]
  /** The words that name what it draws, in lower case; absent if no list could hold them all. */
  readonly words?: readonly string[]
  /** What it can draw, in everyday words. */
  readonly subjects?: readonly string[]
}

/** @throws CheckpointError naming the file and the field at fault */
export function readAbout(file: ConfigFile): About {
  const description = file.text('description', { longest: 500 })
  const examples = file.texts('examples', { most: 12, longest: 200 })
  const words = file.texts('words', { most: 2000, longest: 50, words: true })
  const subjects = file.texts('subjects', { most: 200, longest: 100 })
  return {
    ...(description === undefined ? {} : { description }),
    ...(examples === undefined ? {} : { examples }),
    ...(words === undefined ? {} : { words }),
    ...(subjects === undefined ? {} : { subjects }),
  }
}
