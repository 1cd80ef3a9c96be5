import type { StatusStore } from './ports.ts'

/**
 * A wish that a running job ends with the pictures that are done: a note in the status store, which its worker looks for. If
 * the note is lost the job runs to its end.
 */

const nameOf = (id: string) => `stop:${id}`

/** Rejects if the status store does not answer. */
export async function askToStop(
  status: Pick<StatusStore, 'note'>,
  id: string,
  seconds: number,
): Promise<void> {
  await status.note(nameOf(id), '1', seconds)
}

export async function isAskedToStop(status: Pick<StatusStore, 'noted'>, id: string): Promise<boolean> {
  return (await status.noted(nameOf(id))) !== undefined
}
