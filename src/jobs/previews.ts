import type { StatusStore } from './ports.ts'

/**
 * Previews: small looks at the first picture of a job while it is made. They are kept in the status store for a while,
 * best effort, so that any server can show the newest one; a final job has none.
 */
export interface Preview {
  /** Counts from 1. */
  readonly index: number
  readonly bytes: Uint8Array
  /** Its media type. */
  readonly type: string
}

export const previewType = 'image/jpeg'
/** Longer than the pause between two previews of most jobs. */
const keptSeconds = 900
/** A JPEG of 256x256 pixels has about 20 KB. */
const mostBytes = 256 * 1024

export async function keepPreview(
  status: StatusStore,
  id: string,
  { index, bytes }: Pick<Preview, 'index' | 'bytes'>,
): Promise<void> {
  if (bytes.byteLength > mostBytes) return
  await status.note(nameOf(id), `${index} ${Buffer.from(bytes).toString('base64')}`, keptSeconds)
  await status.advance(id, { status: 'running', preview: index })
}

/** The newest one that is kept. */
export async function keptPreview(status: StatusStore, id: string): Promise<Preview | undefined> {
  const text = (await status.noted(nameOf(id))) ?? ''
  const [, index, data] = /^(\d{1,3}) ([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? []
  if (index === undefined || data === undefined) return undefined
  return { index: Number(index), bytes: Buffer.from(data, 'base64'), type: previewType }
}

/** Nothing is left of the job's previews after this. */
export async function dropPreview(status: StatusStore, id: string): Promise<void> {
  await status.note(nameOf(id), '', 1)
}

function nameOf(id: string): string {
  return `preview:${id}`
}
