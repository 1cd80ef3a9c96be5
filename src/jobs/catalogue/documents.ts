import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { type Static, type TSchema, Type } from 'typebox'
import { AppError } from '../errors.ts'
import { JobError, ResolvedRequest, Webhook } from '../job.ts'
import type { JobIds } from '../job-id.ts'
import type { ImageStore } from '../ports.ts'
import { fromJson } from '../stored-json.ts'

/**
 * A catalogue run: a list of products, each of which is to get pictures.
 *
 * - item: one picture of the run; row r (from 0) and variant v are item r * variants + v. It is made by one job. Of a run with
 *   sets the variants of a row are those of its first set, then those of the next.
 * - round: 0 at first, one more with each retry. Job and seed of an item are derived from the run, the item and (the job
 *   alone) the round: feeding an item twice is feeding one job twice.
 * - definition: what was requested. Written last when a run is accepted, and never changed: a run exists when it exists.
 * - control: what the caller wants of it. Written by calls of the API alone.
 * - results: what became of the items, in parts. A cache of what the manifests of the jobs say.
 * - summary: results in numbers, and which items have a job that is not final. Written by the one server that feeds the
 *   run; two at once for a moment only make the same jobs twice, and what the later one wrote counts.
 *
 * The id of a run has the time at which it expires, less the time for which ordinary results are kept; the ids of its jobs
 * have the same time. So all rules about the age of an id keep the pictures of a run for as long as the run.
 */

export const itemsPerPart = 500

export const Definition = Type.Object({
  v: Type.Literal(1),
  id: Type.String(),
  /** The caller's name, and under what its use is counted. */
  caller: Type.String(),
  account: Type.String(),
  /** A hash of the request, for one with an idempotency key. */
  sent: Type.Optional(Type.String()),
  rows: Type.Integer(),
  /** Of each row, those of all sets. */
  variants: Type.Integer(),
  /** Their names. */
  sets: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
  items: Type.Integer(),
  /** Work of all items together, in units. */
  units: Type.Number(),
  webhook: Type.Optional(Webhook),
  created_at: Type.String(),
  expires_at: Type.String(),
  deleted_at: Type.Optional(Type.String()),
})
export type Definition = Static<typeof Definition>

const Control = Type.Object({
  v: Type.Literal(1),
  wanted: Type.Enum(['run', 'pause', 'cancel', 'delete']),
  round: Type.Integer(),
})
export type Control = Static<typeof Control>

/** An item as it was decided when the run was accepted. */
const Item = Type.Object({ name: Type.String(), request: ResolvedRequest })
export type Item = Static<typeof Item>
const Items = Type.Array(Item)

/** What became of an item in a round: its last one. */
const Result = Type.Object({
  round: Type.Integer(),
  status: Type.Enum(['succeeded', 'failed', 'canceled']),
  sha256: Type.Optional(Type.String()),
  bytes: Type.Optional(Type.Integer()),
  error: Type.Optional(JobError),
})
export type Result = Static<typeof Result>
const Results = Type.Array(Type.Union([Result, Type.Null()]))

const Failure = Type.Object({ item: Type.Integer(), name: Type.String(), error: JobError })
export type Failure = Static<typeof Failure>

const Summary = Type.Object({
  v: Type.Literal(1),
  round: Type.Integer(),
  succeeded: Type.Integer(),
  failed: Type.Integer(),
  canceled: Type.Integer(),
  /** Items whose jobs are not known to be final. */
  flying: Type.Array(Type.Integer()),
  /** The first that failed in this round. */
  failures: Type.Array(Failure),
  /** Why no more jobs are submitted for now. */
  held_up: Type.Optional(JobError),
  finished_at: Type.Optional(Type.String()),
})
export type Summary = Static<typeof Summary>

const emptySummary: Summary = {
  v: 1,
  round: 0,
  succeeded: 0,
  failed: 0,
  canceled: 0,
  flying: [],
  failures: [],
}

const firstControl: Control = { v: 1, wanted: 'run', round: 0 }

export function partOf(item: number): number {
  return Math.floor(item / itemsPerPart)
}

export function partsOf({ items }: Definition): number {
  return Math.ceil(items / itemsPerPart)
}

/** The rows and variants of an item as people count them. */
export function placeOf(item: number, { variants, sets }: Pick<Definition, 'variants' | 'sets'>) {
  const each = variants / (sets?.length ?? 1)
  const ofRow = item % variants
  const set = sets?.[Math.floor(ofRow / each)]
  return {
    row: Math.floor(item / variants) + 1,
    ...(set === undefined ? {} : { set }),
    variant: (ofRow % each) + 1,
  }
}

/** The id of the job that makes an item in a round. */
export function jobOf(
  ids: JobIds,
  { id, caller }: Pick<Definition, 'id' | 'caller'>,
  item: number,
  round: number,
) {
  return ids.fromName(`catalogue:${id}:${item}:${round}`, ids.issuedAt(id), caller)
}

/** Whether the result stands: a retry makes again what did not succeed. */
export function stands(result: Result | null | undefined, round: number): result is Result {
  return result != null && (result.status === 'succeeded' || result.round >= round)
}

const [zip, unzip] = [promisify(gzip), promisify(gunzip)]
const number = (part: number) => String(part).padStart(4, '0')
const itemsName = (part: number) => `items-${number(part)}.json.gz`
const resultsName = (part: number) => `results-${number(part)}.json`

/** All documents of a run but its definition. */
export function namesOf(definition: Definition): string[] {
  const parts = Array.from({ length: partsOf(definition) }, (_, part) => part)
  return [...parts.map(itemsName), ...parts.map(resultsName), 'summary.json', 'control.json']
}

export async function packItems(items: readonly Item[]): Promise<Uint8Array> {
  return zip(JSON.stringify(items))
}

/** Reads and writes the documents of runs. What is damaged rejects `unavailable`. */
export function runDocuments(images: Pick<ImageStore, 'putRunFile' | 'getRunFile'>) {
  const read = async <S extends TSchema>(
    id: string,
    name: string,
    schema: S,
  ): Promise<Static<S> | undefined> => {
    const bytes = await images.getRunFile(id, name)
    if (bytes === undefined) return undefined
    try {
      const text = name.endsWith('.gz') ? await unzip(bytes) : Buffer.from(bytes)
      return fromJson(schema, text.toString())
    } catch (cause) {
      throw new AppError('unavailable', 'A stored document of this catalogue run is damaged.', {
        detail: `The document ${name} of the catalogue run ${id} is damaged.`,
        cause,
      })
    }
  }
  const write = (id: string, name: string, value: unknown) =>
    images.putRunFile(id, name, Buffer.from(JSON.stringify(value)))
  return {
    definition: (id: string) => read(id, 'definition.json', Definition),
    putDefinition: (definition: Definition) => write(definition.id, 'definition.json', definition),
    control: async (id: string) => (await read(id, 'control.json', Control)) ?? firstControl,
    putControl: (id: string, control: Control) => write(id, 'control.json', control),
    summary: async (id: string) => (await read(id, 'summary.json', Summary)) ?? emptySummary,
    putSummary: (id: string, summary: Summary) => write(id, 'summary.json', summary),
    async items(id: string, part: number): Promise<Item[]> {
      const items = await read(id, itemsName(part), Items)
      if (items !== undefined) return items
      throw new AppError('unavailable', 'A stored document of this catalogue run is missing.', {
        detail: `The document ${itemsName(part)} of the catalogue run ${id} is missing.`,
      })
    },
    putItems: (id: string, part: number, packed: Uint8Array) =>
      images.putRunFile(id, itemsName(part), packed),
    results: async (id: string, part: number) => (await read(id, resultsName(part), Results)) ?? [],
    putResults: (id: string, part: number, results: readonly (Result | null)[]) =>
      write(id, resultsName(part), results),
  }
}
export type RunDocuments = ReturnType<typeof runDocuments>
