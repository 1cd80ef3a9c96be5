import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import type { Matte } from '../../src/diffusion/matte/matte.ts'
import type { Picture } from '../../src/diffusion/request.ts'
import { cleanMatte } from '../../src/finish/clean.ts'
import { errorsOf, type MatteErrors } from './matte-errors.ts'

/** A render that the network has not seen, with what it shows. */
export interface Render {
  readonly picture: Picture
  readonly truth: Uint8Array
  readonly material: string
  readonly background: string
  readonly light: string
}

export interface Judged extends Render {
  readonly found: Uint8Array
  readonly errors: MatteErrors
}

/** `studio.render --apart` writes these folders. @throws Error that says how, if there is none */
export async function readRenders(folder: string, count: number): Promise<Render[]> {
  const names = await readdir(folder).catch(() => [])
  const listings = names.filter((name) => /^captions.*\.jsonl$/.test(name))
  const lines = await Promise.all(listings.map((name) => readFile(join(folder, name), 'utf8')))
  const told = lines
    .flatMap((text) => text.split('\n').filter((line) => line !== ''))
    .map((line) => JSON.parse(line) as { file: string; scene: Record<string, string> })
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .slice(0, count)
  if (told.length === 0)
    throw new Error(
      `${folder} has no renders. From training/: python -m studio.render --apart --held --seed 820000000 --count 500 --out ${folder}`,
    )
  return Promise.all(
    told.map(async ({ file, scene }) => {
      const { data, info } = await sharp(join(folder, file))
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true })
      const alpha = await sharp(join(folder, file.replace('.png', '.product.png')))
        .extractChannel(3)
        .raw()
        .toBuffer()
      return {
        picture: { rgb: data, width: info.width, height: info.height },
        truth: alpha,
        material: scene.material || 'as it grows or is baked',
        background: scene.background ?? '',
        light: scene.light ?? '',
      }
    }),
  )
}

/** What the finish makes of each render's matte, against the true one. */
export async function judgeRenders(matte: Matte, renders: readonly Render[]): Promise<Judged[]> {
  const out: Judged[] = []
  for (const render of renders) {
    const { width, height } = render.picture
    const found = cleanMatte(await matte.alpha(render.picture), width, height)
    out.push({ ...render, found, errors: errorsOf(found, render.truth, width, height) })
  }
  return out
}
