import { createHmac } from 'node:crypto'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { bestEffort, type Log } from '../log.ts'
import type { StatusStore } from '../ports.ts'

/**
 * Notices servers of another installation on the same status store and namespace. Each would take events and webhooks of
 * the other's jobs, and drop them, since it did not issue their ids. Servers leave a mark of their secrets in the status
 * store; two that are in a rotation have one in common.
 */

interface NeighbourDeps {
  readonly status: Pick<StatusStore, 'note' | 'noted'>
  /** The first one signs. */
  readonly secrets: readonly Uint8Array[]
  readonly version: string
  readonly log: Log
  readonly now: () => Date
}

const everyMs = 30_000
const noteName = 'servers'
/** A note that anyone may have written is read, and written again, up to this size. */
const mostNeighbours = 20

const Mark = Type.String({ pattern: '^[0-9a-f]{16}$' })
const Seen = Type.Array(
  Type.Object({
    marks: Type.Array(Mark, { minItems: 1, maxItems: 10 }),
    version: Type.String({ maxLength: 50 }),
    at: Type.Integer(),
  }),
  { maxItems: mostNeighbours },
)

export interface Neighbours {
  /** Looks once; the timer calls it. Never rejects. */
  look(): Promise<void>
  stop(): void
}

export function watchNeighbours({ status, secrets, version, log, now }: NeighbourDeps): Neighbours {
  const marks = secrets.map(markOf)
  const told = new Set<string>()
  const once = (key: string, tell: () => void) => {
    if (told.has(key) || told.size >= mostNeighbours) return
    told.add(key)
    tell()
  }

  async function look(): Promise<void> {
    const at = now().getTime()
    const seen = parse(await status.noted(noteName)).filter((each) => Math.abs(at - each.at) < 3 * everyMs)
    for (const each of seen) {
      if (!each.marks.some((mark) => marks.includes(mark))) {
        once(each.marks.join(), () =>
          log.error(
            { version: each.version },
            'another installation uses the same status store and PACKSHOT_NAMESPACE with another PACKSHOT_SECRET: each drops events and webhooks of the other. Give one of them another PACKSHOT_NAMESPACE; if this is one installation, give all its servers the same secrets',
          ),
        )
      } else if (each.version !== version) {
        once(each.version, () =>
          log.info({ version, other: each.version }, 'servers of another version run beside this one'),
        )
      }
    }
    const isOwn = (each: (typeof seen)[number]) =>
      each.version === version && each.marks.join() === marks.join()
    const others = seen.filter((each) => !isOwn(each)).slice(0, mostNeighbours - 1)
    await status.note(
      noteName,
      JSON.stringify([{ marks, version, at }, ...others]),
      Math.ceil((3 * everyMs) / 1000),
    )
  }

  const lookSafely = async () =>
    void (await bestEffort(log, 'looking for other installations', look(), 'debug'))
  const timer = setInterval(lookSafely, everyMs).unref()
  return { look: lookSafely, stop: () => clearInterval(timer) }
}

/** Tells nothing of the secret. */
function markOf(secret: Uint8Array): string {
  return createHmac('sha256', secret).update('mark of an installation').digest('hex').slice(0, 16)
}

function parse(text: string | undefined): Type.Static<typeof Seen> {
  try {
    const value: unknown = JSON.parse(text ?? '[]')
    return Value.Check(Seen, value) ? value : []
  } catch {
    return []
  }
}
