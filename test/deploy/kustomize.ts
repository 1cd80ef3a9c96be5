import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseAllDocuments } from 'yaml'

/**
 * The part of Kustomize that deploy/kubernetes uses, so that what is built can be checked where there is no kubectl:
 * resources, components, generators (without the hash in names), strategic merge patches by file, namespace, images. Other
 * fields are refused. A test compares the result with kubectl's.
 */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly [field: string]: unknown
}

interface Generator {
  readonly name: string
  readonly behavior?: 'create' | 'merge'
  readonly envs?: readonly string[]
  readonly literals?: readonly string[]
  readonly files?: readonly string[]
  readonly options?: { readonly disableNameSuffixHash?: boolean }
}

interface Image {
  readonly name: string
  readonly newName?: string
  readonly newTag?: string
  readonly digest?: string
}

interface Kustomization {
  readonly apiVersion: string
  readonly kind: 'Kustomization' | 'Component'
  readonly namespace?: string
  readonly resources?: readonly string[]
  readonly components?: readonly string[]
  readonly configMapGenerator?: readonly Generator[]
  readonly secretGenerator?: readonly Generator[]
  readonly patches?: readonly { readonly path: string }[]
  readonly images?: readonly Image[]
}

const fields =
  /^(apiVersion|kind|namespace|resources|components|configMapGenerator|secretGenerator|patches|images)$/
const generatorFields = /^(name|behavior|envs|literals|files|options)$/

/**
 * Builds the folder of a kustomization. Throws for what is not understood, for missing files and for names that are there
 * twice.
 * @param below what a component is applied to
 */
export function kustomize(folder: string, below: readonly Manifest[] = []): Manifest[] {
  const [kustomization] = documents<Kustomization>(join(folder, 'kustomization.yaml'))
  if (kustomization === undefined) throw new Error(`${folder} has an empty kustomization`)
  refuseOthers(kustomization, fields, folder)
  const { resources = [], components = [], patches = [], images = [], namespace } = kustomization
  let objects = [...below]
  for (const path of resources.map((name) => join(folder, name))) {
    objects.push(...(statSync(path).isDirectory() ? kustomize(path) : documents<Manifest>(path)))
  }
  for (const name of components) objects = kustomize(join(folder, name), objects)
  for (const one of kustomization.configMapGenerator ?? [])
    objects = generate(objects, 'ConfigMap', one, folder)
  for (const one of kustomization.secretGenerator ?? []) objects = generate(objects, 'Secret', one, folder)
  for (const { path } of patches) {
    for (const patch of documents<Manifest>(join(folder, path))) objects = patched(objects, patch, path)
  }
  if (namespace !== undefined) objects = objects.map((object) => inNamespace(object, namespace))
  objects = objects.map((object) => withImages(object, images))
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
  const twice = names.find((name, index) => names.indexOf(name) < index)
  if (twice !== undefined) throw new Error(`${folder} has ${twice} twice`)
  return objects
}

function documents<T>(path: string): T[] {
  if (!existsSync(path)) throw new Error(`There is no file ${path}`)
  return parseAllDocuments(readFileSync(path, 'utf8'), { uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`${path}: ${document.errors[0]?.message}`)
    const value: T | null = document.toJS()
    return value === null ? [] : [value]
  })
}

function refuseOthers(value: object, known: RegExp, where: string): void {
  const unknown = Object.keys(value).find((key) => !known.test(key))
  if (unknown !== undefined) throw new Error(`${where} uses "${unknown}", which this builder does not have`)
}

function generate(
  objects: readonly Manifest[],
  kind: string,
  generator: Generator,
  folder: string,
): Manifest[] {
  refuseOthers(generator, generatorFields, folder)
  const { name, behavior = 'create', envs = [], literals = [], files = [] } = generator
  const pairs = [...envs.flatMap((path) => variables(join(folder, path))), ...literals.map(pair)]
  for (const entry of files) {
    const [key, path] = entry.includes('=') ? pair(entry) : [basename(entry), entry]
    pairs.push([key, readFileSync(join(folder, path), 'utf8')])
  }
  const made = Object.fromEntries(
    kind === 'Secret'
      ? pairs.map(([key, value]) => [key, Buffer.from(value).toString('base64')] as const)
      : pairs,
  )
  const type = kind === 'Secret' ? { type: 'Opaque' } : {}
  const earlier = objects.find((object) => object.kind === kind && object.metadata.name === name)
  if ((earlier !== undefined) !== (behavior === 'merge')) {
    throw new Error(
      `${folder}: ${kind} ${name} ${earlier ? 'is there already' : 'is not there to merge with'}`,
    )
  }
  if (earlier === undefined)
    return [...objects, { apiVersion: 'v1', kind, metadata: { name }, ...type, data: made }]
  const data = { ...(earlier.data as Record<string, string>), ...made }
  return objects.map((object) => (object === earlier ? { ...object, data } : object))
}

/** The lines of an env file. */
function variables(path: string): [string, string][] {
  if (!existsSync(path)) throw new Error(`There is no file ${path}`)
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line.trim() !== '' && !line.startsWith('#')).map(pair)
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}

function patched(objects: readonly Manifest[], patch: Manifest, path: string): Manifest[] {
  const isTarget = ({ kind, metadata }: Manifest) =>
    kind === patch.kind && metadata.name === patch.metadata.name
  if (!objects.some(isTarget)) throw new Error(`${path} patches ${patch.kind} ${patch.metadata.name}: none`)
  return objects.map((object) => (isTarget(object) ? (merged(object, patch, '') as Manifest) : object))
}

/** Lists whose entries are merged by a key, as the API's `patchMergeKey` says; all other lists are replaced. */
const mergeKeys: Readonly<Record<string, string>> = {
  containers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  ports: 'containerPort',
}

/** A strategic merge: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md */
function merged(value: unknown, patch: unknown, field: string): unknown {
  const key = mergeKeys[field]
  if (Array.isArray(value) && Array.isArray(patch) && key !== undefined) {
    const changes = new Map(patch.map((entry: Record<string, unknown>) => [entry[key], entry]))
    const kept = value.map((entry: Record<string, unknown>) => {
      const change = changes.get(entry[key])
      changes.delete(entry[key])
      return change === undefined ? entry : merged(entry, change, '')
    })
    return [...changes.values(), ...kept]
  }
  if (!isMap(value) || !isMap(patch)) return patch
  const entries = Object.entries(patch).map(
    ([name, change]) => [name, name in value ? merged(value[name], change, name) : change] as const,
  )
  return Object.fromEntries([...Object.entries(value), ...entries].filter(([name]) => patch[name] !== null))
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function inNamespace(object: Manifest, namespace: string): Manifest {
  const change = object.kind === 'Namespace' ? { name: namespace } : { namespace }
  return { ...object, metadata: { ...object.metadata, ...change } }
}

function withImages(value: Manifest, images: readonly Image[]): Manifest {
  const named = (text: string) => {
    const image = images.find(({ name }) => name === text)
    if (image === undefined) return text
    const { name, newName = name, newTag, digest } = image
    return `${newName}${digest ? `@${digest}` : newTag ? `:${newTag}` : ''}`
  }
  return JSON.parse(JSON.stringify(value), (key, inner: unknown) =>
    key === 'image' && typeof inner === 'string' ? named(inner) : inner,
  )
}
