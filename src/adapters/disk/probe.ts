import { randomBytes } from 'node:crypto'
import { chmod, readdir, readFile, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, messageOf } from '../../jobs/errors.ts'
import type { Log } from '../../jobs/log.ts'
import { storageError, unlessMissing, writeFirst, writeWhole } from './files.ts'

/** What `statfs` says of file systems of networks, whose locks SQLite cannot rely on: linux/magic.h. */
const networks: Readonly<Record<number, string>> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
  16914839: '9p',
  12805120: 'Ceph',
  1397113167: 'AFS',
  198183888: 'Lustre',
}

/**
 * Writes, replaces, commits and deletes a file of its own in the folder, as jobs will. Rejects with the variable's name
 * when the file system cannot do it; a full one is only warned of, because expired results can still be deleted.
 */
export async function probeFolder(folder: string, param: string, log: Log): Promise<void> {
  const type = (await statfs(folder)).type
  const network = networks[type]
  if (network !== undefined) {
    log.warn(
      { folder },
      `${param} is on a network file system (${network}): SQLite needs locks that such systems may not keep. Use a local disk.`,
    )
  }
  const path = join(folder, `.probe-${randomBytes(8).toString('hex')}`)
  const [one, two] = [randomBytes(16), randomBytes(16)]
  try {
    await writeWhole(path, one)
    await writeWhole(path, two)
    if (!two.equals(await readFile(path))) throw new Error('it does not return what was written')
    if (await writeFirst(path, one)) throw new Error('it lets one file replace another without being asked')
    await rm(path)
    if (!(await writeFirst(path, one))) throw new Error('it reports a deleted file as present')
  } catch (thrown) {
    if (storageError(thrown, folder).code === 'storage_full') {
      log.warn({ err: thrown }, 'the data folder has no room left: jobs wait until there is some')
      return
    }
    throw new AppError(
      'unavailable',
      `The file system of the data folder cannot be used. Choose one on a local disk with ${param}.`,
      {
        param,
        cause: thrown,
        detail: `The file system of the data folder ${folder} cannot be used (${messageOf(thrown)}). Choose a folder on a local disk with ${param}.`,
      },
    )
  } finally {
    // the fault of the probe is the one to report; sweeps leave such a file, which is 16 bytes
    await rm(path, { force: true }).catch(() => {})
  }
}

/**
 * Takes all rights of other users away from the folder and from those of the given entries that exist in it: they hold
 * the secret of job ids, prompts and pictures. The folder itself keeps its rights if something else is in it, since it
 * may be a folder for everybody. What stays open is a warning.
 */
export async function keepPrivate(folder: string, entries: readonly string[], log: Log): Promise<void> {
  const foreign = (await readdir(folder)).filter((name) => !entries.includes(name))
  const paths = [...(foreign.length === 0 ? [folder] : []), ...entries.map((name) => join(folder, name))]
  const closed: string[] = []
  const open: string[] = []
  for (const path of paths) {
    const before = await unlessMissing(stat(path))
    if (before === undefined || (before.mode & others) === 0) continue
    // what it did is looked at next
    await chmod(path, before.mode & 0o700).catch(() => {})
    if (((await stat(path)).mode & others) === 0) closed.push(path)
    else open.push(path)
  }
  if (closed.length > 0) log.warn({ closed }, 'other users could read the data folder; now they cannot')
  if (open.length > 0) {
    log.warn(
      { open },
      'other users may read the data folder, and this user cannot change that: it holds prompts, pictures and the secret of job ids',
    )
  }
  if (foreign.length > 0 && ((await stat(folder)).mode & others) !== 0) {
    log.warn(
      { folder, foreign: foreign[0] },
      'other users may look into the data folder; it is left so because it also has other things in it',
    )
  }
}

const others = 0o077
