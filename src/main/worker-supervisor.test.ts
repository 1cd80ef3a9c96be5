import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { waitFor } from '../../test/kit/waiting.ts'
import { keepingLog } from '../../test/quiet-log.ts'
import { withLargePages } from './process/large-pages.ts'
import { superviseWorker, workerEnvironment } from './worker-supervisor.ts'

test('a worker process gets large memory pages where the system has them, unless they are off', async (t) => {
  const entry = join(tempFolder(t), 'worker.mjs')
  writeFileSync(
    entry,
    `process.on('disconnect', () => process.exit())
     process.send({ type: 'unusable', code: 'unavailable', message: process.env.GLIBC_TUNABLES ?? 'none' })`,
  )
  const { GLIBC_TUNABLES: _, ...plain } = process.env
  const tunables = async (env: NodeJS.ProcessEnv) => {
    const worker = superviseWorker({
      entry: pathToFileURL(entry),
      env: { ...plain, ...env },
      log: keepingLog(),
    })
    try {
      return await worker.ready.then(
        () => '',
        (fault: Error) => fault.message,
      )
    } finally {
      worker.kill()
    }
  }
  assert.equal(await tunables({}), withLargePages({}).env.GLIBC_TUNABLES ?? 'none')
  assert.equal(await tunables({ PACKSHOT_LARGE_PAGES: 'off' }), 'none')
  const own = 'glibc.malloc.mmap_threshold=65536:glibc.malloc.hugetlb=0'
  assert.equal(await tunables({ GLIBC_TUNABLES: own }), own)
})

test('a worker that cannot be started is tried again until it can, and is not up meanwhile', async (t) => {
  const entry = join(tempFolder(t), 'worker.mjs')
  const ends = `for (const event of ['disconnect', 'message']) process.on(event, () => process.exit())`
  writeFileSync(entry, `${ends}; process.send({ type: 'ready' })`)
  const log = keepingLog()
  const worker = superviseWorker({ entry: pathToFileURL(entry), env: process.env, log })
  const { execPath } = process
  lastFirst(t).after(() => {
    process.execPath = execPath
    worker.kill()
  })
  await worker.ready
  assert.equal(worker.up, true)
  const started = () => log.lines.filter(({ message }) => message === 'worker process started')
  const failed = () => log.lines.filter(({ message }) => message.includes('cannot be started'))
  // Node emits the one (as it does EMFILE and EAGAIN) and throws the other (as it does ENOMEM)
  for (const absent of [join(entry, '..', 'absent'), join(entry, 'no-folder')]) {
    const before = failed().length
    process.execPath = absent
    const last = started().at(-1)?.fields as { worker: number } | undefined
    if (worker.up && last !== undefined) process.kill(last.worker, 'SIGKILL')
    await waitFor(() => failed().length > before)
    assert.equal(worker.up, false)
  }
  assert.deepEqual(
    failed().map(({ fields }) => (fields as { err: { code: string } }).err.code),
    ['ENOENT', 'ENOTDIR'],
  )
  process.execPath = execPath
  await waitFor(() => worker.up)
  assert.equal(started().length, 2)
  await worker.stop(0)
  assert.equal(worker.up, false)
})

test('a worker process is given no secret that it does not need', () => {
  const env = {
    PATH: '/bin',
    LC_ALL: 'C',
    https_proxy: 'http://proxy:3128',
    CUDA_VISIBLE_DEVICES: '0',
    NODE_EXTRA_CA_CERTS: '/ca.pem',
    PACKSHOT_MODEL: 'm',
    PACKSHOT_QUEUE_URL: 'amqp://u:p@rabbit',
    PACKSHOT_MESSAGE_KEY_FILE: '/run/secrets/message-key',
  }
  const others = {
    PACKSHOT_SECRET: 's',
    PACKSHOT_SECRET_FILE: '/run/secrets/secret',
    HF_TOKEN: 't',
    NODE_AUTH_TOKEN: 't',
    AWS_SECRET_ACCESS_KEY: 'k',
    DATABASE_URL: 'postgres://u:p@db',
    POSTGRES_PASSWORD: 'p',
    PACKSHOT_ADMIN_PASSWORD: 'p',
  }
  const quiet = { ORT_DISABLE_TELEMETRY: '1' }
  assert.deepEqual(workerEnvironment({ ...env, ...others }), { ...env, ...quiet })
  const storage = { ...env, AWS_SECRET_ACCESS_KEY: 'k', PACKSHOT_STORAGE_URL: 's3://b' }
  assert.deepEqual(workerEnvironment({ ...others, ...storage }), { ...storage, ...quiet })
  const inFile = { ...env, AWS_SECRET_ACCESS_KEY: 'k', PACKSHOT_STORAGE_URL_FILE: '/run/secrets/storage-url' }
  assert.deepEqual(workerEnvironment({ ...others, ...inFile }), { ...inFile, ...quiet })
})
