import { setUpBucket } from '../adapters/s3/bucket.ts'
import { endWith, runCommand, UsageError } from '../cli/run-command.ts'
import { ConfigError, loadConfig } from '../config.ts'
import { bucketOptions } from './backends.ts'
import { createLogger } from './process/logger.ts'
import { prepareEnvironment } from './process/run-until-signal.ts'

/** `npm run storage -- setup`: prepares the bucket of PACKSHOT_STORAGE_URL on any S3 server. */

const usage = `Usage: npm run storage -- setup

  Creates the bucket that PACKSHOT_STORAGE_URL names, if it does not exist, and a lifecycle rule that deletes results
  that Packshot's own sweeper missed. Needs a key that may create buckets; the service itself does not.
`

async function setUp(args: readonly string[]): Promise<number> {
  if (args.length !== 1 || args[0] !== 'setup') throw new UsageError()
  prepareEnvironment(process.env)
  const config = loadConfig(process.env)
  if (config.storage === undefined) throw new ConfigError(['PACKSHOT_STORAGE_URL must be set.'])
  const log = createLogger(config, 'server')
  await setUpBucket({
    ...bucketOptions(config, config.storage, log),
    ttlSeconds: config.resultTtlSeconds,
    catalogueTtlSeconds: config.catalogueTtlSeconds,
  })
  console.log(`${config.storage.url} is ready.`)
  return 0
}

await endWith(runCommand(usage, () => setUp(process.argv.slice(2))))
