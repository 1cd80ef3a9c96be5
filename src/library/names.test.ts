import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkAddress, DownloadError, dispositionName } from './download/addresses.ts'
import { chooseFiles, parseHubId } from './download/hub.ts'
import { nameFault, safeName } from './folder/names.ts'

test('names are parts of paths, and nothing leads out of the folder', () => {
  for (const name of ['epiCPhotoGasm_zUniversal', 'add detail (v1.0)', 'été-2', '写真', "it's +1", 'a..b']) {
    assert.equal(nameFault(name), undefined, name)
  }
  for (const name of [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'a\\b',
    '.x',
    ' x',
    'x ',
    'a:b',
    'a<b>',
    'a\0b',
    'a\nb',
    'x'.repeat(101),
    '|',
  ]) {
    assert.notEqual(nameFault(name), undefined, JSON.stringify(name))
  }
  assert.match(nameFault('é'.repeat(51)) ?? '', /has 102 bytes, at most 100 are allowed/)
})

test('whatever a server calls a file becomes a name', () => {
  const cases: [string, string][] = [
    ['epi.safetensors', 'epi'],
    ['../../etc/passwd', 'passwd'],
    ['..\\..\\x.safetensors', 'x'],
    ['.hidden', 'hidden'],
    ['...', 'model'],
    ['', 'model'],
    ['a:b*c?.safetensors', 'a_b_c_'],
    ['loras', 'model-loras'],
    ['x.safetensors.partial', 'model-x-safetensors'],
    [`${'é'.repeat(200)}.safetensors`, 'é'.repeat(50)],
  ]
  for (const [given, name] of cases) {
    assert.equal(safeName(given), name)
    assert.equal(nameFault(safeName(given)), undefined)
  }
})

test('hub ids', () => {
  assert.deepEqual(parseHubId('stable-diffusion-v1-5/stable-diffusion-v1-5'), {
    owner: 'stable-diffusion-v1-5',
    name: 'stable-diffusion-v1-5',
  })
  assert.deepEqual(parseHubId('a/b:c/d.safetensors'), { owner: 'a', name: 'b', file: 'c/d.safetensors' })
  assert.deepEqual(parseHubId('a/b/d.safetensors'), { owner: 'a', name: 'b', file: 'd.safetensors' })
  for (const text of [
    'a',
    'a/b/c',
    './b',
    'a/b.safetensors',
    'a/b:../c.safetensors',
    '../b',
    'a/b:c.ckpt',
    '/a/b',
  ]) {
    assert.equal(parseHubId(text), undefined, text)
  }
})

test('of a hub`s files those are chosen that the engine reads, in the precision that is wanted', () => {
  const files = [
    'model_index.json',
    'unet/config.json',
    'unet/diffusion_pytorch_model.safetensors',
    'unet/diffusion_pytorch_model.fp16.safetensors',
    'vae/diffusion_pytorch_model.safetensors',
    'text_encoder/model.fp16.safetensors',
    'unet/diffusion_pytorch_model.bin',
    'safety_checker/model.safetensors',
    'tokenizer/vocab.json',
  ].map((path) => ({ path, url: '', size: 1 }))
  const names = (precision: 'fp16' | 'fp32') =>
    chooseFiles(files, precision, 'a/b')
      .map(({ path }) => path)
      .filter((path) => path.endsWith('.safetensors'))
  assert.deepEqual(names('fp16'), [
    'text_encoder/model.fp16.safetensors',
    'unet/diffusion_pytorch_model.fp16.safetensors',
    'vae/diffusion_pytorch_model.safetensors',
  ])
  assert.deepEqual(names('fp32'), [
    'text_encoder/model.fp16.safetensors',
    'unet/diffusion_pytorch_model.safetensors',
    'vae/diffusion_pytorch_model.safetensors',
  ])
  const refused = (rest: typeof files, pattern: RegExp) =>
    assert.throws(
      () => chooseFiles(rest, 'fp16', 'a/b'),
      (thrown) => thrown instanceof DownloadError && pattern.test(thrown.message),
    )
  refused(files.slice(0, 4), /a\/b: text_encoder\/model\.safetensors is missing/)
  refused(
    files.slice(2, 3),
    /no model_index\.json.*name one of its files, such as a\/b:unet\/diffusion_pytorch_model\.safetensors/,
  )
  refused([], /it has no \.safetensors files either$/)
  const of = (path: string) => ({ path, url: '', size: 1 })
  refused(
    [of('README.md'), of('model.gguf')],
    /no \.safetensors files either; model\.gguf: this is a GGUF file/,
  )
  const pickled = [of('model_index.json'), of('text_encoder/pytorch_model.bin'), of('unet/model.onnx')]
  refused(
    pickled,
    /text_encoder\/model\.safetensors is missing; text_encoder\/pytorch_model\.bin: this is a pickle/,
  )
})

test('http is for this machine or with a hash, and https never becomes http', () => {
  const at = (text: string) => new URL(text)
  assert.throws(() => checkAddress(at('http://example.com/x'), at('http://example.com/x'), false), /--sha256/)
  checkAddress(at('http://example.com/x'), at('http://example.com/x'), true)
  checkAddress(at('http://localhost:1/x'), at('http://localhost:1/x'), false)
  assert.throws(
    () => checkAddress(at('http://127.0.0.1/x'), at('https://example.com/x'), true),
    /redirect from https to http is refused/,
  )
  assert.throws(() => checkAddress(at('ftp://example.com/x'), at('ftp://example.com/x'), true), /only https/)
})

test('names in Content-Disposition', () => {
  assert.equal(dispositionName('attachment; filename="a \\"b\\".safetensors"'), 'a "b".safetensors')
  assert.equal(
    dispositionName("attachment; filename=x; filename*=UTF-8''%C3%A9pi.safetensors"),
    'épi.safetensors',
  )
  assert.equal(dispositionName('inline'), undefined)
})
