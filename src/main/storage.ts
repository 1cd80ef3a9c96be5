import { setUpBucket } from '../adapters/s3/bucket.ts'
import { ConfigError, loadConfig } from '../config.ts'
import { AppError } from '../jobs/errors.ts'
import { bucketOptions } from './backends.ts'
import { createLogger } from './logger.ts'

/** `npm run storage -- setup`: prepares the bucket of PACKSHOT_STORAGE_URL, on any S3 server. */

const usage = `Usage: npm run storage -- setup

  Creates the bucket that PACKSHOT_STORAGE_URL names, if it does not exist, and a lifecycle rule that deletes results
  that Packshot's own sweeper missed. Needs a key that may create buckets; the service itself does not.
`

async function setUp(): Promise<void> {
  const config = loadConfig(process.env)
  if (config.storage === undefined) throw new ConfigError(['PACKSHOT_STORAGE_URL must be set.'])
  const log = createLogger(config, 'server')
  await setUpBucket({ ...bucketOptions(config, config.storage, log), ttlSeconds: config.resultTtlSeconds })
  console.log(`${config.storage.url} is ready.`)
}

if (process.argv[2] !== 'setup' || process.argv.length > 3) {
  console.error(usage)
  process.exit(2)
}
try {
  await setUp()
} catch (thrown) {
  if (!(thrown instanceof ConfigError || thrown instanceof AppError)) throw thrown
  console.error(thrown.message)
  process.exit(1)
}
