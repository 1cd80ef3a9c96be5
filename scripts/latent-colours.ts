import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openEngine } from '../src/diffusion/engine.ts'

/**
 * Writes models/packshot-mini/latent-colours.json: how previews see its latents, fitted to 60 of its pictures. To be run when
 * its VAE changes.
 *
 *   node scripts/latent-colours.ts
 */
const model = join(import.meta.dirname, '../models/packshot-mini')
const pictures = 60
const backgrounds = [
  'on white',
  'on a wooden background',
  'on a dark background',
  'on a blue gradient background',
]
const { subjects } = JSON.parse(await readFile(join(model, 'packshot.json'), 'utf8'))
const engine = await openEngine({ model, provider: 'cpu', latentColours: false })
for (let seed = 0; seed < pictures; seed++) {
  const subject = subjects[seed % subjects.length]
  const prompt = `a ${subject} ${backgrounds[seed % backgrounds.length]}`
  const size = { width: 256, height: 256, steps: 8, guidanceScale: 3.5, seed }
  await engine.generate({ prompt, negativePrompt: '', ...size, sampler: 'dpmpp_2m', schedule: 'karras' })
}
const map = engine.latentColours?.map((value) => Math.round(value * 1e4) / 1e4)
await writeFile(join(model, 'latent-colours.json'), `${JSON.stringify(map)}\n`)
await engine.close()
