import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Environment } from '../../src/config.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal } from '../service/server-process.ts'
import { freePort } from '../services/free-port.ts'
import { copied, environmentOf, execForm, imageTree, root, stagesOf } from './image-tree.ts'

/**
 * What `npm run image` shows with a real image in minutes, as far as it can be seen in seconds: the Dockerfile's own
 * commands, on the files that it copies.
 */

const text = readFileSync(join(root, 'Dockerfile'), 'utf8')
const stages = stagesOf(text)
const last = stages.at(-1) ?? []
const named = (name: string) => last.filter((each) => each.name === name).map((each) => each.text)
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
  dependencies: Record<string, string>
}

test('the base has the pinned Node, by tag and digest; the version of the image is that of the package', () => {
  const base = /^ARG NODE_IMAGE=node:([\d.]+)-bookworm-slim@sha256:[0-9a-f]{64}$/m.exec(text)?.[1]
  assert.equal(base, manifest.dependencies.node)
  assert.deepEqual(
    named('ARG').find((arg) => arg.startsWith('VERSION=')),
    `VERSION=${manifest.version}`,
  )
  assert.equal(stages.length, 2)
  for (const [from] of stages.map((stage) => stage.filter(({ name }) => name === 'FROM')))
    assert.match(from?.text ?? '', /^\$\{NODE_IMAGE\}( AS build)?$/)
})

test('what is copied exists, and .dockerignore lets it through and nothing else', () => {
  const sources = stages.flatMap((stage) => copied(stage)).flatMap((copy) => copy.sources)
  for (const source of sources) assert.ok(existsSync(join(root, source)), source)
  const ignore = readFileSync(join(root, '.dockerignore'), 'utf8')
  const rules = ignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const let_through = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1))
  assert.deepEqual(let_through.toSorted(), [...new Set(sources)].toSorted())
  assert.deepEqual(
    rules.filter((rule) => !rule.startsWith('!')),
    ['*', '**/*.test.ts'],
  )
  // at this depth the Dockerfile removes what is for other systems
  const native = join(root, 'node_modules/onnxruntime-node/bin')
  for (const version of readdirSync(native))
    assert.ok(existsSync(join(native, version, 'linux/x64')), version)
})

test('no shell and no npm is between a signal and the program, which runs without rights', () => {
  assert.deepEqual(execForm(last, 'ENTRYPOINT'), ['node', '--disable-sigusr1', 'src/main/role.ts'])
  assert.deepEqual(execForm(last, 'CMD'), ['all-in-one'])
  assert.deepEqual(execForm(last, 'HEALTHCHECK'), ['node', 'scripts/health.ts'])
  assert.deepEqual(named('USER'), ['1000:1000'])
  assert.deepEqual(named('VOLUME'), ['/data'])
  assert.deepEqual(named('STOPSIGNAL'), ['SIGTERM'])
  const settings = Object.keys(environmentOf(last)).filter((name) => name.startsWith('PACKSHOT_'))
  for (const name of settings) assert.ok(name in Environment.properties, name)
})

test('the container makes a picture with its files alone, is healthy by its own check, and drains on SIGTERM', async (t) => {
  const tree = imageTree(t)
  const env = { PORT: String(await freePort()) }
  const check = execForm(last, 'HEALTHCHECK')
  const before = tree.exec(check, env)
  assert.equal(await before.ended, 1)
  assert.match(before.output(), /^server: no answer from 127\.0\.0\.1 port \d+ \(connect ECONNREFUSED /)
  const container = tree.start(execForm(last, 'CMD'), env)
  await waitFor(() => container.output().includes('Packshot is ready'), 120_000)
  const healthy = tree.exec(check, env)
  assert.deepEqual([await healthy.ended, healthy.output()], [0, 'server: ready\n'])
  const address = `http://127.0.0.1:${env.PORT}`
  const { id } = await submit(address, { prompt: 'a red apple', steps: 2 })
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  container.process.kill('SIGTERM')
  assert.equal(await container.ended, 0, container.output())
  assert.match(container.output(), /Packshot is stopping: the current job may finish/)
})

test('each role runs its program with its arguments, and says what it needs', async (t) => {
  const tree = imageTree(t)
  const says = async (
    command: readonly string[],
    env: Record<string, string>,
    status: number,
    what: RegExp,
  ) => {
    const { ended, output } = tree.start(command, env)
    assert.equal(await ended, status, `${command.join(' ')}: ${output()}`)
    assert.match(output(), what)
  }
  const keys = { PACKSHOT_KEYS_FILE: join(tree.writable, 'keys/keys.json') }
  await Promise.all([
    says(
      ['server'],
      {},
      1,
      /^Packshot cannot start:\n {2}PACKSHOT_QUEUE_URL must be set [\s\S]*PACKSHOT_SECRET must be set/,
    ),
    says(['worker'], {}, 1, /^Packshot cannot start:\n {2}PACKSHOT_QUEUE_URL must be set /),
    says(['storage', 'setup'], {}, 1, /^PACKSHOT_STORAGE_URL must be set\.$/m),
    says(['storage'], {}, 1, /^Usage: npm run storage/m),
    says(['keys', 'add', 'shop'], keys, 0, /^pks_/m),
    says(['models', 'list'], {}, 0, /writable\/models contains no models/),
    says(['generate', '--help'], {}, 1, /^Usage: npm run generate/),
    says(['catalogue', '--help'], {}, 1, /^Usage: npm run catalogue/),
    says(['jobs', 'list'], {}, 0, /^0 jobs wait or run/m),
  ])
  // the address of a container is one that the network reaches
  await says(['all-in-one'], { PACKSHOT_HOST: '0.0.0.0' }, 1, /PACKSHOT_KEYS_FILE[\s\S]*PACKSHOT_OPEN/)
  await says([], {}, 1, /^No role is given\. Roles: all-in-one, server, /)
  await says(['sevrer'], {}, 1, /^There is no role "sevrer"\. Roles: /)
  await says(['constructor'], {}, 1, /^There is no role "constructor"/)
})

test('the health check asks where the role answers, and fails with a sentence', async (t) => {
  const tree = imageTree(t)
  const port = String(await freePort())
  const cases: [string[], Record<string, string>, RegExp][] = [
    [[], { PACKSHOT_WORKER_PORT: port }, new RegExp(`^worker: no answer from 127.0.0.1 port ${port} `)],
    [
      ['server'],
      { PACKSHOT_WORKER_PORT: '1', PORT: port },
      new RegExp(`^server: no answer from 127.0.0.1 port ${port} `),
    ],
    [
      [],
      { PORT: port, PACKSHOT_HOST: '0.0.0.0' },
      new RegExp(`^server: no answer from 127.0.0.1 port ${port} `),
    ],
    [['worker'], { PORT: port }, /^PACKSHOT_WORKER_PORT must be set to the port that the worker listens on/],
    [[], { PORT: '0' }, /^PORT must be set to the port that the server listens on: "0" is none/],
  ]
  for (const [args, env, said] of cases) {
    const check = tree.exec([...execForm(last, 'HEALTHCHECK'), ...args], env)
    assert.equal(await check.ended, 1)
    assert.match(check.output(), said)
  }
})
