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
  /** What a form can ask for in words of its own choice: see `controlNames`. */
  readonly controls?: Controls
}

/** Light, where the camera stands, and how many of the product there are. */
const controlNames = ['light', 'view', 'count'] as const

/** Of each control: what people call a choice, and the words for a prompt that the model was trained on. */
type Controls = Readonly<Partial<Record<(typeof controlNames)[number], Readonly<Record<string, string>>>>>

/**
 * @param or decides about a field that is at fault: it is told how to read it, and what to take in its place
 * @throws CheckpointError naming the file and the field at fault, unless `or` does not
 */
export function readAbout(file: ConfigFile, or = <T>(read: () => T, _fallback: T): T => read()): About {
  const description = or(() => file.text('description', { longest: 500 }), undefined)
  const examples = or(() => file.texts('examples', { most: 12, longest: 200 }), undefined)
  const words = or(() => file.texts('words', { most: 2000, longest: 50, words: true }), undefined)
  const subjects = or(() => file.texts('subjects', { most: 200, longest: 100 }), undefined)
  const controls = or(() => readControls(file.part('controls')), undefined)
  return {
    ...(description === undefined ? {} : { description }),
    ...(examples === undefined ? {} : { examples }),
    ...(words === undefined ? {} : { words }),
    ...(subjects === undefined ? {} : { subjects }),
    ...(controls === undefined ? {} : { controls }),
  }
}

function readControls(file: ConfigFile | undefined): Controls | undefined {
  if (file === undefined) return undefined
  const found = controlNames.map((name) => [name, file.namedTexts(name, { most: 6, longest: 60 })] as const)
  return Object.fromEntries(found.filter(([, texts]) => texts !== undefined))
}
