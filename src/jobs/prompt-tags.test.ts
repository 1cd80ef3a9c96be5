import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tagsIn, withoutComments, withoutTags } from './prompt-tags.ts'

test('a tag is a name, a colon and anything; other angle brackets are text', () => {
  const prompt = 'a <segment:blue box:0.5> box <wildcard:x> <segment:blue box:0.5>'
  assert.deepEqual(tagsIn(prompt), ['<segment:blue box:0.5>', '<wildcard:x>'])
  assert.equal(withoutTags(prompt), 'a  box  ')
  for (const text of ['I <3 apples', '<cat-toy>', 'a < b: c > d', '<segment:open', '<:x>', '']) {
    assert.deepEqual([withoutTags(text), tagsIn(text)], [text, []])
  }
})

test('a comment ends with its line', () => {
  assert.equal(withoutComments('# a blue box\na red apple'), '\na red apple')
  assert.equal(withoutComments('a red apple # or green\r\n#\non wood#'), 'a red apple \r\n\non wood')
  assert.equal(withoutComments('a red apple'), 'a red apple')
})
