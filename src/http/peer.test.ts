import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listening } from '../../test/wire/raw.ts'
import { canonicalForwardedFor } from './peer.ts'

test('an address has one form, however a proxy writes it, and what is none ends the list', () => {
  const cases: [header: string, read: string][] = [
    ['203.0.113.9:40001', '203.0.113.9'],
    ['203.0.113.9', '203.0.113.9'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['::ffff:cb00:7109', '203.0.113.9'],
    ['[2001:DB8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['2001:0db8:0:0::0001', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['unknown1, 203.0.113.9', '203.0.113.9'],
    ['203.0.113.9, unknown2', ''],
    ['203.0.113.9, _hidden, 10.0.0.1:80', '10.0.0.1'],
    ['203.0.113.999', ''],
    ['0x7f.1', ''],
    ['2130706433', ''],
    ['', ''],
  ]
  for (const [header, read] of cases) assert.equal(canonicalForwardedFor(header), read, header)
})

test('one client behind a trusted proxy is one client, whatever the proxy writes with its address', async (t) => {
  const { url, studio } = await listening(t, { trustedProxies: '127.0.0.1, 10.0.0.0/8' })
  const addresses: string[] = []
  const caller = studio.caller.bind(studio)
  studio.caller = (from) => {
    addresses.push(from.address)
    return caller(from)
  }
  const seen = async (forwarded: string) => {
    addresses.length = 0
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': forwarded }
    await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: '{"prompt":"a"}' })
    return addresses[0]
  }
  for (const port of [1, 2, 3]) assert.equal(await seen(`203.0.113.9:4000${port}`), '203.0.113.9')
  assert.equal(await seen('198.51.100.1, 203.0.113.9, 10.1.2.3:55'), '203.0.113.9')
  for (const text of ['unknown1', 'unknown2', 'x, y']) assert.equal(await seen(text), '127.0.0.1')
})

test('a server under a path of its proxy writes that path into every address', async (t) => {
  const { url, studio } = await listening(t, { trustedProxies: '127.0.0.1' })
  const under = { 'x-forwarded-prefix': '/studio/' }
  const page = await (await fetch(url, { headers: under })).text()
  const addresses = [...page.matchAll(/ (?:href|src|action|hx-post|hx-get|data-root)="(\/[^"]*)"/g)]
  assert.ok(addresses.length > 12)
  for (const [, address] of addresses) assert.match(String(address), /^\/studio\//)
  const form = { ...under, 'content-type': 'application/x-www-form-urlencoded' }
  const body = 'prompt=%22+href%3D%22%2Fx'
  const sent = await fetch(`${url}/jobs`, { method: 'POST', headers: form, body, redirect: 'manual' })
  assert.equal(sent.headers.get('location'), `/studio/jobs/${studio.newest.id}`)
  const card = await (await fetch(`${url}/jobs/${studio.newest.id}/card`, { headers: under })).text()
  assert.match(card, /href&#61;&#34;\/x/, 'the words of a person are not changed')
  assert.match(card, / hx-get="\/studio\/jobs\//)
  studio.finish()
  const read = await fetch(`${url}/v1/jobs/${studio.newest.id}`, { headers: under })
  const { links, images } = (await read.json()) as {
    links: Record<string, string>
    images: { url: string }[]
  }
  for (const link of [...Object.values(links), images[0]?.url])
    assert.match(String(link), /^\/studio\/v1\/jobs\//)
  const json = { ...under, 'content-type': 'application/json' }
  const posted = await fetch(`${url}/v1/jobs`, { method: 'POST', headers: json, body: '{"prompt":"a"}' })
  assert.match(String(posted.headers.get('location')), /^\/studio\/v1\/jobs\//)
})

test('the path of a stranger, and one that is no plain path, is not believed', async (t) => {
  const trusted = await listening(t, { trustedProxies: '127.0.0.1' })
  const untrusted = await listening(t)
  const page = async (url: string, prefix: string) =>
    (await fetch(url, { headers: { 'x-forwarded-prefix': prefix } })).text()
  for (const html of [
    await page(untrusted.url, '/studio'),
    await page(trusted.url, '//evil.example'),
    await page(trusted.url, 'https://evil.example/'),
    await page(trusted.url, '/a/../b'),
    await page(trusted.url, '/a"><script>'),
  ]) {
    assert.match(html, / href="\/assets\//)
    assert.doesNotMatch(html, /evil|href="\/a\/|<script>/)
  }
})
