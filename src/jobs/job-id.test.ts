import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createJobIds, hasExpired, isJobIdShaped, jobIdTime } from './job-id.ts'

const ids = createJobIds(Buffer.from('secret'))

test('an id has 42 characters, sorts by time and knows it', () => {
  const [early, late] = [new Date('2026-11-22T12:00:00.123Z'), new Date('2026-11-22T12:00:00.124Z')]
  const [first, second] = [ids.issue(early), ids.issue(late)]
  assert.match(first, /^[0-9a-hjkmnp-tv-z]{42}$/)
  assert.ok(first < second)
  assert.deepEqual(ids.issuedAt(first), early)
  assert.notEqual(ids.issue(early), first)
  ids.verify(first)
})

test('the time part is that of the ULID specification', () => {
  assert.deepEqual(jobIdTime(`01arz3ndek${'0'.repeat(32)}`), new Date(1469922850259))
})

test('an id of another installation, or with one character changed, was never issued', () => {
  const id = ids.issue(new Date())
  const foreign = createJobIds(Buffer.from('another')).issue(new Date())
  for (const other of [foreign, ...Array.from(id, (_, i) => replaced(id, i))]) {
    assert.throws(() => ids.verify(other), { code: 'not_found', param: 'id' })
  }
})

function replaced(id: string, i: number): string {
  return id.slice(0, i) + (id[i] === '1' ? '2' : '1') + id.slice(i + 1)
}

test('only what has the shape of an id can become a path', () => {
  assert.ok(isJobIdShaped(ids.issue(new Date())))
  for (const text of ['', '.', '..', 'a/b', '0'.repeat(41), `${'0'.repeat(42)}\n`, 'I'.repeat(42)]) {
    assert.equal(isJobIdShaped(text), false)
    assert.throws(() => ids.verify(text), { code: 'not_found' })
  }
})

test('a key stands for the same id all hour, and for the last one in the next', () => {
  const at = (time: string) => ids.fromKey('ann', 'key', new Date(time))
  const [current, before] = at('2026-11-22T12:00:00Z')
  assert.deepEqual(at('2026-11-22T12:59:59.999Z'), [current, before])
  assert.equal(at('2026-11-22T13:00:00Z')[1], current)
  assert.notEqual(ids.fromKey('ann', 'other', new Date('2026-11-22T12:00:00Z'))[0], current)
  ids.verify(current)
})

test('the same key of another caller, or with another secret, stands for another id and seed', () => {
  const now = new Date('2026-11-22T12:00:00Z')
  const others = createJobIds(Buffer.from('another secret'))
  const all = [
    [ids, 'ann', 'key'],
    [ids, 'bob', 'key'],
    [ids, 'an', 'nkey'],
    [others, 'ann', 'key'],
  ] as const
  const seen = all.map(([by, account, key]) => [
    by.fromKey(account, key, now)[0],
    by.seedFromKey(account, key),
  ])
  assert.equal(new Set(seen.map(([id]) => id)).size, 4)
  assert.equal(new Set(seen.map(([, seed]) => seed)).size, 4)
  assert.equal(ids.seedFromKey('ann', 'key'), seen[0]?.[1])
})

test('an id expires after its time, one made of a key not before its job does', () => {
  const issued = new Date('2026-11-22T12:34:56.789Z')
  const id = ids.issue(issued)
  const [keyed] = ids.fromKey('ann', 'key', issued)
  const after = (seconds: number) => new Date(issued.getTime() + seconds * 1000)
  assert.deepEqual([hasExpired(id, 60, after(59)), hasExpired(id, 60, after(60))], [false, true])
  assert.deepEqual([hasExpired(keyed, 60, after(59)), hasExpired(keyed, 60, after(3661))], [false, true])
})

test('ids that an older secret signed are still accepted, and none is issued with it', () => {
  const [old, young] = [createJobIds(Buffer.from('old')), createJobIds(Buffer.from('young'))]
  const both = createJobIds(Buffer.from('young'), Buffer.from('old'))
  const now = new Date()
  for (const id of [old.issue(now), young.issue(now)]) both.verify(id)
  both.uploads.verify(old.uploads.issue(now))
  young.verify(both.issue(now))
  assert.throws(() => old.verify(both.issue(now)))
  assert.throws(() => both.verify(old.uploads.issue(now)), /id of an upload/)
})

test('an id belongs to one caller: for every other it was never issued, with or without a name', () => {
  const ids = createJobIds(Buffer.alloc(32, 7))
  const now = new Date()
  const issued: [string, string?][] = [
    [ids.issue(now, 'ann'), 'ann'],
    [ids.fromKey('caller:ann', 'key', now, 'ann')[0], 'ann'],
    [ids.fromName('row 1', now, 'ann'), 'ann'],
    [ids.issue(now)],
  ]
  for (const [id, owner] of issued) {
    ids.verify(id, owner)
    for (const other of ['ann', 'bob', 'an', undefined].filter((each) => each !== owner)) {
      assert.throws(() => ids.verify(id, other), { code: 'not_found', message: /There is no job/ })
    }
  }
  const upload = ids.uploads.issue(now, 'ann')
  ids.uploads.verify(upload, 'ann')
  for (const other of ['bob', undefined]) {
    assert.throws(() => ids.uploads.verify(upload, other), {
      code: 'not_found',
      message: /There is no upload/,
    })
    assert.throws(() => ids.verify(upload, other), { code: 'not_found', message: /There is no job/ })
  }
})
