import assert from 'node:assert/strict'
import test from 'node:test'
import { createPictureLinks } from './picture-links.ts'

const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
const id = '01kbfv5m8e0000000000000000abcdefghjkmnpqrs'

test('a link opens to its picture, with the secret that made it and no other', () => {
  const links = createPictureLinks(one)
  const link = links.issue(id, 3)
  assert.equal(link, links.issue(id, 3))
  assert.notEqual(link, links.issue(id, 2))
  assert.ok(!Buffer.from(link, 'base64url').includes(id.slice(0, 10)))
  assert.deepEqual(links.open(link), { id, index: 3 })
  assert.deepEqual(createPictureLinks(two, one).open(link), { id, index: 3 })
  assert.throws(() => createPictureLinks(two).open(link), { code: 'not_found', param: 'link' })
})

test('a link that was changed, cut or made up opens nothing', () => {
  const links = createPictureLinks(one)
  const link = links.issue(id, 0)
  const changed = [...link].map(
    (letter, at) => link.slice(0, at) + (letter === 'A' ? 'B' : 'A') + link.slice(at + 1),
  )
  for (const each of [
    ...changed,
    link.slice(0, -4),
    `${link}x`,
    `${link}=`,
    '',
    'x',
    '../..',
    id,
    'A'.repeat(5000),
  ]) {
    assert.throws(() => links.open(each), { code: 'not_found' })
  }
})
