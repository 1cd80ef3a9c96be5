import { type Static, Type } from 'typebox'
import { priorities } from '../job.ts'
import type { LoraLimits } from './loras.ts'

/** What a body of POST /v1/jobs may say, whatever is installed. */

/** How much of a given picture is made anew when nothing is said of it. */
export const defaultStrength = 0.75

/** What a request may ask for, whatever the model. */
export interface RequestLimits extends LoraLimits {
  readonly promptCharacters: number
  readonly promptBytes: number
  readonly minSize: number
  readonly maxSize: number
  readonly maxSteps: number
  readonly maxGuidanceScale: number
  readonly maxSeed: number
  readonly maxCount: number
  readonly maxClipSkip: number
}

export const defaultLimits: RequestLimits = {
  promptCharacters: 2000,
  promptBytes: 8192,
  minSize: 64,
  maxSize: 1024,
  maxSteps: 100,
  maxGuidanceScale: 30,
  maxSeed: 2 ** 32 - 1,
  maxCount: 4,
  maxClipSkip: 12,
  maxLoras: 5,
  maxLoraStrength: 2,
}

/** The body of POST /v1/jobs: every field but the prompt has a default, most of them the model's. */
export function jobRequestSchema(limits: RequestLimits) {
  const size = (description: string) =>
    Type.Optional(Type.Integer({ minimum: limits.minSize, maximum: limits.maxSize, description }))
  return Type.Object(
    {
      prompt: Type.String({
        minLength: 1,
        maxLength: limits.promptCharacters,
        description: 'What to show.',
      }),
      negative_prompt: Type.Optional(
        Type.String({ maxLength: limits.promptCharacters, description: 'What to keep out of the picture.' }),
      ),
      width: size('In pixels, a multiple of what the model asks for.'),
      height: size('In pixels, a multiple of what the model asks for.'),
      steps: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxSteps })),
      guidance_scale: Type.Optional(
        Type.Number({
          minimum: 0,
          maximum: limits.maxGuidanceScale,
          description: 'How closely to follow the prompt; 1 or less turns guidance off.',
        }),
      ),
      sampler: Type.Optional(
        Type.String({
          description: 'A name of GET /v1/samplers, or as other programs call it, such as "DPM++ 2M Karras".',
        }),
      ),
      schedule: Type.Optional(Type.String({ description: 'One that the sampler has.' })),
      seed: Type.Optional(
        Type.Integer({ minimum: 0, maximum: limits.maxSeed, description: 'Absent: a random one is chosen.' }),
      ),
      count: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.maxCount })),
      model: Type.Optional(Type.String()),
      format: Type.Optional(Type.Literal('png')),
      priority: Type.Optional(
        Type.Enum(priorities, {
          description: 'Batch jobs are made when no interactive job waits. Absent: interactive.',
        }),
      ),
      vae: Type.Optional(Type.String({ description: "Absent: the model's own." })),
      loras: Type.Optional(
        Type.Array(
          Type.Object(
            {
              name: Type.String(),
              strength: Type.Optional(
                Type.Number({ minimum: -limits.maxLoraStrength, maximum: limits.maxLoraStrength }),
              ),
            },
            { additionalProperties: false },
          ),
          {
            maxItems: limits.maxLoras,
            description: 'Strength 1 if absent. <lora:name:0.8> in the prompt says the same.',
          },
        ),
      ),
      clip_skip: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: limits.maxClipSkip,
          description: 'Which layer of the text encoder counts, from the end: 1, the last one, if absent.',
        }),
      ),
      init_image: Type.Optional(
        Type.String({ description: 'The id of an upload (POST /v1/uploads): the picture to start from.' }),
      ),
      strength: Type.Optional(
        Type.Number({
          exclusiveMinimum: 0,
          maximum: 1,
          description: `How much of init_image is made anew; ${defaultStrength} if absent.`,
        }),
      ),
      mask: Type.Optional(
        Type.String({
          description: 'The id of an upload: white is made anew, black stays as in init_image.',
        }),
      ),
    },
    { additionalProperties: false },
  )
}
export type JobRequest = Static<ReturnType<typeof jobRequestSchema>>
