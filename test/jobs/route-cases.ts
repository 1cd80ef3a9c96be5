import type { InjectOptions } from 'fastify'
import type { Scope } from '../../src/jobs/caller.ts'

/** What the test of isolation asks of each route. */

export interface Things {
  readonly job: string
  readonly link: string
  readonly upload: string
  readonly asset: string
  /** Addresses that need no key: the events of the job, and one to upload to. */
  readonly stream: string
  readonly uploadAddress: string
}

export interface Case {
  /** `open`: needs no key. `any`: every caller has it. `own`: it is about something of one caller. */
  readonly for: 'open' | 'any' | 'own'
  readonly scope?: Scope
  /** Its owner is refused too, for a reason of its own. */
  readonly refused?: boolean
  readonly request: (things: Things) => InjectOptions
}
