import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Html, html } from './html.ts'

test('text is escaped, in content and in attributes', () => {
  const hostile = `<script>alert("1")</script>' & {{x}}`
  const page = html`<p title="${hostile}">${hostile}</p>`.toString()
  assert.ok(!page.includes('<script'))
  assert.equal(page.match(/"/g)?.length, 2)
  assert.match(page, /&#60;script&#62;/)
  assert.match(page, /&#38; \{\{x\}\}/)
})

test('an exclamation mark before a value does not switch escaping off', () => {
  assert.equal(html`Hello!${'<b>'}`.toString(), 'Hello!&#60;b&#62;')
})

test('nested markup and lists of markup are kept as they are', () => {
  const items = ['a', '<b>'].map((item) => html`<li>${item}</li>`)
  assert.equal(html`<ul>${items}</ul>`.toString(), '<ul><li>a</li><li>&#60;b&#62;</li></ul>')
})

test('a list of strings is escaped', () => {
  assert.equal(html`${['<', '>']}`.toString(), '&#60;&#62;')
})

test('nothing is written for absent values; zero is a value', () => {
  assert.equal(html`[${undefined}${null}${false}${0}]`.toString(), '[0]')
})

test('markup is only made by the tag', () => {
  assert.throws(() => new Html(Symbol('html'), '<b>'), TypeError)
})
