import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keepingLog } from '../../test/quiet-log.ts'
import { loadConfig } from '../config.ts'
import { warnIfOpen } from './http-server.ts'

test('an address that the network reaches is a warning that says what to set; this machine alone is none', () => {
  const warnings = (env: Record<string, string>) => {
    const log = keepingLog()
    warnIfOpen(loadConfig(env), log)
    return log.lines.map(({ level, message }) => `${level}: ${message}`)
  }
  for (const host of ['127.0.0.1', '127.0.0.2', 'localhost', '::1']) {
    assert.deepEqual(warnings({ PACKSHOT_HOST: host }), [], host)
  }
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'studio.lan', '127.0.0.1.example.com']) {
    assert.match(
      warnings({ PACKSHOT_HOST: host }).join(),
      /^warn: .*without a login.*PACKSHOT_TRUSTED_PROXIES.*PACKSHOT_HOST=127\.0\.0\.1\.$/,
      host,
    )
  }
  const unlimited = warnings({ PACKSHOT_HOST: '0.0.0.0', PACKSHOT_JOBS_PER_MINUTE: '0' })
  assert.match(unlimited.join(), /PACKSHOT_JOBS_PER_MINUTE limits each client\.$/)
  assert.deepEqual(warnings({ PACKSHOT_HOST: '0.0.0.0', PACKSHOT_TRUSTED_PROXIES: '10.0.0.0/8' }), [])
})
