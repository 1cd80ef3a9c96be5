import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accountOfAddress } from './account.ts'

test('one client has one account, however its address is written', () => {
  for (const [account, ...forms] of [
    [
      '192.0.2.7',
      '192.0.2.7',
      '192.0.2.7:50123',
      '::ffff:192.0.2.7',
      '::ffff:c000:207',
      '[::ffff:192.0.2.7]:80',
    ],
    [
      '2001:db8:1:2:0:0:0:0/64',
      '2001:db8:1:2::1',
      '2001:DB8:1:2:aaaa:bbbb:cccc:dddd',
      '[2001:db8:1:2::9]:443',
    ],
    ['fe80:0:0:0:0:0:0:0/64', 'fe80::1%eth0', 'fe80::2%eth1'],
    ['127.0.0.1', '::1', '127.0.0.1', '[::1]:5000', '::ffff:127.0.0.1'],
    ['unknown', '', 'unknown', 'unknown7', '_hidden', '1.2.3.4.5', '999.1.1.1', '2001:db8::1::2'],
  ]) {
    assert.deepEqual(new Set(forms.map((form) => accountOfAddress(form))), new Set([account]))
  }
})

test('the size of a network is a setting', () => {
  const account = (address: string, bits: number) => accountOfAddress(address, bits)
  assert.equal(account('2001:db8:12:3456::1', 48), '2001:db8:12:0:0:0:0:0/48')
  assert.equal(account('2001:db8:12:3456::1', 56), '2001:db8:12:3400:0:0:0:0/56')
  assert.notEqual(account('2001:db8::1', 128), account('2001:db8::2', 128))
  assert.equal(account('192.0.2.7', 48), '192.0.2.7')
})
