import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, suite, type TestContext, test } from 'node:test'
import {
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
} from '@aws-sdk/client-s3'
import { lastFirst, ownCleanup } from '../../../test/cleanup.ts'
import { someManifest, someTask, testIds } from '../../../test/contract/jobs.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { keysOf, opened } from '../../../test/services/fresh-place.ts'
import { type RgwService, startRgw } from '../../../test/services/rgw.ts'
import { type BucketOptions, openBucket, setUpBucket } from './bucket.ts'
import { connect } from './connection.ts'
import { s3ImageStore } from './image-store.ts'

const ttlSeconds = 3600

/** A storage for these tests only: they set rules, quotas and policies. */
suite('a storage of its own', () => {
  let rgw: RgwService
  const ending = ownCleanup()
  before(async () => {
    rgw = await startRgw(ending, { lifecycleDaySeconds: 2 })
  })
  after(ending.end)

  const place = (url: string, log = keepingLog()): BucketOptions => {
    const { endpoint, accessKeyId, secretAccessKey, region } = rgw
    return { url, endpoint, region, log, credentials: { accessKeyId, secretAccessKey }, startMs: 30_000 }
  }
  const straight = (t: TestContext, options: BucketOptions) => {
    const connection = connect(options)
    lastFirst(t).after(connection.close)
    return connection.client
  }
  const rulesOf = async (t: TestContext, options: BucketOptions, Bucket: string) => {
    const command = new GetBucketLifecycleConfigurationCommand({ Bucket })
    return (await straight(t, options).send(command)).Rules ?? []
  }
  /** Another account, with these rights in the bucket. */
  const guest = async (t: TestContext, options: BucketOptions, Bucket: string, ...actions: string[]) => {
    const uid = `guest-${randomBytes(4).toString('hex')}`
    await rgw.radosgwAdmin(
      'user',
      'create',
      `--uid=${uid}`,
      '--display-name=guest',
      `--access-key=${uid}`,
      '--secret-key=guest',
    )
    const Principal = { AWS: [`arn:aws:iam:::user/${uid}`] }
    const Resource = [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`]
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal, Action: actions.map((action) => `s3:${action}`), Resource }],
    })
    await straight(t, options).send(new PutBucketPolicyCommand({ Bucket, Policy }))
    return { ...options, credentials: { accessKeyId: uid, secretAccessKey: 'guest' } }
  }

  test('set-up makes a bucket that opens, with the rule; repeating it changes nothing', async (t) => {
    const log = keepingLog()
    const options = place('s3://made/here', log)
    await assert.rejects(openBucket(options), { param: 'PACKSHOT_STORAGE_URL' })
    for (let i = 0; i < 2; i += 1) await setUpBucket({ ...options, ttlSeconds })
    await opened(t, options)
    const rules = await rulesOf(t, options, 'made')
    assert.deepEqual(
      rules.map(({ ID, Filter, Expiration, Status }) => [ID, Filter?.Prefix, Expiration?.Days, Status]),
      [
        ['packshot-catalogues here/', 'here/catalogues/', 2, 'Enabled'],
        ['packshot-catalogues-open here/', 'here/catalogues-open/', 2, 'Enabled'],
        ['packshot-results here/', 'here/results/', 2, 'Enabled'],
        ['packshot-uploads here/', 'here/uploads/', 2, 'Enabled'],
      ],
    )
    assert.deepEqual(
      log.lines.map((line) => line.message),
      ['made', 'there'].flatMap((what) => [
        what === 'made' ? 'the bucket was created' : 'the bucket exists',
        'the storage itself deletes results after 2 days',
      ]),
    )
  })

  test('set-up keeps the rules of others, and follows a new time', async (t) => {
    const options = place('s3://shared')
    await setUpBucket({ ...options, ttlSeconds })
    const theirs = {
      ID: 'theirs',
      Status: 'Enabled' as const,
      Filter: { Prefix: 'logs/' },
      Expiration: { Days: 90 },
    }
    const standing = await rulesOf(t, options, 'shared')
    await straight(t, options).send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: 'shared',
        LifecycleConfiguration: { Rules: [...standing, theirs] },
      }),
    )
    await setUpBucket({ ...options, url: 's3://shared/second', ttlSeconds })
    await setUpBucket({ ...options, ttlSeconds: 30 * 86_400 })
    const days = (await rulesOf(t, options, 'shared')).map(({ ID, Expiration }) => [ID, Expiration?.Days])
    assert.deepEqual(Object.fromEntries(days), {
      'packshot-catalogues': 31,
      'packshot-catalogues second/': 2,
      'packshot-catalogues-open': 31,
      'packshot-catalogues-open second/': 2,
      'packshot-results': 31,
      'packshot-results second/': 2,
      'packshot-uploads': 62,
      'packshot-uploads second/': 2,
      theirs: 90,
    })
  })

  test('set-up works where the region is no location that the storage knows', async (t) => {
    const options = { ...place('s3://elsewhere'), region: 'eu-central-1' }
    await setUpBucket({ ...options, ttlSeconds })
    await opened(t, options)
  })

  test('the rule makes the storage itself delete results, and nothing else', async (t) => {
    const options = place('s3://forgetful/a')
    await setUpBucket({ ...options, ttlSeconds })
    const bucket = await opened(t, options)
    const store = s3ImageStore(bucket, { ttlSeconds })
    const task = someTask()
    await store.putImage(task.id, 0, 'png', Uint8Array.of(1))
    await store.commit(someManifest(task))
    await bucket.put('other', Uint8Array.of(1), 'image/png')
    const kept = { format: 'png', picture: Uint8Array.of(2), document: Buffer.from('{}') } as const
    await store.putKept('ann', `${task.id}-0`, kept)
    await waitFor(async () => {
      await rgw.radosgwAdmin('lc', 'process') // the gateway's own rounds may skip a busy bucket
      return (await keysOf(bucket)).length <= 3
    }, 90_000)
    const keptKeys = ['json', 'png'].map((extension) => `kept/ann/${task.id}-0.${extension}`)
    assert.deepEqual((await keysOf(bucket)).sort(), [...keptKeys, 'other'])
    assert.equal(await store.getManifest(task.id), undefined)
  })

  test('a full storage is told as such; it opens, reads and sweeps', async (t) => {
    const options = place('s3://small')
    await setUpBucket({ ...options, ttlSeconds })
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    const at = new Date(Date.now() - 86_400_000)
    const task = someTask({ id: testIds.issue(at), expires_at: at.toISOString() })
    await store.putImage(task.id, 0, 'png', Uint8Array.of(1))
    await store.commit(someManifest(task))
    await rgw.radosgwAdmin('quota', 'set', '--quota-scope=bucket', '--bucket=small', '--max-size=1')
    await rgw.radosgwAdmin('quota', 'enable', '--quota-scope=bucket', '--bucket=small')
    const fault = {
      code: 'storage_full',
      message: 'The storage has no room left (PutObject: QuotaExceeded).',
    }
    // The gateway notices a new quota when it rereads the bucket's entry.
    const put = () => store.putImage(someTask().id, 0, 'png', new Uint8Array(100_000))
    await waitFor(() =>
      put().then(
        () => false,
        () => true,
      ),
    )
    await assert.rejects(put, fault)
    await assert.rejects(store.commit(someManifest(someTask())), fault)

    const log = keepingLog()
    const full = await opened(t, { ...options, log })
    assert.equal(full.conditional, 'unknown')
    assert.match(log.lines[0]?.message ?? '', /no room left/)
    assert.notEqual(await s3ImageStore(full, { ttlSeconds }).getManifest(task.id), undefined)
    assert.equal(await s3ImageStore(full, { ttlSeconds }).sweep(new Date()), 1)
  })

  test('a right that is missing is named', async (t) => {
    const options = place('s3://guarded')
    await setUpBucket({ ...options, ttlSeconds })
    const rights = ['ListBucket', 'PutObject']
    const named = [/s3:GetObject, s3:ListBucket/, /s3:PutObject/, /s3:DeleteObject/]
    for (const [count, message] of named.entries()) {
      const limited = await guest(t, options, 'guarded', ...rights.slice(0, count), 'GetBucketLocation')
      await assert.rejects(openBucket(limited), { code: 'unavailable', param: 'AWS_ACCESS_KEY_ID', message })
    }
    const enough = await guest(t, options, 'guarded', ...rights, 'GetObject', 'DeleteObject')
    const store = s3ImageStore(await opened(t, enough), { ttlSeconds })
    await assert.rejects(setUpBucket({ ...enough, ttlSeconds }), {
      param: 'AWS_ACCESS_KEY_ID',
      message: /BucketLifecycleConfiguration/,
    })
    await guest(t, options, 'guarded', 'ListBucket')
    await assert.rejects(store.putImage(someTask().id, 0, 'png', Uint8Array.of(1)), {
      code: 'unavailable',
      message: 'The storage does not permit PutObject.',
    })
  })

  test('results outlive a gateway that is killed', async (t) => {
    const options = place('s3://lasting')
    await setUpBucket({ ...options, ttlSeconds: 365 * 86_400 })
    const store = s3ImageStore(await opened(t, options), { ttlSeconds })
    const manifest = someManifest(someTask())
    await store.commit(manifest)
    await rgw.kill()
    await assert.rejects(store.getManifest(manifest.id), { code: 'unavailable', message: /ECONN/ })
    const log = keepingLog()
    const opening = opened(t, { ...options, log })
    await waitFor(() => log.lines.length > 0)
    await rgw.start()
    await opening
    assert.deepEqual(await store.getManifest(manifest.id), manifest)
  })
})
