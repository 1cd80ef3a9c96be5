import { encodePng } from '../../src/diffusion/output/png.ts'

const balls = new Map<string, Uint8Array>()

/** A picture of the given size: a red ball on grey paper. */
export function ballPng(width: number, height: number): Uint8Array {
  const size = `${width}x${height}`
  const ball = balls.get(size) ?? drawBall(width, height)
  balls.set(size, ball)
  return ball
}

function drawBall(width: number, height: number): Uint8Array {
  const rgb = new Uint8Array(height * width * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rgb.set(colourAt((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5), (y * width + x) * 3)
    }
  }
  return encodePng({ rgb, width, height })
}

function colourAt(x: number, y: number): [number, number, number] {
  const fromCentre = Math.hypot(x, y)
  if (fromCentre < 0.3) {
    const light = 1 - Math.hypot(x + 0.1, y + 0.12) * 1.3
    return [90 + 130 * light, 40 * light, 35 * light]
  }
  const shadow = Math.exp(-(((x - 0.04) / 0.28) ** 2) - ((y - 0.31) / 0.05) ** 2)
  const paper = 236 - 26 * fromCentre - 90 * shadow
  return [paper, paper - 2, paper - 5]
}
