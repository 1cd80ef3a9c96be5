import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pino } from 'pino'
import { Value } from 'typebox/value'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded } from '../../../test/jobs/embedded.ts'
import { createWebhookSecrets } from '../../jobs/webhook-secrets.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** docs/api.md against the description of the API: every call is there, and every answer shown is one that it can give. */

const text = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8')
const sections = text.split(/^### /m).slice(1)

interface Shown {
  readonly call: string
  /** `request`, or the status. */
  readonly kind: string
  readonly value: unknown
}

const shown = sections.flatMap((section): Shown[] => {
  const call = section.slice(0, section.indexOf('\n')).trim()
  const blocks = section.matchAll(/^```json (\w+)\n(.*?)^```/gms)
  return [...blocks].map(([, kind = '', json = '']) => ({ call, kind, value: JSON.parse(json) }))
})

test('docs/api.md has every call, and shows what they accept and answer', async (t) => {
  const services = createServices(embedded(t), () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const document = (await app.inject('/openapi.json')).json()
  const calls = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations as object).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const documented = sections.map((section) => section.slice(0, section.indexOf('\n')).trim())
  assert.deepEqual(documented.toSorted(), calls.toSorted())

  const expand = (schema: unknown): unknown => {
    if (Array.isArray(schema)) return schema.map(expand)
    if (typeof schema !== 'object' || schema === null) return schema
    if ('$ref' in schema)
      return expand(document.components.schemas[String(schema.$ref).split('/').at(-1) ?? ''])
    return Object.fromEntries(Object.entries(schema).map(([name, each]) => [name, expand(each)]))
  }
  assert.ok(shown.length > 8, 'the answers were found')
  for (const { call, kind, value } of shown) {
    const [method = '', path = ''] = call.split(' ')
    const { requestBody, responses } = document.paths[path][method.toLowerCase()]
    const answer = responses[kind] ?? responses[`${kind.charAt(0)}XX`]
    const schema = expand(
      (kind === 'request' ? requestBody : answer).content['application/json'].schema,
    ) as object
    assert.ok(
      Value.Check(schema, value),
      `${call} ${kind}: ${JSON.stringify(Value.Errors(schema, value)[0])}`,
    )
  }
})

test('the programs of docs/api.md that verify a webhook take a genuine one and refuse every other', async (t) => {
  const programs = {
    python3: (code: string) =>
      `${code}\nimport json, os\nh = json.loads(os.environ['HEADERS'])\nprint('yes' if is_genuine(h, os.environ['BODY'].encode(), os.environ['WEBHOOK_SECRET']) else 'no')`,
    php: (code: string) =>
      `foreach (json_decode(getenv('HEADERS'), true) as $name => $value) $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;\n${code.replace("file_get_contents('php://input')", "getenv('BODY')")}\necho $genuine ? 'yes' : 'no';`,
  }
  const secrets = createWebhookSecrets(Buffer.alloc(32, 1))
  const secret = secrets.shown('shop', 2)
  const body = '{"type":"job.succeeded","data":{"prompt":"caf\u00e9"}}'
  const headersAt = (timestamp: number) => ({
    'webhook-id': 'evt_1',
    'webhook-timestamp': String(timestamp),
    'webhook-signature': secrets.sign('shop', 2, { id: 'evt_1', timestamp, body }),
  })
  const now = Math.floor(Date.now() / 1000)
  for (const [program, wrapped] of Object.entries(programs)) {
    if (spawnSync(program, ['--version']).error !== undefined) {
      t.diagnostic(`${program} is not installed: its lines were not run`)
      continue
    }
    const [, code = ''] =
      new RegExp(`^\`\`\`${program.replace('3', '')}\n(.*?)^\`\`\``, 'ms').exec(text) ?? []
    const says = (headers: object, sent: string, known = secret) => {
      const env = { ...process.env, HEADERS: JSON.stringify(headers), BODY: sent, WEBHOOK_SECRET: known }
      const flag = program === 'php' ? '-r' : '-c'
      const { stdout, stderr } = spawnSync(program, [flag, wrapped(code)], { env, encoding: 'utf8' })
      return stdout.trim() || stderr
    }
    const answers = [
      says(headersAt(now), body),
      says(headersAt(now), body.replace('succeeded', 'failed')),
      says(headersAt(now), body, secrets.shown('other', 1)),
      says(headersAt(now - 600), body),
    ]
    assert.deepEqual(answers, ['yes', 'no', 'no', 'no'], program)
  }
})
