import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { keepingLog } from '../../test/quiet-log.ts'
import { tempFolder } from '../../test/temp-folder.ts'
import { withLargePages } from './large-pages.ts'
import { superviseWorker } from './worker-supervisor.ts'

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
