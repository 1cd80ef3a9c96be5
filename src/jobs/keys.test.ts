import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type KeysFile, keyring, newKey, parseKeys, withoutSecrets } from './keys.ts'
import { createSessions, sessionSeconds } from './sessions.ts'

const now = new Date('2026-11-28T10:00:00Z')
const later = (seconds: number) => new Date(now.getTime() + seconds * 1000)

test('a key has 256 random bits, is found by its id, and only its hash is kept', () => {
  const { key, stored } = newKey(now)
  assert.match(key, /^pks_[0-9a-hjkmnp-tv-z]{10}_[0-9A-Za-z]{43}$/)
  assert.doesNotMatch(JSON.stringify(stored), new RegExp(key.slice(15)))
  const file = parseKeys(JSON.stringify({ version: 1, callers: [{ name: 'shop', keys: [stored] }] }))
  assert.deepEqual(keyring(file).find(key, now), {
    caller: file.callers[0],
    keyId: stored.id,
    fault: undefined,
  })
  assert.equal(withoutSecrets(`{"header":"${key}"}`), `{"header":"pks_${stored.id}_..."}`)
})

test('any other text is no key: another secret, another id, a part, more, or nothing', () => {
  const { key, stored } = newKey(now)
  const ring = keyring({ version: 1, callers: [{ name: 'shop', keys: [stored] }] })
  const other = newKey(now).key
  const wrong = [
    other,
    `pks_${stored.id}_${other.slice(15)}`,
    `${other.slice(0, 15)}${key.slice(15)}`,
    key.slice(0, -1),
    `${key}x`,
    `${key} `,
    key.toUpperCase(),
    stored.sha256,
    `pks_${stored.id}_${stored.sha256}`,
    '',
    'pks_constructor_',
    'x'.repeat(100_000),
  ]
  for (const text of wrong) assert.equal(ring.find(text, now), undefined, text.slice(0, 80))
})

test('a key that is disabled, whose caller is, or whose time is over is found with the reason', () => {
  const [live, off, old] = [newKey(now), newKey(now), newKey(now, later(60))]
  const keys = [live.stored, { ...off.stored, disabled: true }, old.stored]
  const file = (disabled?: boolean): KeysFile => ({
    version: 1,
    callers: [{ name: 'shop', ...(disabled === undefined ? {} : { disabled }), keys }],
  })
  const faults = (ring: ReturnType<typeof keyring>, at: Date) =>
    [live, off, old].map(({ key }) => ring.find(key, at)?.fault)
  assert.deepEqual(faults(keyring(file()), now), [undefined, 'disabled', undefined])
  assert.deepEqual(faults(keyring(file()), later(60)), [undefined, 'disabled', 'expired'])
  assert.deepEqual(faults(keyring(file(true)), now), ['disabled', 'disabled', 'disabled'])
  const recalled = (name: string) => keyring(file()).recall(live.stored.id, name, now)?.keyId
  assert.deepEqual([recalled('shop'), recalled('other')], [live.stored.id, undefined])
})

test('a file that is wrong is refused with the place, and without anything that is in it', () => {
  const { stored } = newKey(now)
  const shop = { name: 'shop', keys: [stored] }
  const wrong: [unknown, RegExp][] = [
    ['', /^is empty$/],
    ['{"version":1,"callers":[{"na', /^is not complete JSON$/],
    [[], /^is wrong at \//],
    [{ version: 2, callers: [] }, /^is wrong at \/version/],
    [{ version: 1, callers: [{ ...shop, name: 'a shop' }] }, /^is wrong at \/callers\/0\/name/],
    [{ version: 1, callers: [{ ...shop, name: 'anonymous' }] }, /must not name a caller "anonymous"/],
    [
      { version: 1, callers: [{ ...shop, limits: { jobs_a_minute: 3 } }] },
      /callers\/0\/limits.*jobs_a_minute/,
    ],
    [{ version: 1, callers: [{ ...shop, scopes: ['everything'] }] }, /callers\/0\/scopes/],
    [{ version: 1, callers: [{ ...shop, priorities: [] }] }, /callers\/0\/priorities/],
    [{ version: 1, callers: [shop, { ...shop, keys: [] }] }, /^has "shop" twice$/],
    [{ version: 1, callers: [shop, { ...shop, name: 'b' }] }, new RegExp(`^has "${stored.id}" twice$`)],
    [{ version: 1, callers: [{ ...shop, keys: [{ ...stored, sha256: 'secret' }] }] }, /keys\/0\/sha256/],
    [{ version: 1, callers: [{ ...shop, keys: [{ ...stored, expires: 'soon' }] }] }, /time of the key/],
  ]
  for (const [content, message] of wrong) {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    assert.throws(
      () => parseKeys(text),
      (error: Error) => message.test(error.message) && !/secret|soon|everything/.test(error.message),
      text,
    )
  }
})

test('a session names the key, is signed, and ends', () => {
  const [one, two] = [Buffer.from('one'), Buffer.from('two')]
  const session = createSessions([one]).issue('shop', '0123456789', now)
  const read = (text: string, secrets = [one], at = now) => createSessions(secrets).read(text, at)?.name
  assert.equal(read(session), 'shop')
  assert.equal(read(session, [two, one]), 'shop', 'signed with the secret of before')
  assert.equal(read(session, [two]), undefined)
  assert.equal(read(session, [one], later(sessionSeconds)), undefined)
  const [payload = '', mac = ''] = session.split('.')
  const forged = Buffer.from(JSON.stringify({ name: 'admin', key: '0123456789', until: 9e15 })).toString(
    'base64url',
  )
  for (const text of [
    '',
    '.',
    payload,
    `${payload}.`,
    `${forged}.${mac}`,
    `${payload}.${mac}.${mac}`,
    `.${mac}`,
  ])
    assert.equal(read(text), undefined, text)
})
