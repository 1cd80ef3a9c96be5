/**
 * What the form does beyond htmx: Enter sends it, texts are counted, links fill it in without a new page, and a
 * server that does not answer is named. Without this file it is a plain form.
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

  // A recipe (a link with a seed) sets every field that it can; an example sets the prompt alone. A size of the
  // list is chosen there. False: the link must be followed, since its settings are not all in its address.
  function fillFrom(link) {
    const settings = new URL(link.href).searchParams
    if (!form() || settings.has('from')) return false
    clearErrors()
    if (settings.has('seed')) settings.append('negative_prompt', settings.get('negative_prompt') ?? '')
    const size = `${settings.get('width')}x${settings.get('height')}`
    const sizes = [...form().elements.namedItem('size').options].map((option) => option.value)
    if (sizes.includes(size)) {
      settings.set('size', size)
      settings.set('width', '')
      settings.set('height', '')
    }
    for (const [name, value] of settings) {
      const control = form().elements.namedItem(name)
      if (control) control.value = value
    }
    if (settings.has('seed')) form().querySelector('details').open = true
    countAll()
    const prompt = document.getElementById('prompt')
    prompt.focus()
    prompt.setSelectionRange(prompt.value.length, prompt.value.length)
    return true
  }

  function sayFailed(status) {
    form().querySelector('.form-error')?.remove()
    const note = document.createElement('p')
    note.className = 'form-error'
    note.setAttribute('role', 'alert')
    note.textContent =
      status === 413
        ? 'That was too much text. Nothing was sent.'
        : 'The server does not answer, and nothing was sent. Please try again in a moment.'
    form().prepend(note)
  }

  document.addEventListener('keydown', (event) => {
    const field = event.target
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || field.tagName !== 'TEXTAREA') return
    event.preventDefault()
    if (!event.repeat) field.form.requestSubmit()
  })

  document.addEventListener('input', (event) => {
    if (event.target.tagName === 'TEXTAREA') count(event.target)
  })

  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-fill]')
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
    if (link && plain && fillFrom(link)) event.preventDefault()
  })

  document.addEventListener('htmx:beforeRequest', (event) => {
    if (event.detail.elt === form()) clearErrors()
  })

  document.addEventListener('htmx:load', countAll)

  for (const name of ['htmx:sendError', 'htmx:responseError', 'htmx:timeout']) {
    document.addEventListener(name, (event) => {
      if (event.detail.elt === form()) sayFailed(event.detail.xhr.status)
    })
  }
})()
