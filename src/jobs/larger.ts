import { type Static, Type } from 'typebox'

/** Pictures that are larger than they were drawn at first: the field `hires`. */

const hiresLimits = { maxScale: 4, maxSteps: 100 } as const
export const defaultHires = { scale: 2, strength: 0.5 } as const

const side = Type.Integer({ minimum: 64, maximum: 4096 })
const parts = {
  width: side,
  height: side,
  strength: Type.Number({
    exclusiveMinimum: 0,
    maximum: 1,
    description: `How much of the enlarged picture is repainted. Absent: ${defaultHires.strength}.`,
  }),
  steps: Type.Integer({
    minimum: 1,
    maximum: hiresLimits.maxSteps,
    description: 'Absent: those of the request.',
  }),
  upscaler: Type.String({ description: 'An upscaler from GET /v1/models. Absent: Lanczos.' }),
}

/** As it is asked for: `scale`, or both sides. */
export const HiresAsked = Type.Object(
  {
    scale: Type.Optional(
      Type.Number({
        minimum: 1,
        maximum: hiresLimits.maxScale,
        description: `How many times as wide and high. Absent: ${defaultHires.scale}, or less where that is too large.`,
      }),
    ),
    width: Type.Optional(parts.width),
    height: Type.Optional(parts.height),
    strength: Type.Optional(parts.strength),
    steps: Type.Optional(parts.steps),
    upscaler: Type.Optional(parts.upscaler),
  },
  {
    additionalProperties: false,
    description:
      'Draws the picture at the size of the request, enlarges it and repaints it at that size, with the same model, prompt and seed. Absent: it is drawn once.',
  },
)
export type HiresAsked = Static<typeof HiresAsked>

/** With every value decided. */
export const Hires = Type.Object(
  {
    width: parts.width,
    height: parts.height,
    strength: parts.strength,
    steps: parts.steps,
    upscaler: Type.Optional(parts.upscaler),
  },
  { additionalProperties: false },
)
export type Hires = Static<typeof Hires>
