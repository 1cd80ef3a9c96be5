import assert from 'node:assert/strict'
import { test } from 'node:test'
import { foreignContent, foreignName } from './foreign-file.ts'

test('each refused format has a sentence of its own, found by any spelling of its ending', () => {
  const cases: Record<string, RegExp> = {
    'models/x.ckpt': /^this is a pickle/,
    'x.PT': /^this is a pickle/,
    'x.pkl': /^this is a pickle/,
    'x.gguf': /^this is a GGUF file/,
    '/path/of/a/url/x.GGUF': /^this is a GGUF file/,
    'x.onnx': /^this is an ONNX file/,
    'x.msgpack': /^this is a Flax file/,
    'x.tar.gz': /^this is an archive; unpack it/,
  }
  for (const [path, sentence] of Object.entries(cases)) assert.match(foreignName(path) ?? '', sentence, path)
  for (const path of ['x.safetensors', 'x', 'x.json', 'notes.txt', 'ckpt', 'x.sha256'])
    assert.equal(foreignName(path), undefined, path)
})

test('a format that is known by name and by content has one sentence', () => {
  assert.equal(foreignContent(Buffer.from('GGUF\x03\x00\x00\x00')), foreignName('x.gguf'))
  assert.equal(foreignContent(Buffer.from('PK\x03\x04\x00\x00\x08\x08')), foreignName('x.ckpt'))
  assert.equal(foreignContent(Buffer.from([8, 0, 0, 0, 0, 0, 0, 0])), undefined)
})

test('what a site sends in place of a file is named for what it is', () => {
  const cases: [string | Uint8Array, RegExp][] = [
    [
      '{"error":"Unauthorized","message":"log in first"}',
      /JSON text, the answer of a site \("Unauthorized"\)/,
    ],
    ['\ufeff  {"message": "Invalid \\"key\\""}', /JSON text.*Invalid/],
    ['[]', /JSON text/],
    ['<!DOCTYPE html><html lang="en">', /web page.*login/],
    ['\n\n<head>', /web page/],
    [Buffer.from('\ufeff<html>', 'utf16le'), /web page/],
    ['<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /XML text/],
    ['Entry not found', /this is a text \("Entry not found"\)/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:1', /Git LFS pointer/],
    [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), /archive/],
    [Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), /picture/],
  ]
  for (const [content, sentence] of cases) {
    assert.match(foreignContent(Buffer.from(content)) ?? '', sentence, String(content))
  }
})
