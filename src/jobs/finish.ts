import { type Static, Type } from 'typebox'
import type { ImageFormat } from './fields.ts'
import { isJobIdShaped } from './job-id.ts'

/**
 * Finishing: what becomes of a drawn picture, or of an uploaded one, before it is delivered. The product is cut out, set
 * on a background of its own, placed, and written as a file of the size that a shop asks for. `src/finish` does it.
 */

export const shadows = ['none', 'contact', 'soft'] as const
type Shadow = (typeof shadows)[number]

/** In percent of the frame's width (left, right) and height (top, bottom). */
export interface Margins {
  readonly top: number
  readonly right: number
  readonly bottom: number
  readonly left: number
}

export const finishLimits = {
  minFill: 30,
  maxFill: 100,
  minSide: 64,
  maxSide: 4096,
  /** Of one side: with more there is no room for a product. */
  maxMargin: 45,
  minBytes: 10_000,
  maxBytes: 100_000_000,
  /** The quality falls to this to meet `max_bytes`, not below. */
  minQuality: 40,
  maxTries: 4,
} as const

const percent = Type.Number({ minimum: 0, maximum: finishLimits.maxMargin })
const margins = { top: percent, right: percent, bottom: percent, left: percent }

const parts = {
  preset: Type.String({ pattern: '^[a-z0-9_]{1,40}$', description: 'A name from GET /v1/finishes.' }),
  background: Type.String({
    maxLength: 80,
    description:
      'as_made, transparent, a colour such as #ffffff (every border pixel then has it), or the id of an upload.',
  }),
  fill: Type.Number({
    minimum: finishLimits.minFill,
    maximum: finishLimits.maxFill,
    description: 'Percent of the frame that the longer side of the product takes.',
  }),
  width: Type.Integer({ minimum: finishLimits.minSide, maximum: finishLimits.maxSide }),
  height: Type.Integer({ minimum: finishLimits.minSide, maximum: finishLimits.maxSide }),
  shadow: Type.Enum(shadows),
  max_bytes: Type.Integer({
    minimum: finishLimits.minBytes,
    maximum: finishLimits.maxBytes,
    description: `Size of the file: the quality falls until it fits, not below ${finishLimits.minQuality}.`,
  }),
}

/** As it is asked for. */
export const FinishAsked = Type.Object(
  {
    preset: Type.Optional(parts.preset),
    background: Type.Optional(parts.background),
    fill: Type.Optional(parts.fill),
    width: Type.Optional(parts.width),
    height: Type.Optional(parts.height),
    margin: Type.Optional(
      Type.Union([percent, Type.Object(margins, { additionalProperties: false })], {
        description: 'Percent of the frame that stays free on each side.',
      }),
    ),
    shadow: Type.Optional(parts.shadow),
    max_bytes: Type.Optional(parts.max_bytes),
  },
  {
    additionalProperties: false,
    description: 'How the picture is finished for a shop (docs/finish.md). Absent: it is delivered as drawn.',
  },
)
export type FinishAsked = Static<typeof FinishAsked>

/**
 * With every value decided. `preset` only says where they came from. `fill` is absent where the product keeps the size
 * that it was drawn with, which only the background `as_made` allows.
 */
export const Finish = Type.Object(
  {
    preset: Type.Optional(parts.preset),
    background: parts.background,
    fill: Type.Optional(parts.fill),
    width: parts.width,
    height: parts.height,
    margin: Type.Object(margins, { additionalProperties: false }),
    shadow: parts.shadow,
    max_bytes: Type.Optional(parts.max_bytes),
  },
  { additionalProperties: false },
)
export type Finish = Static<typeof Finish>

/** Draws a picture again that misses what it is measured for. */
export const Gate = Type.Object(
  {
    tries: Type.Integer({
      minimum: 1,
      maximum: finishLimits.maxTries,
      description: 'How often a picture is drawn at most; the best try is delivered.',
    }),
  },
  {
    additionalProperties: false,
    description: 'Draws a picture whose figures miss again, with another seed. Absent: each is drawn once.',
  },
)
export type Gate = Static<typeof Gate>

/** What a delivered picture was measured to be. */
export const Measured = Type.Object({
  border_white: Type.Optional(
    Type.Number({
      description: 'Share of the border pixels that have exactly the colour that was asked for.',
    }),
  ),
  product: Type.Number({ description: 'Percent of the frame that the product takes; 0 if none was found.' }),
  inside: Type.Boolean({ description: 'Whether the whole product is in the picture that was drawn.' }),
  sharpness: Type.Number({ description: 'Of the picture as drawn: 0 is blurred, above 100 is crisp.' }),
  tries: Type.Integer({ description: 'How often it was drawn.' }),
  like: Type.Optional(
    Type.Integer({ description: 'Index of an earlier picture of the job that looks nearly the same.' }),
  ),
  missed: Type.Optional(
    Type.Array(Type.String(), { description: 'Names of the figures that missed. Absent: none.' }),
  ),
})
export type Measured = Static<typeof Measured>

export interface FinishPreset {
  readonly title: string
  readonly background: string
  readonly fill?: number
  readonly width: number
  readonly height: number
  readonly margin?: Margins
  readonly shadow: Shadow
  readonly format: ImageFormat
  readonly max_bytes?: number
  /** Where its rule comes from; what is custom and nobody's rule says so. */
  readonly source: string
}

const white = '#ffffff'
const amazon = 'mercatuslab.com/blog/amazon-product-image-requirements'
const playbook = 'fotolince.com/en/blog/ecommerce-product-image-playbook'

/** Rules of others change: each names where it was read. */
export const finishPresets: Readonly<Record<string, FinishPreset>> = {
  amazon_main: {
    title: 'Amazon main image',
    background: white,
    fill: 87,
    width: 1600,
    height: 1600,
    shadow: 'none',
    format: 'jpeg',
    source: `Pure white 255, product at least 85 %, 1000 px or more, 1600 recommended: ${amazon}`,
  },
  shop_square: {
    title: 'Shop, square',
    background: white,
    fill: 80,
    width: 2048,
    height: 2048,
    shadow: 'contact',
    format: 'jpeg',
    source: `2048 x 2048 as Shopify recommends: ${playbook}; fill and shadow are custom`,
  },
  walmart_main: {
    title: 'Walmart main image',
    background: white,
    fill: 85,
    width: 2000,
    height: 2000,
    shadow: 'none',
    format: 'jpeg',
    source: `2000 x 2000: ${playbook}; the fill is custom`,
  },
  etsy_listing: {
    title: 'Etsy listing',
    background: 'as_made',
    width: 2000,
    height: 2000,
    shadow: 'none',
    format: 'jpeg',
    source: `Shorter side 2000 px: ${playbook}`,
  },
  portrait: {
    title: 'Portrait, 4:5',
    background: white,
    fill: 75,
    width: 1080,
    height: 1350,
    shadow: 'soft',
    format: 'jpeg',
    source: 'A shape of social networks; size, fill and shadow are custom',
  },
  story: {
    title: 'Story, 9:16',
    background: white,
    fill: 75,
    width: 1080,
    height: 1920,
    margin: { top: 14, right: 6, bottom: 20, left: 6 },
    shadow: 'soft',
    format: 'jpeg',
    source: 'A full phone screen, free above and below for buttons; size, margins and shadow are custom',
  },
  banner: {
    title: 'Banner, 16:9',
    background: white,
    fill: 75,
    width: 1920,
    height: 1080,
    shadow: 'soft',
    format: 'jpeg',
    source: 'A wide screen; size, fill and shadow are custom',
  },
  cutout: {
    title: 'Cut-out',
    background: 'transparent',
    fill: 96,
    width: 2000,
    height: 2000,
    shadow: 'none',
    format: 'png',
    source: 'For layouts of your own: nobody asks for exactly this',
  },
}

/** What a finish makes of an upload that is not drawn on, if it names no size. */
export const defaultFinishSide = 1600
/** Without a preset, where the product is set on a new background. */
export const defaultFill = 80

/** Whether a text names a background: an upload's id by its shape alone. */
export function isBackground(text: string): boolean {
  return text === 'as_made' || text === 'transparent' || /^#[0-9a-fA-F]{6}$/.test(text) || isJobIdShaped(text)
}

/** The id of the upload that is the background; undefined for any other background. */
export function backgroundUpload(finish: { readonly background: string } | undefined): string | undefined {
  const background = finish?.background
  if (background === undefined || background === 'as_made' || background === 'transparent') return undefined
  return background.startsWith('#') ? undefined : background
}
