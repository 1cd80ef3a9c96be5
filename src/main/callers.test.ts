import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { keepingLog } from '../../test/quiet-log.ts'
import { memoryRateLimiter } from '../adapters/memory/rate-limiter.ts'
import { ConfigError, loadConfig } from '../config.ts'
import { keptLimitsOf, openCallers, pageOf, requireDecision } from './callers.ts'

function faultsOf(env: Record<string, string>): string {
  try {
    requireDecision(loadConfig(env))
    return ''
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError)
    return thrown.faults.join('\n')
  }
}

test('an address that the network reaches needs keys or the word that it is meant to be open', () => {
  for (const host of ['127.0.0.1', '127.0.0.2', 'localhost', '::1']) {
    assert.equal(faultsOf({ PACKSHOT_HOST: host }), '', host)
  }
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'studio.lan', '127.0.0.1.example.com']) {
    const said =
      /PACKSHOT_HOST=.*PACKSHOT_KEYS_FILE \(`npm run keys -- add NAME`.*PACKSHOT_OPEN=1.*PACKSHOT_HOST=127\.0\.0\.1/
    assert.match(faultsOf({ PACKSHOT_HOST: host }), said, host)
    assert.match(faultsOf({ PACKSHOT_HOST: host, PACKSHOT_TRUSTED_PROXIES: '10.0.0.0/8' }), said, host)
    assert.equal(faultsOf({ PACKSHOT_HOST: host, PACKSHOT_OPEN: '1' }), '', host)
    assert.equal(faultsOf({ PACKSHOT_HOST: host, PACKSHOT_KEYS_FILE: './keys.json' }), '', host)
  }
})

test('the page is open without keys and behind a sign-in with them, unless told otherwise', () => {
  const page = (env: Record<string, string>) => pageOf(loadConfig(env))
  const keys = { PACKSHOT_KEYS_FILE: './keys.json' }
  assert.deepEqual([page({}), page(keys)], ['open', 'sign-in'])
  for (const PACKSHOT_PAGE of ['open', 'off'])
    assert.deepEqual(
      [page({ PACKSHOT_PAGE }), page({ ...keys, PACKSHOT_PAGE })],
      [PACKSHOT_PAGE, PACKSHOT_PAGE],
    )
  assert.match(faultsOf({ PACKSHOT_PAGE: 'sign-in' }), /PACKSHOT_PAGE=sign-in needs PACKSHOT_KEYS_FILE/)
})

test('without a key only the person at a machine that serves nobody else keeps pictures for good', () => {
  const limits = (env: Record<string, string>) => keptLimitsOf(loadConfig(env))
  assert.deepEqual(limits({}), { pictures: 200, anonymous: true })
  assert.deepEqual(limits({ PACKSHOT_KEPT_PICTURES: '0' }), { pictures: 0, anonymous: true })
  for (const env of [
    { PACKSHOT_HOST: '0.0.0.0', PACKSHOT_OPEN: '1' },
    { PACKSHOT_OPEN: '1' },
    { PACKSHOT_KEYS_FILE: './keys.json' },
    { PACKSHOT_TRUSTED_PROXIES: '127.0.0.1' },
    { PACKSHOT_ALLOWED_HOSTS: 'studio.example.com' },
    { PACKSHOT_STATUS_URL: 'redis://127.0.0.1' },
  ])
    assert.equal(limits(env as Record<string, string>).anonymous, false, JSON.stringify(env))
})

test('a keys file that cannot be used is an error at startup; without one no credentials are looked at', async (t) => {
  const path = join(tempFolder(t), 'keys.json')
  const open = (env: Record<string, string>) =>
    openCallers({
      config: loadConfig(env),
      requests: memoryRateLimiter(),
      secrets: [Buffer.from('s')],
      log: keepingLog(),
    })
  const refused = (message: RegExp) =>
    assert.rejects(open({ PACKSHOT_KEYS_FILE: path }), (thrown) => {
      assert.ok(thrown instanceof ConfigError)
      assert.match(thrown.message, message)
      return true
    })
  await refused(/There is no keys file/)
  writeFileSync(path, '{', { mode: 0o600 })
  await refused(/not complete JSON/)
  writeFileSync(path, '{"version":1,"callers":[]}')
  const keyed = await open({ PACKSHOT_KEYS_FILE: path })
  await assert.rejects(
    Promise.try(() => keyed.caller({ address: '::1' })),
    { code: 'unauthorized' },
  )
  keyed.close()
  const { caller, signIn } = await open({ PACKSHOT_JOBS_PER_MINUTE: '7' })
  const { name, limits } = await caller({ address: '192.0.2.1', key: 'anything', session: 'anything' })
  assert.deepEqual([name, limits.rate?.burst, signIn], ['anonymous', 7, undefined])
})
