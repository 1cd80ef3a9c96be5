import assert from 'node:assert/strict'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { contentOf, rrdbShapes, taesdShapes } from '../../test/golden/enlarge-weights.ts'
import {
  parityDir,
  readContent,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
  writeVariant,
} from '../../test/golden/parity/variants.ts'
import { models } from '../../test/models/command.ts'
import { namesFor, type Offer, whyNot } from '../jobs/offer.ts'
import { Library } from './library.ts'
import { offerOf } from './offer-source.ts'

/** What an installation with all kinds of files offers: the same answer everywhere. */

const matrix = (...shape: number[]) =>
  tensorOf(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape, 'F16')
const key = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k'

async function installation(t: TestContext): Promise<string> {
  const dir = tempFolder(t)
  for (const folder of ['vae', 'loras', 'embeddings']) mkdirSync(join(dir, folder))
  cpSync(tinyCheckpoint, join(dir, 'tiny.safetensors'))
  return dir
}

async function offer(dir: string): Promise<Offer> {
  return offerOf(await new Library({ model: 'tiny', modelsDir: dir }).read())
}

function save(path: string, tensors: Parameters<typeof writeSafetensors>[1]['tensors']): void {
  writeSafetensors(path, { tensors, metadata: {} })
}

test('an add-on is offered with the models that it fits, and with no other', async (t) => {
  const dir = await installation(t)
  cpSync(join(parityDir, 'loras/picture-a.safetensors'), join(dir, 'loras/for tiny.safetensors'))
  save(
    join(dir, 'loras/for sd15.safetensors'),
    new Map([
      [`${key}.lora_down.weight`, matrix(4, 768)],
      [`${key}.lora_up.weight`, matrix(320, 4)],
    ]),
  )
  save(join(dir, 'embeddings/sd15.safetensors'), new Map([['emb_params', matrix(2, 768)]]))
  save(join(dir, 'embeddings/small.safetensors'), new Map([['emb_params', matrix(2, 32)]]))
  save(
    join(dir, 'loras/glora.safetensors'),
    new Map([
      [`${key}.a1.weight`, matrix(4, 4)],
      [`${key}.alpha`, matrix(1)],
    ]),
  )
  writeFileSync(join(dir, 'loras/page.safetensors'), '<!DOCTYPE html><title>Log in</title>')
  const { models: offered, loras, embeddings } = await offer(dir)
  const [tiny, mini] = offered
  assert.ok(tiny && mini)
  assert.deepEqual(namesFor(tiny, loras), ['for tiny'])
  assert.deepEqual(namesFor(mini, loras), [])
  assert.deepEqual([namesFor(tiny, embeddings), namesFor(mini, embeddings)], [['small'], []])
  const why = (name: string) =>
    loras.filter((each) => each.name === name).map((each) => whyNot(each, tiny))[0]
  assert.match(why('for sd15') ?? '', /^is made for Stable Diffusion 1\.x, whose text states are 768 wide/)
  assert.match(why('glora') ?? '', /^cannot be used: this is a GLoRA/)
  assert.match(why('page') ?? '', /^cannot be used: this is a web page/)

  const { stdout } = await models(dir, ['list'])
  for (const name of ['glora', 'page'])
    assert.match(stdout, new RegExp(`${name} .*\\n +CANNOT BE USED`), name)
  assert.doesNotMatch(stdout, /for sd15.*\n +CANNOT/)
  assert.match((await models(dir, ['verify', 'glora'])).stdout, /lora glora: BAD\n {2}this is a GLoRA/)
  const added = await models(dir, ['add', join(dir, 'loras/glora.safetensors'), '--name', 'again'])
  assert.match(added.stderr, /this is a GLoRA/)
})

test('a model without a VAE is offered as long as there is one that fits', async (t) => {
  const dir = await installation(t)
  const content = await readContent(tinyCheckpoint)
  const bare = new Map([...content.tensors].filter(([name]) => !name.startsWith('first_stage_model.')))
  const source = join(tempFolder(t), 'bare.safetensors')
  writeSafetensors(source, { ...content, tensors: bare })
  const added = await models(dir, ['add', source])
  assert.equal(added.status, 0, added.stderr)
  assert.match(added.stdout, /It cannot be used yet: this is a model without a VAE: put .* into vae\//)
  const without = await offer(dir)
  assert.ok(!without.models.some(({ name }) => name === 'bare'))
  assert.match(
    without.unusable?.find(({ name }) => name === 'bare')?.problem ?? '',
    /without a VAE: put .* into vae\//,
  )
  assert.match(
    (await models(dir, ['list'])).stdout,
    /bare .*\n +CANNOT BE USED: this is a model without a VAE/,
  )
  assert.equal((await models(dir, ['verify', 'bare'])).status, 1)

  cpSync(await writeVariant(tempFolder(t), 'vae'), join(dir, 'vae/soft.safetensors'))
  const bareOf = ({ models: offered }: Offer) => offered.find(({ name }) => name === 'bare')
  assert.deepEqual(
    [bareOf(await offer(dir))?.needs_vae, bareOf(await offer(dir))?.default_vae],
    [true, 'soft'],
  )
  assert.equal((await models(dir, ['verify', 'bare'])).stdout, 'model bare: good\n')
  cpSync(join(dir, 'vae/soft.safetensors'), join(dir, 'vae/sharp.safetensors'))
  assert.equal(bareOf(await offer(dir))?.default_vae, undefined, 'somebody has to choose')
  cpSync(join(dir, 'vae/soft.safetensors'), join(dir, 'vae/bare.vae.safetensors'))
  assert.equal(bareOf(await offer(dir))?.default_vae, 'bare.vae', 'the one that was meant for it')
  rmSync(join(dir, 'vae'), { recursive: true })
  assert.equal(bareOf(await offer(dir)), undefined)
})

test('upscalers are offered with every model, tiny VAEs with those that they fit; add puts them where they belong', async (t) => {
  const dir = await installation(t)
  const source = (name: string, content: Parameters<typeof writeSafetensors>[1]) => {
    const path = join(tempFolder(t), `${name}.safetensors`)
    writeSafetensors(path, content)
    return path
  }
  const shapes = rrdbShapes({ num_feat: 8, num_block: 1, num_grow_ch: 4, scale: 4 })
  for (const path of [
    source(
      'four',
      contentOf(shapes, (name) => `params_ema.${name}`),
    ),
    source('taesd', contentOf(taesdShapes())),
    source('taesd3', contentOf(taesdShapes(8))),
  ])
    assert.equal((await models(dir, ['add', path])).status, 0)
  const refused = source(
    'swin',
    contentOf(shapes, (name) => name.replace('conv_body', 'layers.0.residual_group.blocks.0.attn.qkv')),
  )
  const { status, stderr } = await models(dir, ['add', refused])
  assert.notEqual(status, 0)
  assert.match(
    stderr,
    /an upscaler of the kind SwinIR, which cannot be used; RRDBNet \(ESRGAN, Real-ESRGAN\) and SRVGG can/,
  )
  cpSync(refused, join(dir, 'upscalers/swin.safetensors'))
  writeFileSync(join(dir, 'upscalers/RealESRGAN_x4plus.pth'), 'PK')

  const { models: offered, upscalers = [], tiny_vaes = [] } = await offer(dir)
  assert.deepEqual(
    upscalers.map(({ name, enlarges, problem }) => [name, enlarges?.scale, problem?.slice(0, 40)]),
    [
      ['four', 4, undefined],
      ['RealESRGAN_x4plus', undefined, 'this is a pickle: it can run code when it'],
      ['swin', undefined, 'this is an upscaler of the kind SwinIR, '],
    ].map(([name, scale, problem]) => [name, scale, problem && String(problem).slice(0, 40)]),
  )
  const [tiny, mini] = offered
  assert.ok(tiny && mini)
  assert.deepEqual(namesFor(tiny, upscalers), ['four'])
  assert.deepEqual(namesFor(mini, upscalers), ['four'])
  assert.deepEqual(namesFor(tiny, tiny_vaes), ['taesd'])
  assert.deepEqual(namesFor(mini, tiny_vaes), [])
  assert.match((await models(dir, ['verify', 'four'])).stdout, /upscaler four: good/)
})
