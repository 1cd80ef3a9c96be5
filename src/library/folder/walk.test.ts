import assert from 'node:assert/strict'
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { tinyCheckpoint } from '../../../test/golden/parity/variants.ts'
import { models } from '../../../test/models/command.ts'
import { Library } from '../library.ts'
import { listModels } from './list.ts'
import { walk } from './walk.ts'

/** A folder with these files, empty unless they have a text. */
function folderWith(t: TestContext, files: readonly string[]): string {
  const dir = tempFolder(t)
  for (const file of files) {
    mkdirSync(join(dir, file, '..'), { recursive: true })
    writeFileSync(join(dir, file), '')
  }
  return dir
}

async function names(dir: string): Promise<string[]> {
  return (await walk(dir)).found.map(({ kind, name }) => `${kind} ${name}`).sort()
}

test('files may be sorted into folders, and their names stay what prompts call them', async (t) => {
  const dir = folderWith(t, [
    'sd15/photo/real.safetensors',
    'plain.SAFETENSORS',
    'Füße und 苹果.safetensors',
    'loras/style/ink.safetensors',
    'loras/style/more/pencil.safetensors',
    'embeddings/negative/bad hands.safetensors',
    'vae/sub/sharp.safetensors',
  ])
  assert.deepEqual(await names(dir), [
    'embedding bad hands',
    'lora ink',
    'lora pencil',
    'model Füße und 苹果',
    'model plain',
    'model real',
    'vae sharp',
  ])
})

test('what systems leave behind, other files and unfinished downloads are nobody`s models', async (t) => {
  const dir = folderWith(t, [
    '._x.safetensors',
    '.DS_Store',
    '__MACOSX/._y.safetensors',
    '__MACOSX/y.safetensors',
    'lost+found/z.safetensors',
    'notes.txt',
    'x.png',
    'loras/ink.civitai.info',
    'loras/ink.preview.png',
    'loras/._ink.safetensors',
    'rest.partial',
  ])
  const { found, partials, remarks } = await walk(dir)
  assert.deepEqual([found, remarks], [[], []])
  assert.deepEqual(partials, [join(dir, 'rest.partial')])
})

test('the parts of an incomplete model folder are no models of their own', async (t) => {
  const dir = folderWith(t, ['half/unet/diffusion_pytorch_model.safetensors', 'half/vae/config.json'])
  assert.deepEqual(await names(dir), ['model half'])
  const [entry] = (await listModels(dir)).entries
  assert.match(entry?.problem?.detail ?? '', /model_index\.json: the file is missing/)
})

test('links to files count, links to folders are not followed, and a circle ends', async (t) => {
  const elsewhere = folderWith(t, ['secret/x.safetensors', 'cache/blob'])
  const dir = folderWith(t, ['loras/a/one.safetensors'])
  symlinkSync(join(elsewhere, 'cache/blob'), join(dir, 'loras/linked.safetensors'))
  symlinkSync(join(elsewhere, 'secret'), join(dir, 'loras/outside'))
  symlinkSync(join(dir, 'loras'), join(dir, 'loras/a/circle'))
  symlinkSync(join(dir, 'gone'), join(dir, 'loras/dangling.safetensors'))
  const { found, remarks } = await walk(dir)
  assert.deepEqual(found.map(({ name }) => name).sort(), ['linked', 'one'])
  assert.equal(remarks.filter((remark) => /links to other folders are not searched/.test(remark)).length, 2)
})

test('folders that are too deep are named and not searched', async (t) => {
  const dir = folderWith(t, ['loras/1/2/3/4/in.safetensors', 'loras/1/2/3/4/5/out.safetensors'])
  const { found, remarks } = await walk(dir)
  assert.deepEqual(
    found.map(({ name }) => name),
    ['in'],
  )
  assert.match(remarks.join(), /4\/5: folders this deep are not searched/)
})

test('a folder that may not be read is named, and keeps nothing else from being used', {
  skip: process.getuid?.() === 0 && 'root may read everything',
}, async (t) => {
  const dir = folderWith(t, ['loras/closed/x.safetensors'])
  cpSync(tinyCheckpoint, join(dir, 'good.safetensors'))
  chmodSync(join(dir, 'loras/closed'), 0)
  lastFirst(t).after(() => chmodSync(join(dir, 'loras/closed'), 0o700))
  const contents = await new Library({ model: 'good', modelsDir: dir }).read()
  assert.equal(contents.models[0]?.name, 'good')
  assert.match(contents.remarks.join(), /closed: it cannot be searched \(EACCES/)
})

test('a file in the place of a folder is named, and keeps nothing else from being used', async (t) => {
  const dir = folderWith(t, ['loras'])
  cpSync(tinyCheckpoint, join(dir, 'good.safetensors'))
  const contents = await new Library({ model: 'good', modelsDir: dir }).read()
  assert.equal(contents.models[0]?.name, 'good')
  assert.match((await models(dir, ['list'])).stdout, /note: .*loras: it cannot be searched \(ENOTDIR/)
})

test('the size of a model folder is that of the files that are read, whatever else is in it', async (t) => {
  const dir = folderWith(t, ['tiny/backup/huge.safetensors'])
  cpSync(join(import.meta.dirname, '../../../test/golden/tiny-sd'), join(dir, 'tiny'), { recursive: true })
  const before = (await listModels(dir)).entries[0]?.bytes
  writeFileSync(join(dir, 'tiny/backup/huge.safetensors'), Buffer.alloc(3_000_000))
  const after = (await listModels(dir)).entries
  assert.deepEqual(
    after.map(({ name, bytes }) => [name, bytes]),
    [['tiny', before]],
  )
})
