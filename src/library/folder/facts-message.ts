import type { CheckpointFacts } from '../../diffusion/checkpoint/facts.ts'
import { CheckpointError } from '../../diffusion/errors.ts'

/** What a thread that reads files says of one: errors lose their class on the way between threads. */

interface SentFault {
  readonly message: string
  /** Undefined for anything but a CheckpointError. */
  readonly reason: string | undefined
  readonly subject: string | undefined
  readonly stack: string | undefined
}

type Sent<T> = { readonly value: T } | { readonly fault: SentFault }

/** The facts that were read from a file, or why it could not be. */
export type FactsMessage = Sent<
  Omit<CheckpointFacts, 'model' | 'addOn'> & {
    readonly model: Sent<Exclude<CheckpointFacts['model'], Error>>
    readonly addOn: Sent<Exclude<CheckpointFacts['addOn'], Error>>
  }
>

export function sentFacts(facts: CheckpointFacts): FactsMessage {
  return { value: { ...facts, model: sent(facts.model), addOn: sent(facts.addOn) } }
}

export function sentFault(thrown: unknown): { readonly fault: SentFault } {
  const { message, stack } = thrown instanceof Error ? thrown : new Error(String(thrown))
  const { reason, subject } = thrown instanceof CheckpointError ? thrown : {}
  return { fault: { message, reason, subject, stack } }
}

/** Throws what was thrown while the file was read. */
export function receivedFacts(message: FactsMessage): CheckpointFacts {
  if ('fault' in message) throw received(message.fault)
  const { model, addOn, ...others } = message.value
  return { ...others, model: valueOrFault(model), addOn: valueOrFault(addOn) }
}

function sent<T>(value: T | CheckpointError): Sent<T> {
  return value instanceof CheckpointError ? sentFault(value) : { value }
}

function valueOrFault<T>(part: Sent<T>): T | CheckpointError {
  if ('value' in part) return part.value
  const error = received(part.fault)
  if (error instanceof CheckpointError) return error
  throw error
}

function received({ message, reason, subject, stack }: SentFault): Error {
  const error =
    reason === undefined
      ? new Error(message)
      : new CheckpointError(message, { reason, ...(subject !== undefined && { subject }) })
  if (stack !== undefined) error.stack = stack
  return error
}
