import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { pino } from 'pino'
import packageFile from '../../../package.json' with { type: 'json' }
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded } from '../../../test/jobs/embedded.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

async function described(t: TestContext, headers: Record<string, string> = {}) {
  const services = createServices(embedded(t), () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }), trustedProxies: '127.0.0.1' })
  lastFirst(t).after(() => app.close())
  const { body } = await app.inject({ url: '/openapi.json', headers })
  return { body, document: JSON.parse(body) }
}

test('the description of the API has no fault that a linter finds, its examples included', async (t) => {
  const { body } = await described(t, { host: 'studio.test', 'x-forwarded-for': '192.0.2.1' })
  const config = await createConfig({ extends: ['recommended-strict'] })
  const faults = await lintFromString({ source: body, absoluteRef: 'openapi.json', config })
  const told = faults.map(({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`)
  assert.deepEqual(told, [])
})

test('it says where the service is, as this client reaches it, and which version it is', async (t) => {
  const forwarded = {
    host: 'studio.test',
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-prefix': '/packshot',
  }
  const { document } = await described(t, forwarded)
  assert.deepEqual(document.servers, [{ url: 'https://studio.test/packshot' }])
  assert.equal(document.info.version, packageFile.version)
  const { post } = document.paths['/v1/jobs']
  assert.equal(post.responses['202'].content['application/json'].schema.$ref, '#/components/schemas/Job')
  assert.equal(post.responses['4XX'].content['application/json'].schema.$ref, '#/components/schemas/Error')
})
