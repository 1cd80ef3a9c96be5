/** Pictures for tests of finishing, whose truth is known: painted here, product and background from their alpha. */

export interface Scene {
  readonly picture: { readonly rgb: Uint8Array; readonly width: number; readonly height: number }
  /** The truth: 0..255. */
  readonly alpha: Uint8Array
}

type Colour = readonly [number, number, number]

interface Options {
  readonly width?: number
  readonly height?: number
  readonly ground?: Colour
  readonly product?: Colour
  /** How much of a pixel is product, 0 to 1, for positions in parts of the shorter side; x and y are from the middle. */
  readonly shape?: (x: number, y: number) => number
}

const side = 160

/** A disc with a soft edge of about two pixels. */
export const disc =
  (radius = 0.3, cx = 0, cy = 0) =>
  (x: number, y: number): number =>
    Math.min(1, Math.max(0, (radius - Math.hypot(x - cx, y - cy)) * 80 + 0.5))

export function scene(options: Options = {}): Scene {
  const { width = side, height = side, ground = [236, 236, 240], product = [190, 40, 30] } = options
  const { shape = disc() } = options
  const rgb = new Uint8Array(width * height * 3)
  const alpha = new Uint8Array(width * height)
  const unit = Math.min(width, height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const share = shape((x + 0.5 - width / 2) / unit, (y + 0.5 - height / 2) / unit)
      const i = y * width + x
      alpha[i] = Math.round(share * 255)
      // stripes, so that it is not blurred
      const light = Math.floor(x / 6) % 2 === 0 ? 1 : 0.8
      for (let c = 0; c < 3; c++) {
        rgb[i * 3 + c] = Math.round(
          (product[c] as number) * light * share + (ground[c] as number) * (1 - share),
        )
      }
    }
  }
  return { picture: { rgb, width, height }, alpha }
}

/** A matte by the distance from the colour of the picture's corner: enough for painted scenes. */
export const colourMatte = {
  alpha: async ({ rgb, width, height }: Scene['picture']): Promise<Uint8Array> =>
    Uint8Array.from({ length: width * height }, (_, i) => {
      const far = [0, 1, 2].reduce(
        (sum, c) => sum + Math.abs((rgb[i * 3 + c] as number) - (rgb[c] as number)),
        0,
      )
      return Math.min(255, far)
    }),
}
