import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { imageStoreContract } from '../../../test/contract/image-store.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { renameFirst, writeFirst, writeWhole } from './files.ts'
import { lockFolder } from './folder-lock.ts'
import { diskImageStore } from './image-store.ts'
import { keepPrivate, probeFolder } from './probe.ts'

imageStoreContract('disk', async (t) => {
  const folder = join(tempFolder(t), 'results')
  return () => diskImageStore({ folder, ttlSeconds: 3600 })
})

function jobFolder(root: string, task: { id: string; created_at: string }): string {
  return join(root, task.created_at.slice(0, 10), task.id)
}

test('results lie in a folder of their day, with nothing beside them', async (t) => {
  const root = tempFolder(t)
  const store = diskImageStore({ folder: root, ttlSeconds: 3600 })
  const task = someTask()
  await store.putImage(task.id, 0, 'png', Uint8Array.of(1))
  await store.commit(someManifest(task))
  await store.commit(someManifest(task))
  assert.deepEqual(readdirSync(jobFolder(root, task)).sort(), ['0.png', 'manifest.json'])
})

test('a write that was cut short is nobody`s file, and is swept', async (t) => {
  const root = tempFolder(t)
  const store = diskImageStore({ folder: root, ttlSeconds: 3600, temporaryMs: 60_000 })
  const task = someTask()
  mkdirSync(jobFolder(root, task), { recursive: true })
  const [stale, fresh] = ['.tmp-0123456789abcdef', '.tmp-fedcba9876543210']
  for (const name of [stale, fresh]) writeFileSync(join(jobFolder(root, task), name), 'half of a pict')
  const before = new Date(Date.now() - 3_600_000)
  utimesSync(join(jobFolder(root, task), stale), before, before)
  assert.equal(await store.getImage(task.id, 0, 'png'), undefined)
  assert.equal(await store.getManifest(task.id), undefined)
  await store.sweep(new Date())
  assert.deepEqual(readdirSync(jobFolder(root, task)), [fresh])
})

test('a manifest that was damaged from outside is a fault, not a finished job', async (t) => {
  const root = tempFolder(t)
  const store = diskImageStore({ folder: root, ttlSeconds: 3600 })
  const task = someTask()
  await store.commit(someManifest(task))
  truncateSync(join(jobFolder(root, task), 'manifest.json'), 20)
  await assert.rejects(store.getManifest(task.id), {
    code: 'unavailable',
    message: 'The stored result of this job is damaged.',
    detail: /manifest .* is damaged/,
  })
})

test('a damaged manifest does not keep the sweep from the other jobs', async (t) => {
  const root = tempFolder(t)
  const store = diskImageStore({ folder: root, ttlSeconds: 3600 })
  const [damaged, over] = [someTask(), someTask({ expires_at: new Date(0).toISOString() })]
  for (const task of [damaged, over]) await store.commit(someManifest(task))
  writeFileSync(join(jobFolder(root, damaged), 'manifest.json'), '{')
  assert.equal(await store.sweep(new Date()), 1)
  assert.equal(await store.getManifest(over.id), undefined)
})

test('files that are not ours are left alone', async (t) => {
  const root = tempFolder(t)
  const store = diskImageStore({ folder: root, ttlSeconds: 3600 })
  mkdirSync(join(root, '2020-01-01', 'holiday pictures'), { recursive: true })
  writeFileSync(join(root, 'readme.txt'), 'mine')
  assert.equal(await store.sweep(new Date()), 0)
  assert.deepEqual(readdirSync(root).sort(), ['2020-01-01', 'readme.txt'])
})

test('empty folders of past days are removed', async (t) => {
  const root = tempFolder(t)
  mkdirSync(join(root, '2020-01-01'))
  await diskImageStore({ folder: root, ttlSeconds: 3600 }).sweep(new Date())
  assert.deepEqual(readdirSync(root), [])
})

test('a folder that cannot be written is named to the operator, not to clients', async (t) => {
  const root = join(tempFolder(t), 'file')
  writeFileSync(root, '')
  const store = diskImageStore({ folder: root, ttlSeconds: 3600 })
  const task = someTask()
  await assert.rejects(store.putImage(task.id, 0, 'png', Uint8Array.of(1)), {
    code: 'unavailable',
    message: 'The storage cannot be used: ENOTDIR.',
    detail: new RegExp(root),
  })
})

test('files are replaced or kept, whole', async (t) => {
  const folder = tempFolder(t)
  await writeWhole(join(folder, 'a'), Buffer.from('one'))
  await writeWhole(join(folder, 'a'), Buffer.from('two'))
  assert.equal(await writeFirst(join(folder, 'b'), Buffer.from('one')), true)
  assert.equal(await writeFirst(join(folder, 'b'), Buffer.from('two')), false)
  assert.deepEqual(readdirSync(folder).sort(), ['a', 'b'])
})

for (const left of [['.tmp-lock'], ['.tmp-lock', '.tmp-lock-break']]) {
  test(`without hard links, too, exactly one of many writers wins, and ${left.join(' and ')} of the dead are removed`, async (t) => {
    for (let round = 0; round < 6; round += 1) {
      const folder = tempFolder(t)
      const path = join(folder, 'manifest.json')
      const longAgo = new Date(Date.now() - 3_600_000)
      for (const name of left) {
        mkdirSync(join(folder, name))
        utimesSync(join(folder, name), longAgo, longAgo)
      }
      const names = Array.from({ length: 20 }, (_, index) => join(folder, `writer-${index}`))
      for (const name of names) writeFileSync(name, name)
      const won = await Promise.all(names.map((name) => renameFirst(name, path)))
      assert.equal(won.filter((one) => one).length, 1)
      assert.equal(readFileSync(path, 'utf8'), names[won.indexOf(true)])
      const locks = readdirSync(folder).filter((name) => name.startsWith('.tmp'))
      assert.deepEqual(locks, [])
    }
  })
}

test('a folder that a job could use leaves nothing behind when it is tried', async (t) => {
  const folder = tempFolder(t)
  const log = keepingLog()
  await probeFolder(folder, 'PACKSHOT_DATA_DIR', log)
  assert.deepEqual([readdirSync(folder), log.lines], [[], []])
})

test('a folder on which files cannot be written is refused by the name of its variable', async () => {
  await assert.rejects(probeFolder('/proc/self', 'PACKSHOT_DATA_DIR', keepingLog()), {
    param: 'PACKSHOT_DATA_DIR',
    message: /data folder cannot be used.* local disk with PACKSHOT_DATA_DIR/,
    detail: /data folder \/proc\/self cannot be used .* local disk with PACKSHOT_DATA_DIR/,
  })
})

test('what other users could read is closed to them; a folder with other things in it is not touched', async (t) => {
  const folder = tempFolder(t)
  const mode = (name: string) => (statSync(join(folder, name)).mode & 0o777).toString(8)
  const log = keepingLog()
  mkdirSync(join(folder, 'results'))
  writeFileSync(join(folder, 'packshot.sqlite'), '')
  const open = () => {
    chmodSync(folder, 0o755)
    chmodSync(join(folder, 'results'), 0o755)
    chmodSync(join(folder, 'packshot.sqlite'), 0o644)
  }
  const entries = ['results', 'packshot.sqlite', 'weights']
  open()
  await keepPrivate(folder, entries, log)
  assert.deepEqual([mode(''), mode('results'), mode('packshot.sqlite')], ['700', '700', '600'])
  assert.match(log.lines.at(-1)?.message ?? '', /could read .* now they cannot/)
  await keepPrivate(folder, entries, log)
  assert.equal(log.lines.length, 1)

  open()
  writeFileSync(join(folder, 'a letter'), '')
  await keepPrivate(folder, entries, log)
  assert.deepEqual([mode(''), mode('results'), mode('packshot.sqlite')], ['755', '700', '600'])
  assert.match(log.lines.at(-1)?.message ?? '', /left so because it also has other things in it/)
})

test('a folder that cannot be locked is not said to be in use by another', async (t) => {
  const folder = tempFolder(t)
  assert.throws(() => lockFolder(join(folder, 'absent', 'lock'), folder), /cannot be locked: unable to open/)
  const lock = lockFolder(join(folder, 'lock'), folder)
  assert.throws(() => lockFolder(join(folder, 'lock'), folder), /in use by another running Packshot/)
  lock.release()
  lockFolder(join(folder, 'lock'), folder).release()
})
