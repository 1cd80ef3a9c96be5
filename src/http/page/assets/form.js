/**
 * What the form does beyond htmx: Enter sends it, characters are counted, links fill it in without a new page,
 * schedules follow the sampler, a click inserts a name into its field, and a server that does not answer is reported.
 * Without this file it is a plain form.
 *
 * For photo.js: the event `form:filled` says that a link filled the form in.
 */
;(() => {
  document.documentElement.classList.remove('no-js')

  const form = () => document.getElementById('request')

  function count(field) {
    const counter = document.querySelector(`[data-counter-for="${field.id}"]`)
    if (!counter) return
    counter.hidden = field.value.length < field.maxLength / 2
    counter.textContent = `${field.value.length} / ${field.maxLength}`
  }

  /** What always has a value, and what is not a setting. */
  const kept = ['size', 'strength', 'finish_fill', 'finish_colour', 'source', 'shown_model']

  /** What a recipe does not name is as it was when the form was empty, but for what the page itself sets. */
  function unnamed(settings) {
    const names = [...form().elements].map((control) => control.name)
    return new Set(names.filter((name) => name && !kept.includes(name) && !settings.has(name)))
  }

  function countAll() {
    for (const field of form()?.querySelectorAll('textarea') ?? []) count(field)
  }

  function clearErrors() {
    form().querySelector('.form-error')?.remove()
    for (const field of form().querySelectorAll('.is-wrong')) {
      field.classList.remove('is-wrong')
      field.querySelector('.field-error')?.remove()
      field.querySelector('[aria-invalid]')?.removeAttribute('aria-invalid')
    }
  }

  // A recipe (a link with steps) sets every field that it can; an example sets only the prompt. A size in the list
  // is selected there. False: the link must be followed, because its URL does not have all settings.
  function fillFrom(link) {
    const settings = new URL(link.href).searchParams
    if (!form() || settings.has('from')) return false
    clearErrors()
    for (const name of settings.has('steps') ? unnamed(settings) : []) settings.append(name, '')
    if (named.test(settings.get('prompt') ?? '') && !settings.has('background'))
      settings.set('background', '')
    const size = `${settings.get('width')}x${settings.get('height')}`
    const sizes = [...form().elements.namedItem('size').options].map((option) => option.value)
    if (sizes.includes(size)) {
      settings.set('size', size)
      settings.set('width', '')
      settings.set('height', '')
    }
    for (const [name, value] of settings) {
      const control = form().elements.namedItem(name)
      // Chrome finds no radio button with an empty value by its value
      if (control instanceof RadioNodeList) {
        for (const radio of control) radio.checked = radio.value === value
        // a value that is not offered, or none where one is needed
        if (![...control].some((radio) => radio.checked)) control[0].checked = true
      } else if (control?.type === 'checkbox') {
        control.checked = value !== ''
      } else if (control) {
        control.value = value
        if (control.selectedIndex === -1) control.selectedIndex = 0
      }
    }
    if (settings.get('seed')) form().querySelector('.more').open = true
    arrange()
    document.dispatchEvent(new Event('form:filled'))
    const prompt = document.getElementById('prompt')
    prompt.focus()
    prompt.setSelectionRange(prompt.value.length, prompt.value.length)
    return true
  }

  // --- The schedules of the sampler, the names in a field, the number beside a slider.

  function followSampler() {
    const [sampler, schedule] = ['sampler', 'schedule'].map((name) => document.getElementById(name))
    const offered = sampler?.selectedOptions[0]?.dataset.schedules?.split(' ')
    if (!schedule || !offered) return
    for (const option of schedule.options) {
      option.hidden = option.value !== '' && !offered.includes(option.value)
      option.disabled = option.hidden
    }
    if (schedule.selectedOptions[0]?.disabled) schedule.value = ''
  }

  const isName = (name) => (entry) => entry.replace(/\s*:[^:]*$/, '') === name

  function entriesOf(field) {
    return field.value
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
  }

  function showChips() {
    for (const chip of form()?.querySelectorAll('[data-chip]') ?? []) {
      const entries = entriesOf(document.getElementById(chip.dataset.chip))
      chip.setAttribute('aria-pressed', String(entries.some(isName(chip.textContent))))
    }
  }

  function pressChip(chip) {
    const field = document.getElementById(chip.dataset.chip)
    const [name, entries] = [chip.textContent, entriesOf(field)]
    const others = entries.filter((entry) => !isName(name)(entry))
    field.value = (others.length < entries.length ? others : [...entries, name]).join(', ')
    arrange()
  }

  function showPercent(slider) {
    const output = slider.parentElement.querySelector('output')
    if (output) output.textContent = `${Math.round((slider.value * 100) / (slider.max > 1 ? 100 : 1))} %`
  }

  // --- A background that the words name too: both are sent, and the words usually win.

  const named =
    /,?\s*\b(?:on|against|before|in front of|with)\s+(?:an?|the)\s[^,.]*\b(?:background|backdrop|table)\b/i

  function showConflict() {
    const note = form()?.querySelector('.background-note')
    const words = named.exec(document.getElementById('prompt')?.value ?? '')?.[0]
    if (!note) return
    note.hidden = words === undefined || form().elements.namedItem('background').value === ''
    if (!note.hidden)
      note.firstElementChild.textContent = `Your words also say “${words.replace(/^,?\s*/, '')}”.`
  }

  function arrange() {
    showConflict()
    countAll()
    followSampler()
    showChips()
    for (const slider of form()?.querySelectorAll('.percent [type="range"]') ?? []) showPercent(slider)
  }

  function sayFailed(status) {
    form().querySelector('.form-error')?.remove()
    const note = document.createElement('p')
    note.className = 'form-error is-away'
    note.setAttribute('role', 'alert')
    note.textContent =
      status === 413
        ? 'That was too much text. Nothing was sent.'
        : 'The server does not answer, and nothing was sent. Please try again in a moment.'
    // beside the button that was pressed: it stays in the window however far the form is scrolled
    form().querySelector('.panel-foot').prepend(note)
  }

  document.addEventListener('keydown', (event) => {
    const field = event.target
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || field.tagName !== 'TEXTAREA') return
    event.preventDefault()
    if (!event.repeat) field.form.requestSubmit()
  })

  document.addEventListener('input', (event) => {
    if (event.target.tagName === 'TEXTAREA') count(event.target)
    if (event.target.matches('.percent [type="range"]')) showPercent(event.target)
    if (event.target.form === form()) showChips()
    if (event.target.form === form()) showConflict()
  })

  document.addEventListener('change', (event) => {
    if (event.target.id === 'sampler') followSampler()
  })

  document.addEventListener('click', (event) => {
    if (event.target.closest('.background-note button')) {
      const prompt = document.getElementById('prompt')
      prompt.value = prompt.value.replace(named, '')
      prompt.focus()
      arrange()
    }
    const chip = event.target.closest('[data-chip]')
    if (chip) pressChip(chip)
    const link = event.target.closest('a[data-fill]')
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
    if (link && plain && fillFrom(link)) event.preventDefault()
  })

  document.addEventListener('htmx:beforeRequest', (event) => {
    if (event.detail.elt === form()) clearErrors()
  })

  document.addEventListener('htmx:load', arrange)

  // A form renewed for another model keeps its settings open.
  document.addEventListener('htmx:beforeSwap', ({ target, detail }) => {
    if (target.id !== 'request' || !target.querySelector('.more').open) return
    detail.serverResponse = detail.serverResponse.replace(
      '<details class="more">',
      '<details class="more" open>',
    )
  })

  // An answer of any kind means that the server is back. A fault of a field without focus would be out of sight.
  document.addEventListener('htmx:afterOnLoad', () => form()?.querySelector('.form-error.is-away')?.remove())
  document.addEventListener('htmx:load', ({ target }) => {
    if (target.id !== 'request' || target.contains(document.activeElement)) return
    target.querySelector('.field-error')?.scrollIntoView({ block: 'nearest' })
  })

  for (const name of ['htmx:sendError', 'htmx:responseError', 'htmx:timeout']) {
    document.addEventListener(name, (event) => {
      if (event.detail.elt === form() || event.detail.elt.id === 'model') sayFailed(event.detail.xhr.status)
    })
  }
})()
