import { createHash } from 'node:crypto'
import { AppError } from '../../../jobs/errors.ts'
import { jobRequestSchema, type RequestFieldName, type RequestLimits } from '../../../jobs/fields.ts'
import { findNamed, type ModelInfo, type Offer } from '../../../jobs/offer.ts'
import { describeValue, listed } from '../../../jobs/wording.ts'
import { inputNames } from './input.ts'

/** Models under names such as `packshot/packshot-mini`. The owner in an address may be any. */
export const owner = 'packshot'

/** The version of a model: of 64 digits, as clients expect it. It says nothing of the files. */
export function versionOf(model: string): string {
  return createHash('sha256').update(`version of ${model}`).digest('hex')
}

/**
 * The name of the model that a `version` means: that of a model, alone or as `owner/name` or `owner/name:version`, or the
 * version that we give a model. Undefined, the default model, for any other 64 digits: elsewhere they mean files that
 * nobody here has. Throws `invalid_request`.
 */
export function modelOfVersion(version: unknown, { models }: Offer): string | undefined {
  if (typeof version === 'string') {
    const [, called] = /^(?:[^/:]+\/)?([^/:]+)(?::.*)?$/.exec(version) ?? []
    const found = models.find(({ name }) => versionOf(name) === version) ?? findNamed(models, called ?? '')
    if (found !== undefined) return found.name
    if (/^[0-9a-f]{64}$/i.test(version)) return undefined
  }
  const names = listed(models.map((each) => each.name))
  const message = `version must be a model (${names}) or 64 hexadecimal digits, but was ${describeValue(version)}.`
  throw new AppError('invalid_request', message, { param: 'version' })
}

/** The answer of GET /v1/models/OWNER/NAME. */
export function modelView(model: ModelInfo, limits: RequestLimits, base: string) {
  const { properties } = jobRequestSchema(limits)
  const hidden: readonly RequestFieldName[] = ['model', 'priority']
  const shown = Object.entries(properties).filter(([name]) => !hidden.includes(name as RequestFieldName))
  const input = Object.fromEntries(
    shown.map(([name, schema]) => [(inputNames as Readonly<Record<string, string>>)[name] ?? name, schema]),
  )
  const schemas = {
    Input: { type: 'object', title: 'Input', required: ['prompt'], properties: input },
    Output: { type: 'array', title: 'Output', items: { type: 'string', format: 'uri' } },
  }
  return {
    url: `${base}/`,
    owner,
    name: model.name,
    description: model.description ?? null,
    visibility: 'public',
    run_count: 0,
    default_example: null,
    latest_version: {
      id: versionOf(model.name),
      openapi_schema: {
        openapi: '3.0.2',
        info: { title: model.name, version: '1' },
        components: { schemas },
      },
    },
  }
}
