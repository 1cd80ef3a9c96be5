import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { AppError } from '../../jobs/errors.ts'
import {
  type AddOn,
  findNamed,
  ModelFacts,
  type ModelInfo,
  namesFor,
  type Offer,
  whyNot,
} from '../../jobs/offer.ts'
import { PaceView, pacesOf } from '../../jobs/paces.ts'
import { describeValue, listed } from '../../jobs/wording.ts'
import { ErrorBody } from '../faults.ts'
import type { Services } from '../services.ts'

const Model = Type.Object({
  ...ModelFacts.properties,
  images: Type.Boolean({ description: 'The former name of `image_to_image`.', deprecated: true }),
  samplers: Type.Array(Type.String(), { description: 'The first is the default.' }),
  schedules: Type.Array(Type.String(), {
    description: 'Of all samplers together, the default first; GET /v1/samplers lists them per sampler.',
  }),
  vaes: Type.Array(Type.String(), { description: 'VAEs that fit, besides its own.' }),
  paces: Type.Array(PaceView, { description: 'What `pace` can be, with the settings of each.' }),
})

const Extra = Type.Object({
  name: Type.String(),
  family: Type.String(),
  models: Type.Array(Type.String(), { description: 'The models that it fits.' }),
  description: Type.Optional(Type.String()),
})

const Upscaler = Type.Object({
  name: Type.String(),
  scale: Type.Number({ description: 'How many times as wide and high it makes a picture.' }),
})

/** The limits of requests and uploads, under their names in JSON. */
const Limits = Type.Record(Type.String(), Type.Number())

/** A model as OpenAI's clients read it. */
const OpenAiModel = Type.Object({
  id: Type.String({ description: 'The name of the model.' }),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Always 0.' }),
  owned_by: Type.String(),
})

/** A model as OpenAI's clients read it. When its file was made is not known. */
export function openAiModel(name: string): Static<typeof OpenAiModel> {
  return { id: name, object: 'model', created: 0, owned_by: 'packshot' }
}

const Sampler = Type.Object({
  name: Type.String(),
  label: Type.String(),
  aliases: Type.Array(Type.String(), { description: 'Other names that `sampler` accepts.' }),
  schedules: Type.Array(Type.String()),
  default_schedule: Type.String(),
  max_steps: Type.Optional(Type.Integer()),
  calls_per_step: Type.Optional(
    Type.Integer({ description: 'How often it calls the model in each step. Absent: once.' }),
  ),
  default_eta: Type.Optional(Type.Number({ description: 'Its `eta` by default. Absent: it has none.' })),
  takes_timesteps: Type.Optional(Type.Boolean({ description: 'It can be given explicit `timesteps`.' })),
})

/** GET /v1/models and GET /v1/samplers: what can be requested. The first of each list is the default. */
export function modelRoutes(app: FastifyInstance, services: Services): void {
  const models = {
    summary: 'Models with their defaults and add-ons, and the limits',
    response: {
      200: Type.Object({
        models: Type.Array(Model),
        vaes: Type.Array(Extra),
        loras: Type.Array(Extra),
        embeddings: Type.Array(Extra, { description: 'Their names work in prompts.' }),
        upscalers: Type.Array(Upscaler, {
          description: 'For `upscaler` and `hires.upscaler`, with every model.',
        }),
        tiny_vaes: Type.Array(Extra, { description: 'For `decoder`.' }),
        limits: Limits,
        object: Type.Literal('list', { description: 'With `data`: the list as OpenAI has it.' }),
        data: Type.Array(OpenAiModel),
      }),
    },
  }
  app.get('/v1/models', { schema: models }, async () => {
    const offer = services.offer()
    return {
      models: offer.models.map((model) => modelView(model, offer)),
      vaes: extraViews(offer.vaes, offer),
      loras: extraViews(offer.loras, offer),
      embeddings: extraViews(offer.embeddings, offer),
      upscalers: (offer.upscalers ?? []).flatMap(({ name, enlarges }) =>
        enlarges === undefined ? [] : [{ name, scale: enlarges.scale }],
      ),
      tiny_vaes: extraViews(offer.tiny_vaes ?? [], offer),
      limits: limitsView(services),
      object: 'list' as const,
      data: offer.models.map(({ name }) => openAiModel(name)),
    }
  })

  const samplers = {
    summary: 'The samplers of a model, with their schedules and their names in other programs',
    querystring: Type.Object({ model: Type.Optional(Type.String({ description: 'Absent: the default.' })) }),
    response: { 200: Type.Object({ samplers: Type.Array(Sampler) }), '4xx': ErrorBody },
  }
  app.get<{ Querystring: { model?: unknown } }>('/v1/samplers', { schema: samplers }, async (request) => {
    const offer = services.offer()
    const model = findModel(offer, request.query.model)
    const found = offer.samplers.of(model)
    return {
      samplers: found.map((each) => ({
        ...each,
        aliases: [...each.aliases],
        schedules: [...each.schedules],
      })),
    }
  })
}

/** `name` is unchecked: given twice in the query it is a list. */
function findModel({ models }: Offer, name: unknown): ModelInfo {
  const named = typeof name === 'string' ? findNamed(models, name) : undefined
  const model = name === undefined ? models[0] : named
  if (model !== undefined) return model
  const all = listed(models.map((each) => each.name))
  const message = `model must be one of ${all}, but was ${describeValue(name)}.`
  throw new AppError('invalid_request', message, { param: 'model' })
}

function modelView(
  { words: _words, own_widths: _own, examples, subjects, ...model }: ModelInfo,
  { samplers, vaes, loras }: Offer,
) {
  const offered = samplers.of(model)
  const schedules = offered.flatMap((each) => [each.default_schedule, ...each.schedules])
  return {
    ...model,
    images: model.image_to_image,
    ...(examples === undefined ? {} : { examples: [...examples] }),
    ...(subjects === undefined ? {} : { subjects: [...subjects] }),
    samplers: offered.map(({ name }) => name),
    schedules: [...new Set(schedules)],
    vaes: namesFor(model, vaes),
    paces: pacesOf(model, loras),
  }
}

/** Those that can be used. The path of the file is not public. */
function extraViews(addOns: readonly AddOn[], { models }: Offer) {
  return addOns
    .filter(({ problem }) => problem === undefined)
    .map((addOn) => ({
      name: addOn.name,
      family: addOn.family,
      models: models.filter((model) => whyNot(addOn, model) === undefined).map(({ name }) => name),
      ...(addOn.description === undefined ? {} : { description: addOn.description }),
    }))
}

function limitsView({ limits, uploadLimits }: Services): Record<string, number> {
  // what a request gets that names none is in the description of the API
  const { precision: _default, ...numbers } = limits
  const all = { ...numbers, uploadBytes: uploadLimits.bytes, uploadPixels: uploadLimits.pixels }
  const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [snake(name), value]))
}
