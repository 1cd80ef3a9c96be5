import type { Seals } from '../seals.ts'

/**
 * The link by which another device gets a workspace: its id and a time, sealed by the installation's secret. Nothing is stored,
 * so that every server opens it, with all stores unavailable too; within its time it opens as often as it is followed. It is
 * no cookie, and a cookie is no link: what is sealed has another shape.
 */

export const workspaceLinkMinutes = 10

export function sealLink(seals: Seals, id: string, now: Date): string {
  return seals.seal(`link ${now.getTime() + workspaceLinkMinutes * 60_000} ${id}`)
}

/** The id of the workspace; undefined for what was not sealed so, or is over. */
export function openLink(seals: Seals, token: string, now: Date): string | undefined {
  const [, until, id] = /^link (\d{1,15}) ([\w-]{22})$/.exec(seals.open(token) ?? '') ?? []
  return Number(until) > now.getTime() ? id : undefined
}
