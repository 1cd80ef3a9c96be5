import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPublicAddress, parseWebhookHost, webhookRules } from './webhook-address.ts'

const forbidden: Readonly<Record<string, RegExp>> = {
  'not an address': /ASCII|such as/,
  'shop.example.com/hook': /such as/,
  'ftp://shop.example.com/': /https:/,
  'http://shop.example.com/hook': /https:/,
  'file:///etc/passwd': /https:/,
  'https://user:pass@shop.example.net/': /user or password/,
  'https://user@shop.example.net/': /user or password/,
  'https://shop.example.net/hook#part': /fragment/,
  'https://shop.example.net:22/': /port 443/,
  'https://shop.example.net:6379/': /port 443/,
  'https://127.0.0.1/': /public/,
  'https://127.1/': /public/,
  'https://2130706433/': /public/,
  'https://0x7f000001/': /public/,
  'https://0177.0.0.1/': /public/,
  'https://127.0.0.1./': /public/,
  'https://0/': /public/,
  'https://10.1.2.3/': /public/,
  'https://172.31.0.1/': /public/,
  'https://192.168.1.1/': /public/,
  'https://169.254.169.254/latest/meta-data/': /public/,
  'https://100.100.100.200/': /public/,
  'https://[::1]/': /public/,
  'https://[::]/': /public/,
  'https://[::ffff:169.254.169.254]/': /public/,
  'https://[::ffff:7f00:1]/': /public/,
  'https://[64:ff9b::a9fe:a9fe]/': /public/,
  'https://[64:ff9b:1::1]/': /public/,
  'https://[2002:7f00:1::]/': /public/,
  'https://[2001:db8::1]/': /public/,
  'https://[fd00::1]/': /public/,
  'https://[fe80::1]/': /public/,
  'https://[ff02::1]/': /public/,
  'https://localhost/': /private network/,
  'https://LOCALHOST./': /private network/,
  'https://db.localhost/': /private network/,
  'https://rabbit/': /private network/,
  'https://metadata.google.internal/': /private network/,
  'https://printer.local/': /private network/,
  'https://router.home.arpa/': /private network/,
  'https://shop.example.net/a\nb': /ASCII/,
  'https://shop.example.net/ä': /ASCII/,
  [`https://shop.example.net/${'a'.repeat(2100)}`]: /2048/,
}

test('a receiver of a forbidden kind is refused with its reason', () => {
  const rules = webhookRules()
  for (const [url, reason] of Object.entries(forbidden))
    assert.match(rules.faultOf(url) ?? 'no fault', reason, url)
})

test('a receiver on the public internet is accepted', () => {
  const rules = webhookRules()
  const urls = [
    'https://shop.example.com/hook?token=7',
    'https://shop.example.com:8443/',
    'https://shop.example.com:443/',
    'https://93.184.216.34/hook',
    'https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/',
    'https://xn--bcher-kva.example.net/',
  ]
  for (const url of urls) assert.equal(rules.faultOf(url), undefined, url)
})

test('only addresses of the public internet are public, whatever they are written in', () => {
  const not = [
    ...['0.0.0.0', '10.0.0.0', '100.64.0.1', '100.127.255.255', '127.255.255.255', '169.254.0.1'],
    ...[
      '172.16.0.1',
      '172.31.255.255',
      '192.0.0.8',
      '192.0.2.1',
      '192.88.99.1',
      '192.168.255.255',
      '198.18.0.1',
    ],
    ...[
      '198.19.255.255',
      '198.51.100.7',
      '203.0.113.7',
      '224.0.0.1',
      '239.255.255.255',
      '240.0.0.1',
      '255.255.255.255',
    ],
    ...[
      '::',
      '::1',
      '::ffff:10.0.0.1',
      '::127.0.0.1',
      '64:ff9b::10.0.0.1',
      '2002:a00:1::',
      '2001::1',
      '2001:db8::1',
    ],
    ...[
      '3fff::1',
      'fc00::1',
      'fd12::1',
      'fe80::1',
      'fe80::1%eth0',
      'fec0::1',
      'ff02::1',
      '100::1',
      '5f00::1',
      'no address',
      '',
    ],
  ]
  for (const address of not) assert.equal(isPublicAddress(address), false, address)
  const are = [
    '1.1.1.1',
    '9.9.9.9',
    '100.63.255.255',
    '100.128.0.0',
    '172.32.0.1',
    '192.0.1.1',
    '::ffff:1.1.1.1',
  ]
  for (const address of [...are, '64:ff9b::1.1.1.1', '2606:4700::1111', '2a00:1450::1'])
    assert.equal(isPublicAddress(address), true, address)
})

test('what the operator lists may use http and private addresses, and nothing else may', () => {
  const rules = webhookRules(['hooks', '*.lan', '10.0.0.7:8080', '[fd00::7]', 'Shop.Example.com'])
  const listed = [
    ...[
      'http://hooks/x',
      'http://hooks:9000/',
      'http://a.b.lan/',
      'http://10.0.0.7:8080/',
      'https://[fd00:0::7]:1/',
    ],
    ...['http://shop.example.com/', 'http://HOOKS./'],
  ]
  for (const url of listed) {
    assert.equal(rules.faultOf(url), undefined, url)
    assert.ok(rules.allows(new URL(url), '169.254.169.254'))
  }
  const others = [
    'http://lan/',
    'http://10.0.0.7/',
    'http://10.0.0.8:8080/',
    'http://hooks.example.com/',
    'http://xhooks/',
  ]
  for (const url of [...others, 'http://user@hooks/']) assert.notEqual(rules.faultOf(url), undefined, url)
  assert.equal(rules.allows(new URL('https://shop.example.net/'), '10.0.0.7'), false)
})

test('an entry of the list is a name or address, with or without a port', () => {
  for (const wrong of [
    '',
    '*',
    '*.',
    'a b',
    'http://hooks',
    'hooks:',
    'hooks:99999',
    'a.*',
    '[10.0.0.1]',
    '10.0.0.0/8',
    '0x7f.1',
  ])
    assert.equal(parseWebhookHost(wrong), undefined, wrong)
})
