/**
 * LoRAs as rows: a name from the list, its strength as a slider, a button that removes it. What is sent is the text field
 * behind them, which stays in sight without this file, and while there is a fault in it.
 */
;(() => {
  const field = () => document.getElementById('loras')
  const list = () => document.getElementById('lora-rows')
  const shape = /^(.*?\S)\s*:\s*(-?\d*\.?\d+)(?:\s*:\s*(-?\d*\.?\d+))?$/

  /** As form-values.ts reads it: of two strengths the first is for the text encoder. */
  function read() {
    const entries = field()
      .value.split(',')
      .map((entry) => entry.trim())
    return entries.filter(Boolean).map((entry) => {
      const [, name = entry, one = '1', other] = shape.exec(entry) ?? []
      return other === undefined ? { name, strength: one } : { name, text: one, strength: other }
    })
  }

  function write(uses) {
    field().value = uses
      .map(({ name, text, strength }) => {
        if (text !== undefined) return `${name}:${text}:${strength}`
        return Number(strength) === 1 ? name : `${name}:${strength}`
      })
      .join(', ')
  }

  function make(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties)
    made.append(...children)
    return made
  }

  function rowOf(use, index) {
    const { name, strength } = use
    const shown = make('output', { textContent: strength })
    const slider = make('input', {
      type: 'range',
      min: Math.min(-1, strength),
      max: Math.max(2, strength),
      step: 0.05,
      value: strength,
    })
    slider.setAttribute('aria-label', `Strength of ${name}`)
    slider.addEventListener('input', () => {
      shown.textContent = slider.value
      write(read().map((each, at) => (at === index ? { ...each, strength: slider.value } : each)))
      list().dataset.of = field().value
    })
    const remove = make('button', { type: 'button', className: 'btn text', textContent: '×' })
    remove.setAttribute('aria-label', `Remove ${name}`)
    remove.addEventListener('click', () => {
      write(read().filter((_, at) => at !== index))
      show()
      document.getElementById('lora-add').focus()
    })
    return make('li', {}, make('span', { textContent: name, dir: 'auto' }), remove, slider, shown)
  }

  function show() {
    const choice = document.getElementById('lora-add')
    if (!list() || !choice) return
    // a row in use keeps the focus
    if (list().dataset.of === field().value) return
    list().dataset.of = field().value
    const uses = read()
    list().replaceChildren(...uses.map(rowOf))
    for (const option of choice.options) option.hidden = uses.some(({ name }) => name === option.value)
  }

  document.addEventListener('change', ({ target }) => {
    if (target.id === 'loras') show()
    if (target.id !== 'lora-add' || target.value === '') return
    write([...read(), { name: target.value, strength: '1' }])
    target.value = ''
    show()
    list().lastElementChild.querySelector('input').focus()
  })
  document.addEventListener('form:filled', show)
  document.addEventListener('htmx:load', show)
})()
