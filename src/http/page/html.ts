import { html as ghtml } from 'ghtml'

/**
 * HTML that cannot be built unsafely by accident.
 *
 * ghtml escapes every value unless the text before it ends in `!`, and it returns plain strings. Two problems follow
 * from that: a sentence like `Hello!${name}` silently stops escaping, and nested markup needs the very mark that
 * is dangerous on anything else. Here markup has a type of its own: a value is inserted unescaped only if it is
 * `Html`, which only this tag creates; everything else is text and is escaped.
 *
 * Attribute values are always in double quotes: a space would end an unquoted one. User text never
 * goes into `hx-*` attributes, nor into a URL except through `URLSearchParams`.
 */
export class Html {
  readonly #text: string

  constructor(key: symbol, text: string) {
    if (key !== ownKey) throw new TypeError('Html is only made by the html tag')
    this.#text = text
  }

  toString(): string {
    return this.#text
  }
}

/** Nothing is written for `undefined`, `null` and `false`, so that `condition && html...` reads well. */
type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[]

export function html(literals: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let text = literals[0] ?? ''
  for (const [index, value] of values.entries()) text += render(value) + (literals[index + 1] ?? '')
  return new Html(ownKey, text)
}

const ownKey = Symbol('html')

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.toString()
  if (value === null || value === undefined || value === false) return ''
  if (typeof value === 'object') return value.map(render).join('')
  return ghtml`${value}`
}
