import { dirname, join } from 'node:path'
import { ConfigFile, readSmallText } from '../config-file.ts'
import { CheckpointError, messageOfThrown, refused } from '../errors.ts'
import type { NoiseConfig } from '../samplers/noise-levels.ts'

/**
 * The files beside a model that say something about it. Packshot's own is `packshot.json` in a model folder; beside
 * `NAME.safetensors` it is `NAME.json`, which AUTOMATIC1111 and download helpers write too. A statement of theirs is no
 * order: what is not understood there is passed over and remarked on.
 */
export interface Beside {
  /** Packshot's own file; without fields if there is none, or if it is not JSON. */
  readonly own: ConfigFile
  /** Whether `own` may be another program's file. */
  readonly shared: boolean
  /** What AUTOMATIC1111's `NAME.yaml` says. */
  readonly prediction: Statement | undefined
  /** For the operator: what was passed over, in whole sentences. */
  readonly remarks: readonly string[]
}

type Prediction = NoiseConfig['prediction_type']

/** Who says what a model predicts. */
export interface Statement {
  /** For people, without the path: `"v_pred" in the file`. */
  readonly who: string
  readonly prediction: Prediction
}

const ownFields = [
  'width',
  'height',
  'steps',
  'guidance_scale',
  'prediction_type',
  'description',
  'examples',
  'words',
  'subjects',
  'controls',
]

/** @throws CheckpointError for a `packshot.json` that is not JSON, and for a NAME.yaml of an unsupported kind */
export async function besideFolder(path: string): Promise<Beside> {
  const own = await ConfigFile.readIfPresent(join(path, 'packshot.json'))
  return { own, shared: false, prediction: undefined, remarks: unknownFields(own) }
}

/** @param name of the file, without `.safetensors` */
export async function besideFile(path: string, name: string): Promise<Beside> {
  const place = join(dirname(path), `${name}.json`)
  const remarks: string[] = []
  const own = await ConfigFile.readIfPresent(place).catch((thrown: unknown) => {
    if (!(thrown instanceof CheckpointError)) throw thrown
    remarks.push(`${messageOfThrown(thrown)}; it is passed over`)
    return new ConfigFile(place, {})
  })
  remarks.push(...unknownFields(own))
  return { own, shared: true, prediction: await fromYaml(dirname(path), name), remarks }
}

function unknownFields(own: ConfigFile): string[] {
  const unknown = own.names().filter((name) => !ownFields.includes(name))
  if (unknown.length === 0) return []
  const shown = unknown.slice(0, 5).map((name) => JSON.stringify(name.slice(0, 40)))
  const more = unknown.length > shown.length ? ` and ${unknown.length - shown.length} more` : ''
  return [`${own.path}: ${shown.join(', ')}${more} are not Packshot's, and are passed over`]
}

/** LDM's config: `parameterization` is "eps" or "v"; absent, it is "eps". */
async function fromYaml(folder: string, name: string): Promise<Statement | undefined> {
  const path = join(folder, `${name}.yaml`)
  const text = await readSmallText(path, { ifPresent: true })
  const line = /^[^#\n]*?\bparameterization["']?\s*:\s*["']?([\w-]+)/m.exec(text ?? '')
  if (line === null) return undefined
  const [, value = ''] = line
  const prediction = predictionCalled(value)
  if (prediction === undefined) {
    throw refused(
      path,
      `its ${name}.yaml says parameterization "${value.slice(0, 40)}", which is not supported`,
    )
  }
  return { who: `parameterization in ${name}.yaml`, prediction }
}

/** By the names that LDM, diffusers and ModelSpec use; undefined for another. */
export function predictionCalled(name: string): Prediction | undefined {
  const plain = name.toLowerCase().replaceAll(/[\s_-]/g, '')
  if (['eps', 'epsilon', 'noise'].includes(plain)) return 'epsilon'
  return ['v', 'vprediction', 'vpred', 'velocity'].includes(plain) ? 'v_prediction' : undefined
}

/**
 * What a model predicts: Packshot's own file decides; otherwise all that say something must agree.
 * @param fallback if nobody says anything
 * @throws CheckpointError naming two that do not agree, and how to decide
 */
export function decidePrediction(
  path: string,
  { own }: Beside,
  statements: readonly (Statement | undefined)[],
  fallback: Prediction = 'epsilon',
): Prediction {
  const chosen = own.oneOf('prediction_type', ['epsilon', 'v_prediction', 'absent'], 'absent')
  if (chosen !== 'absent') return chosen
  const said = statements.filter((each) => each !== undefined)
  const [first] = said
  const other = said.find(({ prediction }) => prediction !== first?.prediction)
  if (first === undefined) return fallback
  if (other === undefined) return first.prediction
  throw refused(
    path,
    `${first.who} says that it predicts ${first.prediction}, but ${other.who} says ${other.prediction}; ` +
      `decide it with "prediction_type" in ${own.path.split(/[/\\]/).at(-1)}`,
  )
}
