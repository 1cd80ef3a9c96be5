import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { type KeysFile, newKey } from '../../jobs/keys.ts'
import { changeKeys, loadKeys, watchKeys } from './keys-file.ts'

const uid = process.getuid?.()
const key = newKey(new Date())
const of = (name: string, { stored } = key): KeysFile => ({ version: 1, callers: [{ name, keys: [stored] }] })

/** A folder with a keys file of `shop`. */
function folder(t: TestContext) {
  const dir = tempFolder(t)
  const path = join(dir, 'keys.json')
  writeFileSync(path, JSON.stringify(of('shop')), { mode: 0o600 })
  return { dir, path }
}

async function watched(t: TestContext, path: string) {
  const log = keepingLog()
  const keys = await watchKeys({ path, uid }, log, 10)
  lastFirst(t).after(() => keys.close())
  return { log, owner: () => keys.current().find(key.key, new Date())?.caller.name }
}

test('a file that is missing, damaged, not private or no file is refused at startup with what to do', async (t) => {
  const { dir, path } = folder(t)
  const refused = (at: string, message: RegExp) =>
    assert.rejects(watchKeys({ path: at, uid }, keepingLog()), { code: 'unavailable', message })
  await refused(
    join(dir, 'none.json'),
    /There is no keys file .*npm run keys -- add NAME.*PACKSHOT_KEYS_FILE/,
  )
  await refused(dir, /is not a file/)
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o620, 0o602]) {
    chmodSync(path, mode)
    const can = (mode & 0o022) === 0 ? 'read' : 'changed'
    await refused(
      path,
      new RegExp(`can be ${can} by other users \\(mode ${mode.toString(8)}\\). Run: chmod 600 /`),
    )
  }
  chmodSync(path, 0o440)
  const mounted = watchKeys({ path, uid: 1000 }, keepingLog())
  // as Kubernetes mounts a secret for the group of a pod; a file of the user itself must not be open to its group
  if (uid === 0) (await mounted).close()
  else await assert.rejects(mounted, { message: /can be read by other users/ })
  chmodSync(path, 0o600)
  writeFileSync(path, '{"version":1,')
  await refused(path, /keys\.json is not complete JSON/)
})

test('a change is read within a moment: in place, by another file, and through links as Kubernetes swaps them', async (t) => {
  const { dir, path } = folder(t)
  const first = await watched(t, path)
  writeFileSync(path, JSON.stringify(of('written')))
  await waitFor(() => first.owner() === 'written')
  writeFileSync(join(dir, 'new'), JSON.stringify(of('renamed')), { mode: 0o600 })
  renameSync(join(dir, 'new'), path)
  await waitFor(() => first.owner() === 'renamed')

  for (const name of ['one', 'two']) {
    mkdirSync(join(dir, name))
    writeFileSync(join(dir, name, 'keys.json'), JSON.stringify(of(name)), { mode: 0o600 })
  }
  symlinkSync('one', join(dir, '..data'))
  const mounted = join(dir, 'mounted.json')
  symlinkSync('..data/keys.json', mounted)
  const second = await watched(t, mounted)
  assert.equal(second.owner(), 'one')
  symlinkSync('two', join(dir, '..new'))
  renameSync(join(dir, '..new'), join(dir, '..data'))
  await waitFor(() => second.owner() === 'two')
})

test('a half-written, public or lost file is logged once, and the last good keys stay', async (t) => {
  const { path } = folder(t)
  const { log, owner } = await watched(t, path)
  const text = JSON.stringify(of('next'))
  const errors = () => log.lines.filter(({ level }) => level === 'error').map(({ message }) => message)
  const spoil: [() => void, RegExp][] = [
    [() => writeFileSync(path, text.slice(0, text.length / 2)), /not complete JSON/],
    [() => chmodSync(path, 0o644), /can be read by other users/],
    [() => rmSync(path), /There is no keys file/],
    [() => mkdirSync(path), /is not a file/],
  ]
  for (const [index, [action, message]] of spoil.entries()) {
    action()
    await waitFor(() => errors().length === index + 1)
    assert.match(errors().at(-1) ?? '', message)
    assert.match(errors().at(-1) ?? '', /The keys that were read before stay in use\.$/)
    assert.equal(owner(), 'shop')
  }
  rmSync(path, { recursive: true })
  writeFileSync(path, text, { mode: 0o600 })
  await waitFor(() => owner() === 'next')
  assert.doesNotMatch(JSON.stringify(log.lines), new RegExp(key.stored.sha256))
})

test('the command writes a private file, through links, with nothing left over', async (t) => {
  const { dir, path } = folder(t)
  const link = join(dir, 'link.json')
  symlinkSync('keys.json', link)
  await changeKeys({ path: link, uid }, (keys) => ({
    ...keys,
    callers: [...keys.callers, { name: 'b', keys: [] }],
  }))
  assert.deepEqual(
    (await loadKeys({ path, uid })).callers.map(({ name }) => name),
    ['shop', 'b'],
  )
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const fresh = join(dir, 'fresh.json')
  await changeKeys({ path: fresh, uid }, () => of('first'))
  assert.equal(statSync(fresh).mode & 0o777, 0o600)
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.includes('tmp')),
    [],
  )
  const before = readFileSync(path, 'utf8')
  const failing = () => {
    throw new Error('no')
  }
  await assert.rejects(changeKeys({ path, uid }, failing), /^Error: no$/)
  assert.equal(readFileSync(path, 'utf8'), before)
  await assert.rejects(
    changeKeys({ path: join(dir, 'nowhere', 'keys.json'), uid }, () => of('x')),
    {
      message: /cannot be written \(there is no such folder\)/,
    },
  )
})
