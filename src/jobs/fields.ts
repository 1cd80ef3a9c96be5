/**
 * The fields of a request: what a body of POST /v1/jobs may contain, what a task then has, and how people fill them in.
 * Types, schemas, the API's description, the page's form and the command line are derived from this one table, so it
 * is longer than most files. A field that needs no rule of its own is one entry here.
 */
import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { Finish, FinishAsked, Gate } from './finish.ts'
import { Hires, HiresAsked } from './larger.ts'
import { paces } from './paces.ts'
import { mostPreviews } from './preview-count.ts'

/** What the model computes with: its numbers as they are, or in eight bits, which is faster and makes another picture. */
const precisions = ['exact', 'int8'] as const
export type Precision = (typeof precisions)[number]

/** The limits of a request, whatever the model. */
export const defaultLimits = {
  promptCharacters: 2000,
  promptBytes: 8192,
  /** Windows of 75 tokens: each needs memory in every call of the model. */
  promptWindows: 16,
  /** Of any part of a prompt, without its sign; what brackets multiply to counts. */
  promptWeight: 100,
  minSize: 64,
  maxSize: 1024,
  maxSteps: 100,
  maxGuidanceScale: 30,
  maxSeed: 2 ** 32 - 1,
  maxCount: 4,
  maxClipSkip: 12,
  maxLoras: 5,
  /** Strengths go from minus this to this. */
  maxLoraStrength: 2,
  /** Width times height of a finished picture. */
  finishPixels: 4096 * 4096,
  /** Of a request that names none. */
  precision: 'exact' as Precision,
}
export type RequestLimits = Readonly<typeof defaultLimits>

/** A person waits for an interactive job; batch jobs run when no interactive job waits. */
export const priorities = ['interactive', 'batch'] as const
export type Priority = (typeof priorities)[number]

/** Files that a picture can be delivered as. The first is the default. */
export const imageFormats = ['png', 'jpeg', 'webp'] as const
export type ImageFormat = (typeof imageFormats)[number]

export const imageFiles = {
  png: { type: 'image/png', extension: 'png' },
  jpeg: { type: 'image/jpeg', extension: 'jpg' },
  webp: { type: 'image/webp', extension: 'webp' },
} as const satisfies Record<ImageFormat, { readonly type: string; readonly extension: string }>

/** How much of `init_image` is repainted by default. */
export const defaultStrength = 0.75

/** What may be kept of a photo. */
const keeps = ['product'] as const

/** For JPEG and WebP. */
export const defaultQuality = 90

/**
 * A LoRA and how strongly it is applied; 1 is what it was trained for, less than 0 is its opposite. `text_strength` is
 * that of its part for the text encoder, absent if it is the same.
 */
export const LoraUse = Type.Object(
  { name: Type.String(), strength: Type.Number(), text_strength: Type.Optional(Type.Number()) },
  { additionalProperties: false },
)
export type LoraUse = Static<typeof LoraUse>

/** How the page shows a field. */
export interface FormField {
  /** `photo`: beside the picture to start from; `more`: behind "More settings". */
  readonly place: 'main' | 'photo' | 'more'
  /** How the typed text becomes a value. */
  readonly as: 'text' | 'number' | 'numbers' | 'choice' | 'loras'
  readonly label: string
  /** How a sentence about it begins. */
  readonly subject: string
  readonly help?: string
  readonly placeholder?: string
}

/** Its option of `npm run generate`. */
interface Option {
  readonly flag: string
  /** Its value in the usage text. */
  readonly value: string
  readonly help: string
}

export interface Field {
  /** Its schema in a body. */
  readonly asked: (limits: RequestLimits) => TSchema
  /** Its schema in a task; undefined for a field that is not part of the picture. Optional if it may be absent. */
  readonly decided: TSchema | undefined
  readonly form?: FormField
  readonly option?: Option
}

/** Checks an entry and keeps its own types. */
function field<const Entry extends Field>(entry: Entry): Entry {
  return entry
}

const size = (side: 'width' | 'height') =>
  field({
    asked: ({ minSize, maxSize }) =>
      Type.Optional(
        Type.Integer({
          minimum: minSize,
          maximum: maxSize,
          description: "In pixels, a multiple of the model's `size_multiple`.",
        }),
      ),
    decided: Type.Integer(),
    form: {
      place: 'more',
      as: 'number',
      label: `Custom ${side}`,
      subject: `The ${side}`,
      placeholder: 'as above',
    },
    option: { flag: side, value: 'N', help: "in pixels (default: the model's)" },
  })

export const requestFields = {
  prompt: field({
    asked: ({ promptCharacters }) =>
      Type.String({ minLength: 1, maxLength: promptCharacters, description: 'What to show.' }),
    decided: Type.String(),
    form: {
      place: 'main',
      as: 'text',
      label: 'What should be in the picture?',
      subject: 'The description',
      placeholder: 'a red apple on a white background',
    },
  }),
  negative_prompt: field({
    asked: ({ promptCharacters }) =>
      Type.Optional(
        Type.String({ maxLength: promptCharacters, description: 'What to keep out of the picture.' }),
      ),
    decided: Type.String(),
    form: {
      place: 'more',
      as: 'text',
      label: 'What to keep out of it',
      subject: 'What to keep out',
      help: 'For example: blurry, text, dark shadows.',
    },
    option: { flag: 'negative', value: 'TEXT', help: 'what the picture must not show' },
  }),
  width: size('width'),
  height: size('height'),
  steps: field({
    asked: ({ maxSteps }) =>
      Type.Optional(
        Type.Integer({ minimum: 1, maximum: maxSteps, description: "Absent: the model's default." }),
      ),
    decided: Type.Integer(),
    form: {
      place: 'more',
      as: 'number',
      label: 'Steps',
      subject: 'The number of steps',
      help: 'More is finer and slower.',
    },
    option: { flag: 'steps', value: 'N', help: "number of steps (default: the model's)" },
  }),
  guidance_scale: field({
    asked: ({ maxGuidanceScale }) =>
      Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: maxGuidanceScale,
          description: 'How closely to follow the prompt; 1 or less turns guidance off.',
        }),
      ),
    decided: Type.Number(),
    form: {
      place: 'more',
      as: 'number',
      label: 'Guidance',
      subject: 'Guidance',
      help: 'How closely to follow the words.',
    },
    option: { flag: 'guidance', value: 'N', help: "how closely to follow the prompt (default: the model's)" },
  }),
  sampler: field({
    asked: () =>
      Type.Optional(
        Type.String({
          description:
            'A name from GET /v1/samplers, or the name other programs use, such as "DPM++ 2M Karras".',
        }),
      ),
    decided: Type.String(),
    form: { place: 'more', as: 'text', label: 'Sampler', subject: 'The sampler' },
    option: { flag: 'sampler', value: 'NAME', help: "default: the model's" },
  }),
  schedule: field({
    asked: () => Type.Optional(Type.String({ description: 'A schedule that the sampler supports.' })),
    decided: Type.String(),
    form: { place: 'more', as: 'text', label: 'Schedule', subject: 'The schedule' },
    option: { flag: 'schedule', value: 'NAME', help: "default: the sampler's" },
  }),
  eta: field({
    asked: () =>
      Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: 1,
          description:
            "How much fresh noise each step adds, for samplers with a `default_eta` in GET /v1/samplers. Absent: the sampler's.",
        }),
      ),
    decided: Type.Optional(Type.Number()),
    form: {
      place: 'more',
      as: 'number',
      label: 'Eta',
      subject: 'Eta',
      help: 'For the samplers TCD and DDIM: fresh noise in each step.',
    },
    option: { flag: 'eta', value: 'N', help: "fresh noise in each step, 0 to 1 (default: the sampler's)" },
  }),
  timesteps: field({
    asked: ({ maxSteps }) =>
      Type.Optional(
        Type.Array(Type.Integer({ minimum: 0, maximum: 999 }), {
          minItems: 1,
          maxItems: maxSteps,
          description:
            'Explicit timesteps, falling, in place of `schedule` and `steps`; for samplers with `takes_timesteps` in GET /v1/samplers.',
        }),
      ),
    decided: Type.Optional(Type.Array(Type.Integer())),
    form: {
      place: 'more',
      as: 'numbers',
      label: 'Timesteps',
      subject: 'The timesteps',
      help: 'Falling numbers from 999 to 0, with spaces between, in place of steps and schedule.',
      placeholder: '999 749 499 249',
    },
  }),
  guidance_end: field({
    asked: () =>
      Type.Optional(
        Type.Number({
          minimum: 0.05,
          maximum: 1,
          description:
            'The part of the steps that has guidance: 0.5 turns it off after half of them, which then cost half. Another picture. Absent: 1.',
        }),
      ),
    decided: Type.Optional(Type.Number()),
    form: {
      place: 'more',
      as: 'number',
      label: 'Guidance until',
      subject: 'The end of guidance',
      help: 'A part of the steps: 0.5 turns guidance off half-way, and is sooner done.',
      placeholder: '1',
    },
    option: {
      flag: 'guidance-end',
      value: 'N',
      help: 'the part of the steps that has guidance, 0.05 to 1 (default: 1)',
    },
  }),
  pace: field({
    asked: () =>
      Type.Optional(
        Type.Enum(paces, {
          description:
            'quick (4 to 12 steps) and instant (1 or 2) add a LoRA for few steps and its settings: other pictures, sooner. GET /v1/models lists those of each model. Absent: quality.',
        }),
      ),
    decided: Type.Optional(Type.Enum(paces)),
    form: {
      place: 'main',
      as: 'choice',
      label: 'Pace',
      subject: 'The pace',
      help: 'Quick and instant make other pictures, in a fraction of the time.',
    },
    option: { flag: 'pace', value: 'NAME', help: `${paces.join(', ')} (default: quality)` },
  }),
  seed: field({
    asked: ({ maxSeed }) =>
      Type.Optional(
        Type.Integer({ minimum: 0, maximum: maxSeed, description: 'Absent: a random seed is chosen.' }),
      ),
    decided: Type.Integer(),
    form: {
      place: 'more',
      as: 'number',
      label: 'Seed',
      subject: 'The seed',
      help: 'The same seed and settings give the same picture. Empty: a new one every time.',
      placeholder: 'random',
    },
    option: { flag: 'seed', value: 'N', help: 'default: a random seed, which is printed' },
  }),
  count: field({
    asked: ({ maxCount }) =>
      Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: maxCount,
          description: 'Pictures, with seeds n, n + 1 and so on.',
        }),
      ),
    decided: Type.Integer(),
    form: { place: 'main', as: 'number', label: 'Pictures', subject: 'The number of pictures' },
    option: { flag: 'count', value: 'N', help: 'number of pictures, with seeds N, N+1 ... (default: 1)' },
  }),
  model: field({
    asked: () => Type.Optional(Type.String({ description: 'A name from GET /v1/models.' })),
    decided: Type.String(),
    form: { place: 'more', as: 'text', label: 'Model', subject: 'The model' },
  }),
  format: field({
    asked: () => Type.Optional(Type.Enum(imageFormats, { description: 'Format of the file. Absent: png.' })),
    decided: Type.Enum(imageFormats),
    form: { place: 'more', as: 'choice', label: 'File', subject: 'The file' },
    option: {
      flag: 'format',
      value: 'NAME',
      help: `${imageFormats.join(', ')} (default: from the name of --out)`,
    },
  }),
  quality: field({
    asked: () =>
      Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 100,
          description: `For JPEG and WebP: higher is better and larger. Absent: ${defaultQuality}.`,
        }),
      ),
    decided: Type.Optional(Type.Integer()),
    form: {
      place: 'more',
      as: 'number',
      label: 'Quality',
      subject: 'The quality',
      help: 'For JPEG and WebP, 1 to 100.',
      placeholder: String(defaultQuality),
    },
    option: { flag: 'quality', value: 'N', help: `for JPEG and WebP, 1 to 100 (default: ${defaultQuality})` },
  }),
  priority: field({
    asked: () =>
      Type.Optional(
        Type.Enum(priorities, {
          description: 'Batch jobs run when no interactive job waits. Absent: interactive.',
        }),
      ),
    decided: undefined,
  }),
  previews: field({
    asked: () =>
      Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: mostPreviews,
          description:
            'How often to show the first picture while it is made, as a small JPEG; more than 3 at most once a second. Absent: never.',
        }),
      ),
    decided: undefined,
  }),
  vae: field({
    asked: () => Type.Optional(Type.String({ description: "Absent: the model's own." })),
    decided: Type.Optional(Type.String()),
    form: { place: 'more', as: 'text', label: 'VAE', subject: 'The VAE' },
    option: { flag: 'vae', value: 'NAME', help: 'a VAE from vae/ in the models folder' },
  }),
  loras: field({
    asked: ({ maxLoras, maxLoraStrength: most }) =>
      Type.Optional(
        Type.Array(
          Type.Object(
            {
              name: Type.String(),
              strength: Type.Optional(Type.Number({ minimum: -most, maximum: most })),
              text_strength: Type.Optional(Type.Number({ minimum: -most, maximum: most })),
            },
            { additionalProperties: false },
          ),
          {
            maxItems: maxLoras,
            description:
              'Strength 1 if absent; `text_strength` is for the text encoder, `strength` if absent. <lora:name:0.8>, or ' +
              '<lora:name:TEXT_STRENGTH:STRENGTH>, in the prompt is equivalent.',
          },
        ),
      ),
    decided: Type.Optional(Type.Array(LoraUse)),
    form: { place: 'more', as: 'loras', label: 'LoRAs', subject: 'LoRAs' },
  }),
  clip_skip: field({
    asked: ({ maxClipSkip }) =>
      Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: maxClipSkip,
          description: 'Which layer of the text encoder to use, counted from the end. Absent: 1, the last.',
        }),
      ),
    decided: Type.Optional(Type.Integer()),
    form: {
      place: 'more',
      as: 'number',
      label: 'Clip skip',
      subject: 'Clip skip',
      help: '1 is the last layer.',
      placeholder: '1',
    },
    option: {
      flag: 'clip-skip',
      value: 'N',
      help: 'which layer of the text encoder to use, counted from the last (default: 1)',
    },
  }),
  init_image: field({
    asked: () =>
      Type.Optional(
        Type.String({ description: 'The id of an upload (POST /v1/uploads): the picture to start from.' }),
      ),
    decided: Type.Optional(Type.String()),
    form: { place: 'photo', as: 'text', label: 'Photo', subject: 'The photo' },
  }),
  strength: field({
    asked: () =>
      Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: 1,
          description: `How much of init_image is repainted. 0: nothing is drawn, it is only finished. Absent: ${defaultStrength}; with keep 1, or 0 if finish replaces all that would be drawn.`,
        }),
      ),
    decided: Type.Optional(Type.Number()),
    form: { place: 'photo', as: 'number', label: 'How much may change', subject: 'How much may change' },
  }),
  mask: field({
    asked: () =>
      Type.Optional(
        Type.String({
          description: 'The id of an upload: white is repainted, black stays as in init_image.',
        }),
      ),
    decided: Type.Optional(Type.String()),
    form: { place: 'photo', as: 'text', label: 'Mask', subject: 'The mask' },
  }),
  keep: field({
    asked: () =>
      Type.Optional(
        Type.Enum(keeps, {
          description:
            'product: the product of init_image is kept pixel by pixel, and the rest is drawn. It is what mask keeps (black), else what is opaque in init_image, else it is found. With strength 0 nothing is drawn: it is cut out.',
        }),
      ),
    decided: Type.Optional(Type.Enum(keeps)),
    form: { place: 'photo', as: 'choice', label: 'Keep the product', subject: 'What to keep' },
  }),
  finish: field({
    asked: () => Type.Optional(FinishAsked),
    decided: Type.Optional(Finish),
    option: { flag: 'finish', value: 'NAME', help: 'finish for a shop, such as amazon_main: docs/finish.md' },
  }),
  gate: field({ asked: () => Type.Optional(Gate), decided: Type.Optional(Gate) }),
  upscaler: field({
    asked: () =>
      Type.Optional(
        Type.String({
          description:
            'An upscaler from GET /v1/models: the picture becomes as many times larger as it says; with finish, it enlarges to the size of that. Absent: Lanczos.',
        }),
      ),
    decided: Type.Optional(Type.String()),
    form: {
      place: 'more',
      as: 'text',
      label: 'Upscaler',
      subject: 'The upscaler',
      help: 'Enlarges what was drawn, with detail where Lanczos is soft.',
    },
    option: { flag: 'upscaler', value: 'NAME', help: 'an upscaler from upscalers/ in the models folder' },
  }),
  hires: field({ asked: () => Type.Optional(HiresAsked), decided: Type.Optional(Hires) }),
  decoder: field({
    asked: () =>
      Type.Optional(
        Type.String({
          description:
            'tiny, or the name of a tiny VAE from GET /v1/models: faster, and not the exact picture. Absent: full, the VAE.',
        }),
      ),
    decided: Type.Optional(Type.String()),
    form: {
      place: 'more',
      as: 'text',
      label: 'Decoder',
      subject: 'The decoder',
      help: 'A tiny one is sooner done, and not the exact picture.',
    },
    option: { flag: 'decoder', value: 'NAME', help: 'tiny: decode with a TAESD, faster and not exact' },
  }),
  precision: field({
    asked: ({ precision }) =>
      Type.Optional(
        // the default first: the page shows it
        Type.Enum(precision === 'int8' ? precisions.toReversed() : [...precisions], {
          description: `int8 computes with 8-bit numbers where the worker's processor gains from it: about half the time, and another picture, not the exact one. Absent: ${precision}.`,
        }),
      ),
    decided: Type.Optional(Type.Enum(precisions)),
    form: {
      place: 'more',
      as: 'choice',
      label: 'Precision',
      subject: 'The precision',
      help: 'int8 is faster on many processors, and makes another picture.',
    },
    option: { flag: 'precision', value: 'NAME', help: 'exact, or int8: faster, and another picture' },
  }),
  webhook: field({
    asked: () =>
      Type.Optional(
        Type.String({
          description:
            'An https address that is told when the job is final, by Standard Webhooks. Absent: that of the caller, if it has one.',
        }),
      ),
    decided: undefined,
  }),
}

type Table = typeof requestFields
export type RequestFieldName = keyof Table
/** The fields that a form has. */
export type FormFieldName = {
  [Name in RequestFieldName]: Table[Name] extends { readonly form: FormField } ? Name : never
}[RequestFieldName]
type AskedSchemas = { [Name in RequestFieldName]: ReturnType<Table[Name]['asked']> }
type DecidedName = {
  [Name in RequestFieldName]: Table[Name]['decided'] extends TSchema ? Name : never
}[RequestFieldName]
type DecidedSchemas = { [Name in DecidedName]: Table[Name]['decided'] & TSchema }

/** The table as a list, in its order. */
export const fieldEntries = Object.entries(requestFields) as readonly (readonly [RequestFieldName, Field])[]

const requestSchemas = new WeakMap<RequestLimits, TObject<AskedSchemas>>()

/** The body of POST /v1/jobs: every field but the prompt has a default, usually the model's. Built once per limits. */
export function jobRequestSchema(limits: RequestLimits): TObject<AskedSchemas> {
  const built = requestSchemas.get(limits)
  if (built !== undefined) return built
  const schemas = fieldEntries.map(([name, { asked }]) => [name, asked(limits)])
  const schema = Type.Object(Object.fromEntries(schemas) as AskedSchemas, { additionalProperties: false })
  requestSchemas.set(limits, schema)
  return schema
}
export type JobRequest = Static<ReturnType<typeof jobRequestSchema>>

/** The schemas of a request with every field decided: see `ResolvedRequest`. */
export const decidedFields = Object.fromEntries(
  fieldEntries.flatMap(([name, { decided }]) => (decided === undefined ? [] : [[name, decided]])),
) as DecidedSchemas
