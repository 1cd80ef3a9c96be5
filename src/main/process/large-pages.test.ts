import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { type PageSystem, withLargePages } from './large-pages.ts'

const root = join(import.meta.dirname, '../../..')
const launcher = join(root, 'scripts/with-large-pages.ts')
const able: PageSystem = {
  platform: 'linux',
  glibc: '2.36',
  transparentHugePages: 'always [madvise] never\n',
}

const large = 'glibc.malloc.hugetlb=1'
const returned = 'glibc.malloc.mmap_threshold=131072'

describe('the environment of what computes', () => {
  test('asks for large pages, has freed memory returned, and keeps what is there', () => {
    assert.deepEqual(withLargePages({ PATH: '/bin' }, able), {
      env: { PATH: '/bin', GLIBC_TUNABLES: `${large}:${returned}` },
    })
    assert.deepEqual(withLargePages({ GLIBC_TUNABLES: '' }, able).env, {
      GLIBC_TUNABLES: `${large}:${returned}`,
    })
    const others = 'glibc.malloc.arena_max=2:glibc.malloc.check=1'
    assert.deepEqual(withLargePages({ GLIBC_TUNABLES: others }, able).env, {
      GLIBC_TUNABLES: `${others}:${large}:${returned}`,
    })
  })

  test('stays as it is where somebody decided, without a word', () => {
    for (const env of [
      { GLIBC_TUNABLES: `glibc.malloc.hugetlb=0:glibc.malloc.mmap_threshold=1` },
      { GLIBC_TUNABLES: `glibc.malloc.mmap_threshold=2:glibc.malloc.hugetlb=2` },
      { PACKSHOT_LARGE_PAGES: 'off' },
    ]) {
      assert.deepEqual(withLargePages(env, able), { env })
    }
    const small = 'glibc.malloc.hugetlb=0'
    assert.deepEqual(withLargePages({ GLIBC_TUNABLES: small }, able), {
      env: { GLIBC_TUNABLES: `${small}:${returned}` },
    })
    const once = withLargePages({}, able).env
    assert.deepEqual(withLargePages(once, able), { env: once })
  })

  test('asks for no large pages where they come unasked', () => {
    const always = { ...able, transparentHugePages: '[always] madvise never\n' }
    assert.deepEqual(withLargePages({}, always), { env: { GLIBC_TUNABLES: returned } })
  })

  test('has no large pages where the system cannot do it, with a sentence', () => {
    const cases: readonly [Partial<PageSystem>, RegExp][] = [
      [{ platform: 'darwin', glibc: undefined }, /^Large memory pages are not used: only Linux /],
      [{ platform: 'win32', glibc: undefined }, /only Linux /],
      [{ glibc: undefined }, /C library is not glibc/],
      [{ glibc: '2.31' }, /glibc 2\.31 cannot .* 2\.35 and later/],
      [{ glibc: '1.99' }, /glibc 1\.99 cannot /],
      [{ transparentHugePages: 'always madvise [never]\n' }, /switched off \(.*transparent_hugepage/],
      [{ transparentHugePages: undefined }, /switched off/],
    ]
    for (const [system, expected] of cases) {
      const { env, note = '' } = withLargePages({ A: '1' }, { ...able, ...system })
      const glibc = 'glibc' in system ? system.glibc : able.glibc
      assert.deepEqual(env, { A: '1', ...(glibc !== undefined && { GLIBC_TUNABLES: returned }) })
      assert.match(note, expected)
    }
    assert.equal(withLargePages({}, { ...able, glibc: '2.35' }).note, undefined)
    assert.equal(withLargePages({}, { ...able, glibc: '3.0' }).note, undefined)
  })
})

describe('a program that is run with large pages', { skip: process.platform === 'win32' }, () => {
  /** The variable set by hand: these tests must not depend on what this system supports. */
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    GLIBC_TUNABLES: `${large}:${returned}`,
    NODE_OPTIONS: '',
  }

  function program(t: Parameters<typeof tempFolder>[0], body: string): string {
    const file = join(tempFolder(t), 'program.mjs')
    writeFileSync(file, body)
    return file
  }

  test('has its arguments, options of Node and environment, and one process id', async (t) => {
    const file = program(
      t,
      `const { argv, execArgv, env, pid } = process
       console.log(JSON.stringify({ argv, execArgv, tunables: env.GLIBC_TUNABLES, pid }))`,
    )
    const child = spawn(process.execPath, ['--stack-size=900', launcher, file, '--a', 'b c', ''], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    assert.deepEqual(JSON.parse(await text(child.stdout)), {
      argv: [process.execPath, file, '--a', 'b c', ''],
      execArgv: ['--stack-size=900'],
      tunables: env.GLIBC_TUNABLES,
      pid: child.pid,
    })
  })

  test('has its streams, and ends with its own status', async (t) => {
    const file = program(
      t,
      `import { text } from 'node:stream/consumers'
       console.error(await text(process.stdin))
       process.exitCode = 7`,
    )
    const child = spawn(process.execPath, [launcher, file], { env, stdio: ['pipe', 'ignore', 'pipe'] })
    child.stdin.end('hello')
    assert.equal(await text(child.stderr), 'hello\n')
    if (child.exitCode === null) await once(child, 'exit')
    assert.equal(child.exitCode, 7)
  })

  test('hears signals itself', async (t) => {
    const file = program(
      t,
      `process.on('SIGTERM', () => process.exit(3))
       setInterval(() => {}, 1000)
       console.log('here')`,
    )
    const child = spawn(process.execPath, [launcher, file], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [3, null])
  })

  test('may be tests', (t) => {
    const file = join(tempFolder(t), 'a.test.mjs')
    writeFileSync(file, `import { test } from 'node:test'; test('one', () => {})`)
    const { NODE_TEST_CONTEXT: _, ...outside } = env
    const out = execFileSync(process.execPath, [launcher, '--test', file], { env: outside, encoding: 'utf8' })
    assert.match(out, /pass 1/)
  })

  test('gets memory that the kernel may give in large pages', { skip: !canHere() }, (t) => {
    const file = program(
      t,
      `import { readFileSync } from 'node:fs'
       const large = Buffer.alloc(256 * 2 ** 20)
       const flags = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-)/m)
         .filter((area) => Number(/^Size: +(\\d+) kB/m.exec(area)?.[1]) >= large.length / 1024)
         .map((area) => /^VmFlags: (.*)$/m.exec(area)?.[1].split(' '))
       console.log(flags.some((each) => each.includes('hg')))`,
    )
    const { GLIBC_TUNABLES: _, ...plain } = env
    const run = (more: NodeJS.ProcessEnv) =>
      execFileSync(process.execPath, [launcher, file], { env: { ...plain, ...more }, encoding: 'utf8' })
    assert.equal(run({}), 'true\n')
    assert.equal(run({ PACKSHOT_LARGE_PAGES: 'off' }), 'false\n')
  })
})

test('every script that computes is started so', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const name of ['generate', 'parity', 'model:judge']) {
    assert.match(scripts[name], /&& exec \S+ scripts\/with-large-pages\.ts /, name)
  }
})

function canHere(): boolean {
  return withLargePages({}).env.GLIBC_TUNABLES?.includes(large) === true
}
