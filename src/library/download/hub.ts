import { foreignName } from '../../diffusion/safetensors/foreign-file.ts'
import { DownloadError, shown } from './addresses.ts'
import { request } from './request.ts'

/** Model repositories of Hugging Face and of servers with the same API: https://huggingface.co/docs/hub/api */

export interface HubFile {
  /** Within the repository. */
  readonly path: string
  readonly url: string
  readonly size: number
  /** Known for files in large file storage, as weights are. */
  readonly sha256?: string
}

export interface HubId {
  readonly owner: string
  readonly name: string
  /** Absent: the whole model, in diffusers layout. */
  readonly file?: string
}

export interface HubOptions {
  /** Such as `https://huggingface.co`. */
  readonly endpoint: string
  readonly token?: string | undefined
}

const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,95}'
const idPattern = new RegExp(`^(${part})/(${part})(?:[:/](.+\\.(?:safetensors|onnx)))?$`)

/** `owner/name`, `owner/name/file.safetensors` or `owner/name:file.safetensors`; undefined for anything else. */
export function parseHubId(text: string): HubId | undefined {
  const match = idPattern.exec(text)
  if (match === null || text.split(/[:/]/).some((each) => each === '..' || each === '.')) return undefined
  const [, owner, name, file] = match as unknown as [string, string, string, string | undefined]
  // with two parts it is the path of a file that does not exist
  if (file === undefined && name.endsWith('.safetensors')) return undefined
  return { owner, name, ...(file !== undefined && { file }) }
}

/** @throws DownloadError when the repository cannot be read */
export async function listHub({ owner, name }: HubId, options: HubOptions): Promise<HubFile[]> {
  if (!URL.canParse(options.endpoint)) {
    throw new DownloadError(`HF_ENDPOINT must be a URL, but was ${JSON.stringify(options.endpoint)}`)
  }
  const base = options.endpoint.replace(/\/+$/, '')
  let next: URL | undefined = new URL(`${base}/api/models/${owner}/${name}/tree/main?recursive=1`)
  const files: HubFile[] = []
  // a page has a thousand entries, far more than a model
  for (let page = 0; next !== undefined && page < 20; page += 1) {
    const response = await ask(next, options)
    const entries = await readEntries(response, next)
    for (const entry of entries) {
      const url = `${base}/${owner}/${name}/resolve/main/${entry.path.split('/').map(encodeURIComponent).join('/')}`
      files.push({ ...entry, url })
    }
    const link: string | undefined = /<([^>]+)>\s*;\s*rel="next"/.exec(
      response.headers.get('link') ?? '',
    )?.[1]
    next =
      link !== undefined && URL.canParse(link, next.href) ? sameOrigin(new URL(link, next), next) : undefined
  }
  return files
}

/** The next page gets the token too, so it must be on the same server. */
function sameOrigin(url: URL, before: URL): URL | undefined {
  return url.origin === before.origin ? url : undefined
}

async function ask(url: URL, { token }: HubOptions): Promise<Response> {
  const options = { token, hasHash: false, signal: AbortSignal.timeout(60_000) }
  const response = await request(url, options).catch((cause: unknown) => {
    if (cause instanceof DownloadError) throw cause
    throw new DownloadError(`${shown(url)}: the server cannot be reached`, { cause })
  })
  if (response.ok) return response
  const hint =
    response.status === 401 || response.status === 403 || response.status === 404
      ? 'there is no such model, or it requires a login: set HF_TOKEN, and accept its terms on the site'
      : 'the server sent an unexpected status'
  throw new DownloadError(`${shown(url)}: ${hint} (${response.status})`)
}

/** A page has at most a thousand entries of some hundred bytes. */
const mostBytes = 5_000_000

async function boundedText(response: Response, url: URL): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      bytes += chunk.length
      if (bytes > mostBytes) {
        throw new DownloadError(`${shown(url)}: the response has more than ${mostBytes} bytes`)
      }
      chunks.push(chunk)
    }
  } catch (thrown) {
    if (thrown instanceof DownloadError) throw thrown
    throw new DownloadError(`${shown(url)}: the connection broke`, { cause: thrown })
  }
  return Buffer.concat(chunks).toString('utf8')
}

type Entry = Omit<HubFile, 'url'>

async function readEntries(response: Response, url: URL): Promise<Entry[]> {
  const text = await boundedText(response, url)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new DownloadError(`${shown(url)}: the response is not JSON`, { cause })
  }
  if (!Array.isArray(value)) throw new DownloadError(`${shown(url)}: the response is not a list of files`)
  return value.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return []
    const { type, path, size, lfs } = entry as Record<string, unknown>
    if (type !== 'file' || typeof path !== 'string' || typeof size !== 'number') return []
    // no honest server sends a path that leaves the folder
    if (path.split('/').some((each) => each === '' || each.startsWith('.')) || path.includes('\\')) return []
    const oid = typeof lfs === 'object' && lfs !== null && 'oid' in lfs ? lfs.oid : undefined
    const known = typeof oid === 'string' && /^[0-9a-f]{64}$/.test(oid)
    return [{ path, size, ...(known && { sha256: oid }) }]
  })
}

/** Which of two files of the same weights to fetch. */
export type WeightsPrecision = 'fp16' | 'fp32'

const weightStems = [
  'text_encoder/model',
  'unet/diffusion_pytorch_model',
  'vae/diffusion_pytorch_model',
] as const

/**
 * The files that the engine reads of a repository in diffusers layout: configs, tokenizer, and for each part the weights
 * in the wanted precision, or in the other one if that is missing.
 * @throws DownloadError naming the file that is missing
 */
export function chooseFiles(files: readonly HubFile[], precision: WeightsPrecision, id: string): HubFile[] {
  const find = (path: string) => files.find((file) => file.path === path)
  const index = find('model_index.json')
  if (index === undefined) {
    const single = files.map(({ path }) => path).filter((path) => path.endsWith('.safetensors'))
    const hint =
      single.length === 0
        ? `it has no .safetensors files either${foreignHint(files)}`
        : `name one of its files, such as ${id}:${single[0]} (it has ${single.slice(0, 10).join(', ')})`
    throw new DownloadError(
      `${id}: there is no model_index.json, so it is not a model in diffusers layout; ${hint}`,
    )
  }
  const weights = weightStems.map((stem) => {
    const full = find(`${stem}.safetensors`)
    const half = find(`${stem}.fp16.safetensors`)
    const chosen = precision === 'fp16' ? (half ?? full) : (full ?? half)
    if (chosen === undefined) {
      const folder = stem.slice(0, stem.indexOf('/') + 1)
      const others = files.filter(({ path }) => path.startsWith(folder))
      throw new DownloadError(`${id}: ${stem}.safetensors is missing${foreignHint(others)}`)
    }
    return chosen
  })
  const configs = files.filter(({ path }) => isConfig(path))
  return [index, ...configs, ...weights]
}

/** The first file of a format that is refused, and why. */
function foreignHint(files: readonly HubFile[]): string {
  const found = files.find(({ path }) => foreignName(path) !== undefined)
  return found === undefined ? '' : `; ${found.path}: ${foreignName(found.path)}`
}

/** The small files that the engine reads, beside model_index.json and the weights. */
export function isConfig(path: string): boolean {
  return (
    path === 'packshot.json' ||
    path === 'scheduler/scheduler_config.json' ||
    /^(text_encoder|unet|vae)\/config\.json$/.test(path) ||
    /^tokenizer\/(vocab\.json|merges\.txt|tokenizer\.json|tokenizer_config\.json|added_tokens\.json|special_tokens_map\.json)$/.test(
      path,
    )
  )
}
