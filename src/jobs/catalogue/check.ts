import { AppError, type Fault } from '../errors.ts'
import { imageFiles } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import type { Offer } from '../offer.ts'
import { enlargingUnits } from '../request/larger.ts'
import { promptCost } from '../request/prompt-cost.ts'
import { resolveRequest } from '../request/resolve.ts'
import { callsPerStepOf, type SubmitDeps } from '../serving/submit.ts'
import { uploadFaults } from '../serving/upload.ts'
import { describeValue } from '../wording.ts'
import { workUnits } from '../work.ts'
import { breather } from './breather.ts'
import { type Item, itemsPerPart, packItems } from './documents.ts'
import { type FaultList, faultList } from './fault-list.ts'
import { nameFault, nameKey, shownName } from './file-names.ts'
import { type List, listFault, readList } from './list.ts'
import { type SentSet, setsOf } from './sets.ts'
import { compileTemplate, compileText, type TemplateOptions } from './template.ts'

/** Checks a catalogue run as a whole: every row like a request of its own, before anything is stored. */

export const mostVariants = 8
const longestName = 500

interface CatalogueLimits {
  readonly rows: number
  /** Of a run: its rows times its sets times its variants. */
  readonly pictures: number
  /** Of the body. */
  readonly bytes: number
  /** Unfinished runs of one caller. */
  readonly runs: number
}

export interface CheckedRun {
  readonly rows: number
  /** Of each row, those of all sets. */
  readonly variants: number
  readonly sets?: string[]
  readonly items: number
  readonly units: number
  /** The items, as they are stored. */
  readonly parts: readonly Uint8Array[]
}

export interface CheckDeps
  extends Pick<SubmitDeps, 'ids' | 'images' | 'offer' | 'prompts' | 'limits' | 'now' | 'ttlSeconds'> {
  readonly catalogueLimits: CatalogueLimits
}

const known = ['csv', 'rows', 'jsonl', 'template', 'sets', 'variants', 'name', 'webhook']

/**
 * Throws `invalid_request` with the faults of the request or, for a list that can be read, one for each row and field.
 * @param id the run's id: seeds are derived from it @param owner the name of its caller
 */
export async function checkRun(
  deps: CheckDeps,
  body: unknown,
  id: string,
  owner: string,
): Promise<CheckedRun> {
  const { catalogueLimits } = deps
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    const message = `The body must be a JSON object such as {"csv": "prompt\\na red apple"}, but was ${describeValue(body)}.`
    throw listFault('body', message)
  }
  const sent = body as Readonly<Record<string, unknown>>
  const variants = variantsOf(sent.variants)
  for (const name of Object.keys(sent)) {
    if (!known.includes(name))
      throw listFault(
        describeValue(name),
        `There is no field ${describeValue(name)}. The fields are ${known.join(', ')}.`,
      )
  }
  const faults = faultList()
  const list = await readList(sent, catalogueLimits.rows, faults)
  if (list.rows.length === 0) throw listFault('csv', 'The list has no rows.')
  const sets = setsOf(sent.sets)
  const ofRow = variants * (sets?.length ?? 1)
  const items = list.rows.length * ofRow
  if (items > catalogueLimits.pictures) {
    const also = sets === undefined ? '' : `${sets.length} sets, `
    const message = `The run would make ${items} pictures (${list.rows.length} rows, ${also}${variants} variants), but may make ${catalogueLimits.pictures}.`
    throw listFault('variants', message)
  }
  const each = { variants, severalSets: (sets?.length ?? 0) > 1, faults: notedOnce(faults) }
  const fillers = (sets ?? [undefined]).map((set) => fillerOf(deps, sent, list, { ...each, set }))
  faults.check()
  const checked = await checkRows(deps, fillers, list, { id, owner, variants, faults })
  const names = sets === undefined ? {} : { sets: sets.map(({ name }) => name) }
  return { rows: list.rows.length, variants: ofRow, ...names, items, ...checked }
}

function fillerOf(
  { limits }: CheckDeps,
  sent: Readonly<Record<string, unknown>>,
  { columns, rows }: List,
  { variants, set, severalSets, faults }: FillerOptions,
): RowFiller {
  const options: TemplateOptions = {
    columns,
    note: (fault) => faults.note(fault),
    rowDigits: String(rows.length).length,
    ...(set === undefined ? {} : { set: set.name }),
  }
  const given = templateOf(sent.template, columns, faults, set)
  const template = compileTemplate(given, limits, options)
  return { template, ...nameOf(sent.name, columns, options, { variants, severalSets }) }
}

function nameOf(
  sent: unknown,
  columns: readonly string[],
  options: TemplateOptions,
  { variants, severalSets }: Pick<FillerOptions, 'variants' | 'severalSets'>,
): Pick<RowFiller, 'nameOf'> {
  const given = sent === undefined ? '{row}' : sent
  if (typeof given !== 'string' || given === '' || given.length > longestName) {
    const message = `name must be text of 1 to ${longestName} characters, but was ${describeValue(given)}.`
    throw listFault('name', message)
  }
  const { fill, uses } = compileText('name', given, { ...options, seeded: true })
  const says = (place: string) => uses.has(place) && !columns.includes(place)
  // without a set or number of its own, what is made of a row would have one name
  const set = !severalSets || says('set') ? '' : `-${options.set}`
  const isNumbered = variants === 1 || says('variant') || says('seed')
  return {
    nameOf: (cells, row, variant, seed) =>
      `${fill(cells, row, variant, seed)}${set}${isNumbered ? '' : `-${variant}`}`,
  }
}

/** Sets share most of their fields: a fault of all of them is one. */
function notedOnce(faults: Pick<FaultList, 'note'>): Pick<FaultList, 'note'> {
  const known = new Set<string>()
  return {
    note(fault) {
      const key = `${fault.param} ${fault.message}`
      if (!known.has(key)) faults.note(fault)
      known.add(key)
    },
  }
}

interface FillerOptions {
  readonly variants: number
  readonly set: SentSet | undefined
  readonly severalSets: boolean
  readonly faults: Pick<FaultList, 'note'>
}

function variantsOf(value: unknown): number {
  if (value === undefined) return 1
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= mostVariants) return Number(value)
  const message = `variants must be a whole number from 1 to ${mostVariants}, but was ${describeValue(value)}.`
  throw listFault('variants', message)
}

function templateOf(
  value: unknown,
  columns: readonly string[],
  faults: Pick<FaultList, 'note'>,
  set: SentSet | undefined,
): Readonly<Record<string, unknown>> {
  if (value === undefined) {
    if (set?.template.prompt !== undefined) return onlyAllowed(set.template, faults)
    if (!columns.includes('prompt')) {
      faults.note({ param: 'template', message: 'Without a template the list must have a column prompt.' })
    }
    return onlyAllowed({ prompt: '{prompt}', ...set?.template }, faults)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const message = `template must be an object such as {"prompt": "{title}, white background"}, but was ${describeValue(value)}.`
    throw listFault('template', message)
  }
  return onlyAllowed({ ...(value as Readonly<Record<string, unknown>>), ...set?.template }, faults)
}

/** Notes fields that no template has. */
function onlyAllowed(
  template: Readonly<Record<string, unknown>>,
  faults: Pick<FaultList, 'note'>,
): Readonly<Record<string, unknown>> {
  if (template.count !== undefined) {
    faults.note({
      param: 'count',
      message: 'A template has no count: variants says how many pictures a row gets.',
    })
  }
  for (const name of ['webhook', 'previews']) {
    if (template[name] === undefined) continue
    faults.note({ param: name, message: `A template has no ${name}: that is for single jobs.` })
  }
  if (template.priority !== undefined && template.priority !== 'batch') {
    const message = `priority must be batch in a catalogue run, but was ${describeValue(template.priority)}.`
    faults.note({ param: 'priority', message })
  }
  return template
}

interface RowsOptions {
  readonly id: string
  readonly owner: string
  readonly variants: number
  readonly faults: FaultList
}

interface RowFiller {
  readonly template: ReturnType<typeof compileTemplate>
  /** The file name of an item. */
  readonly nameOf: (cells: readonly string[], row: number, variant: number, seed: number) => string
}

async function checkRows(
  deps: CheckDeps,
  fillers: readonly RowFiller[],
  { rows }: List,
  { id, owner, variants, faults }: RowsOptions,
): Promise<{ units: number; parts: Uint8Array[] }> {
  const offer = deps.offer()
  const cost = requestCost(deps, offer, owner)
  const names = new Map<string, number>()
  const parts: Uint8Array[] = []
  let part: Item[] = []
  let total = 0
  const breathe = breather()
  for (const [index, cells] of rows.entries()) {
    const row = index + 1
    const once = notedOnce(faults)
    const blame = ({ param, message }: Fault) => once.note({ row, param, message: `Row ${row}: ${message}` })
    for (const [place, { template, nameOf }] of fillers.entries()) {
      let decided: { request: ResolvedRequest; units: number } | undefined
      for (let variant = 1; variant <= variants; variant += 1) {
        if (variant === 1 || template.usesVariant) {
          const { count: _count, ...fields } = template.fill(cells, row, variant)
          try {
            const { request } = resolveRequest(fields, offer, deps.limits, 0)
            const { units, faults: costly } = await cost(request)
            costly.forEach(blame)
            decided = { request, units }
          } catch (thrown) {
            if (!(thrown instanceof AppError) || thrown.code !== 'invalid_request') throw thrown
            thrown.faults.forEach(blame)
            decided = undefined
          }
          await breathe()
        }
        const item = (index * fillers.length + place) * variants + variant - 1
        const hasSeed = decided !== undefined && template.fixesSeed(cells, row, variant)
        const seed = hasSeed
          ? ((decided?.request.seed ?? 0) + (template.usesVariant ? 0 : variant - 1)) % 2 ** 32
          : deps.ids.seedFromName(`${id}:${item}`)
        const name = nameOf(cells, row, variant, seed).normalize('NFC')
        const wrong = nameFault(name)
        if (wrong !== undefined)
          blame({ param: 'name', message: `The file name ${shownName(name)} ${wrong}.` })
        const key = nameKey(`${name}.${decided?.request.format}`)
        const first = names.get(key)
        if (first === undefined) names.set(key, row)
        else
          blame({ param: 'name', message: `The file name ${shownName(name)} is that of row ${first} too.` })
        if (decided === undefined || faults.count > 0) continue
        const { request, units } = decided
        total += units
        part.push({ name: `${name}.${imageFiles[request.format].extension}`, request: { ...request, seed } })
        if (part.length < itemsPerPart) continue
        parts.push(await packItems(part))
        part = []
      }
    }
  }
  faults.check()
  if (part.length > 0) parts.push(await packItems(part))
  return { units: total, parts }
}

/** Work and faults of a decided request. Uploads are looked up once. */
function requestCost(deps: CheckDeps, offer: Offer, owner: string) {
  const uploads = new Map<string, Promise<Fault[]>>()
  return async (request: ResolvedRequest): Promise<{ units: number; faults: readonly Fault[] }> => {
    const { windows, faults } = await promptCost(request, deps.limits, deps.prompts)
    const callsPerStep = callsPerStepOf(request, offer)
    const units = workUnits(request, { callsPerStep, windows, enlarging: enlargingUnits(request, offer) })
    if (request.init_image === undefined) return { units, faults }
    const key = `${request.init_image} ${request.mask ?? ''}`
    const known = uploads.get(key) ?? uploadFaults(deps, request, owner)
    uploads.set(key, known)
    return { units, faults: [...faults, ...(await known)] }
  }
}
