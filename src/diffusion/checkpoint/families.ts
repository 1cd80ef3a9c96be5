/** The one table of model families. Only Stable Diffusion 1.x is supported; the others are refused by name. */
export const families = {
  sd1: { name: 'Stable Diffusion 1.x', textWidth: 768 },
  sd2: { name: 'Stable Diffusion 2.x', textWidth: 1024 },
  sdxl: { name: 'Stable Diffusion XL', textWidth: 2048 },
  'sdxl-refiner': { name: 'Stable Diffusion XL Refiner', textWidth: 1280 },
  sd3: { name: 'Stable Diffusion 3' },
  flux: { name: 'Flux' },
  pixart: { name: 'PixArt or Sana' },
  auraflow: { name: 'AuraFlow' },
  lumina: { name: 'Lumina or Z-Image' },
  cascade: { name: 'Stable Cascade' },
  'hunyuan-video': { name: 'Hunyuan Video' },
  ltx: { name: 'LTX Video' },
  wan: { name: 'Wan' },
  mochi: { name: 'Mochi' },
  svd: { name: 'Stable Video Diffusion' },
  any: { name: 'pictures of any model' },
  unknown: { name: 'an unknown family' },
} as const satisfies Readonly<Record<string, FamilyEntry>>

interface FamilyEntry {
  /** For people. */
  readonly name: string
  /** Of the text states that the UNet takes, and so of an embedding's vectors; absent if it identifies no family. */
  readonly textWidth?: number
}

export type Family = keyof typeof families

const byWidth = new Map<number | undefined, Family>(
  Object.entries<FamilyEntry>(families).flatMap(([family, { textWidth }]) =>
    textWidth === undefined ? [] : [[textWidth, family as Family]],
  ),
)

/** The family whose text states have exactly this width; undefined if no known family has it. */
export function familyAt(textWidth: number | undefined): Family | undefined {
  return textWidth === undefined ? undefined : byWidth.get(textWidth)
}

/** The family of a part of a model. Any other width counts as SD 1.x, since small models of its architecture differ. */
export function familyOfWidth(textWidth: number | undefined): Family {
  if (textWidth === undefined || textWidth > families.sdxl.textWidth) return 'unknown'
  return familyAt(textWidth) ?? 'sd1'
}
