import { describeValue } from '../wording.ts'
import { listFault } from './list.ts'

/** Sets of a run: each row is made once in each of them, with the fields of a set over those of the template. */
export interface SentSet {
  /** `{set}` in texts and file names. */
  readonly name: string
  readonly template: Readonly<Record<string, unknown>>
}

export const setLimits = { most: 16, nameCharacters: 60 }

/** Undefined if none are given. Throws `invalid_request`. */
export function setsOf(value: unknown): readonly SentSet[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value) || value.length === 0 || value.length > setLimits.most) {
    const said = Array.isArray(value) ? `had ${value.length}` : `was ${describeValue(value)}`
    throw listFault('sets', `sets must be a list of 1 to ${setLimits.most} sets, but ${said}.`)
  }
  const sets = value.map((each, index) => setIn(each, `sets[${index}]`))
  const names = sets.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) < index)
  if (twice !== undefined) throw listFault('sets', `Two sets have the name ${describeValue(twice)}.`)
  return sets
}

function setIn(value: unknown, param: string): SentSet {
  const { name, template, ...others } = objectIn(value, param)
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw listFault(param, `A set has no field ${describeValue(unknown)}. Its fields are name and template.`)
  const most = setLimits.nameCharacters
  if (typeof name !== 'string' || name.trim() === '' || [...name].length > most) {
    const message = `The name of a set must be text of 1 to ${most} characters, but was ${describeValue(name)}.`
    throw listFault(`${param}.name`, message)
  }
  return { name: name.trim(), template: objectIn(template ?? {}, `${param}.template`) }
}

function objectIn(value: unknown, param: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>
  }
  throw listFault(param, `${param} must be an object, but was ${describeValue(value)}.`)
}
