import type { Static, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'

const checks = new WeakMap<TSchema, Pick<Validator, 'Parse'>>()

/**
 * What was stored as JSON, checked by its schema; throws if it is no JSON, or not of the schema. The check is compiled at
 * its first use (2 to 6 ms): a poll reads the request of its job, for which `Value.Parse` takes 20 us and this 0.4.
 */
export function fromJson<Schema extends TSchema>(schema: Schema, text: string): Static<Schema> {
  let check = checks.get(schema)
  if (check === undefined) {
    check = Compile(schema)
    checks.set(schema, check)
  }
  return check.Parse(JSON.parse(text)) as Static<Schema>
}
