import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tempFolder } from '../../test/cleanup.ts'
import { ownEnvironment, ownOptions } from '../../test/kit/own-environment.ts'
import { keyring, parseKeys } from '../jobs/keys.ts'
import { runKeys } from './keys.ts'

const program = fileURLToPath(new URL('./keys.ts', import.meta.url))

/** The command with a file of its own. */
function command(t: TestContext) {
  const path = join(tempFolder(t), 'keys.json')
  const env = { PACKSHOT_KEYS_FILE: path }
  const keys = async (args: string, around: Record<string, string> = env) => {
    const [out, said]: [string[], string[]] = [[], []]
    const code = await runKeys(args === '' ? [] : args.split(' '), {
      env: around,
      print: (line) => out.push(line),
      complain: (line) => said.push(line),
    })
    return { code, out: out.join('\n'), said: said.join('\n') }
  }
  const file = () => parseKeys(readFileSync(path, 'utf8'))
  return { path, env, keys, file, find: (key: string) => keyring(file()).find(key, new Date()) }
}

test('a caller is added, limited, rotated, disabled and removed', async (t) => {
  const { path, keys, file, find } = command(t)
  const added = await keys(
    'add shop --jobs-per-minute 30 --units-per-day 5000 --priority batch --webhook https://shop.example/hook',
  )
  assert.match(added.said, /the only time that the key is shown/)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const found = find(added.out)
  assert.deepEqual([found?.caller.name, found?.fault], ['shop', undefined])
  assert.doesNotMatch(readFileSync(path, 'utf8'), new RegExp(added.out.slice(15)))
  await keys(
    'set shop --priority default --jobs-in-flight 3 --units-per-day default --scopes jobs:write,uploads',
  )
  const { keys: _keys, ...caller } = file().callers[0] ?? {}
  assert.deepEqual(caller, {
    name: 'shop',
    scopes: ['jobs:write', 'uploads'],
    limits: { jobs_per_minute: 30, jobs_in_flight: 3 },
    webhook: { url: 'https://shop.example/hook', secret: 1 },
  })

  const rotated = await keys('rotate shop --keep 2d')
  assert.deepEqual([find(added.out)?.fault, find(rotated.out)?.fault], [undefined, undefined])
  const third = await keys('rotate shop')
  assert.match(third.said, /shop has two live keys, \w{10} and \w{10}\. Disable or remove one first\./)
  const id = found?.keyId ?? ''
  await keys(`disable ${id}`)
  assert.deepEqual([find(added.out)?.fault, find(rotated.out)?.fault], ['disabled', undefined])
  await keys('rotate shop --webhook-secret')
  const listed = await keys('list')
  assert.match(
    listed.out,
    /^shop {2}scopes jobs:write,uploads {2}jobs-per-minute 30 {2}jobs-in-flight 3 {2}webhook https:\S+ {2}webhook-secret number 2$/m,
  )
  assert.match(listed.out, new RegExp(`^  ${id}  created \\S+  expires \\S+  DISABLED$`, 'm'))
  await keys('disable shop')
  assert.equal(find(rotated.out)?.fault, 'disabled')
  await keys('enable shop')
  assert.deepEqual([find(added.out)?.fault, find(rotated.out)?.fault], ['disabled', undefined])
  await keys(`remove ${id}`)
  assert.equal(find(added.out), undefined)
  await keys('remove shop')
  assert.deepEqual(file().callers, [])
})

test('two commands at once both count, and a reader never sees a part of the file', async (t) => {
  const { path, env, keys, file, find } = command(t)
  const apart = (name: string) =>
    new Promise<string>((resolve) => {
      const all = { env: { ...ownEnvironment(), ...env } }
      execFile(process.execPath, [...ownOptions(), program, 'add', name], all, (error, out, said) => {
        resolve(error === null ? out.trim() : said)
      })
    })
  await keys('add first')
  let reads = 0
  const reader = setInterval(() => {
    parseKeys(readFileSync(path, 'utf8'))
    reads += 1
  }, 1)
  const added = await Promise.all(['a', 'b', 'c'].map(apart))
  clearInterval(reader)
  assert.equal(added.filter((key) => find(key) !== undefined).length, 3)
  assert.deepEqual(
    file()
      .callers.map(({ name }) => name)
      .sort(),
    ['a', 'b', 'c', 'first'],
  )
  assert.ok(reads > 0)
})

test('what cannot be done is said in a sentence, and the file stays as it is', async (t) => {
  const { path, keys } = command(t)
  const { said, code } = await keys('add shop', {})
  assert.deepEqual([code, /^PACKSHOT_KEYS_FILE must be set/.test(said)], [1, true])
  await keys('add shop')
  const before = readFileSync(path, 'utf8')
  const wrong: [string, RegExp][] = [
    ['', /^Usage: npm run keys/],
    ['add', /^Usage/],
    ['list shop', /^Usage/],
    ['frobnicate shop', /^Usage/],
    ['add shop', /There is a caller shop already\. `rotate shop`/],
    ['add anonymous', /NAME must be/],
    ['add Shop', /NAME must be/],
    ['add b --keep 3d', /add has no option --keep/],
    ['add b --scopes jobs', /--scopes must be some of jobs:read,/],
    ['add b --jobs-per-minute many', /--jobs-per-minute must be a whole number or "default"/],
    ['add b --expires 2020-01-01', /--expires must be a time to come/],
    ['add b --webhook ftp://x', /--webhook must be an http/],
    ['set nobody --priority batch', /There is no caller nobody\. Callers: shop\./],
    ['disable nothing', /There is no caller and no key nothing/],
  ]
  for (const [args, message] of wrong) {
    const answer = await keys(args)
    assert.deepEqual([answer.code, answer.out], [1, ''], args)
    assert.match(answer.said, message, args)
    assert.doesNotMatch(answer.said, / at .*\.ts:/, args)
  }
  assert.equal(readFileSync(path, 'utf8'), before)
  writeFileSync(path, before.slice(0, 40))
  for (const args of ['list', 'add b'])
    assert.match((await keys(args)).said, /keys\.json is not complete JSON/)
  assert.equal((await keys('--help')).code, 0)
})
