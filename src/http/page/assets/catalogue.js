/**
 * The form for a list: a file is dropped or chosen instead of pasted, and the columns of the list are offered for the
 * template. The runs of this browser are remembered, as its jobs are.
 */
;(() => {
  const { root } = document.documentElement.dataset
  const storageKey = 'packshot.runs'
  const mostRemembered = 50

  function remembered() {
    try {
      const runs = JSON.parse(localStorage.getItem(storageKey) ?? '[]')
      return Array.isArray(runs) ? runs.filter(({ id }) => /^[\w.-]{8,100}$/.test(id)) : []
    } catch {
      return []
    }
  }

  function remember(id, title) {
    const others = remembered().filter((run) => run.id !== id)
    try {
      localStorage.setItem(
        storageKey,
        JSON.stringify([{ id, title, at: Date.now() }, ...others].slice(0, mostRemembered)),
      )
    } catch {}
  }

  const state = document.getElementById('run-state')
  if (state !== null) remember(state.dataset.run, document.querySelector('h1').textContent)

  const form = document.getElementById('list-form')
  if (form === null) return

  const runs = document.getElementById('runs')
  for (const { id, title, at } of remembered()) {
    if (runs.querySelector(`a[href$="/${id}"]`) !== null) continue
    const item = document.createElement('li')
    const link = document.createElement('a')
    link.href = `${root}catalogues/${id}`
    link.textContent = `${title}, ${new Date(at).toLocaleString()}`
    item.append(link)
    runs.append(item)
  }

  const list = document.getElementById('list')
  const template = document.getElementById('template')
  const columns = document.getElementById('columns')

  /** The names in the first line; what the server makes of them counts. */
  function namesIn(text) {
    const line = text
      .replace(/^\ufeff/, '')
      .split(/[\r\n]/, 1)[0]
      .slice(0, 10_000)
    const separator = [',', ';', '\t'].reduce((best, each) =>
      line.split(each).length > line.split(best).length ? each : best,
    )
    const names = line.split(separator).map((name) => name.trim().replace(/^"|"$/g, ''))
    return names.filter((name) => name !== '' && !/[{}]/.test(name)).slice(0, 100)
  }

  function insert(name) {
    const { selectionStart, selectionEnd } = template
    const space = /\S$/.test(template.value.slice(0, selectionStart)) ? ' ' : ''
    template.setRangeText(`${space}{${name}}`, selectionStart, selectionEnd, 'end')
    template.focus()
  }

  function offer() {
    const names = namesIn(list.value)
    columns.replaceChildren(
      ...names.map((name) => {
        const button = document.createElement('button')
        button.type = 'button'
        button.className = 'pick'
        button.textContent = name
        button.addEventListener('click', () => insert(name))
        return button
      }),
    )
    // a list without a column of this name: the first text that people see should work
    if (template.value === '{prompt}' && names.length > 0 && !names.includes('prompt'))
      template.value = `{${names.at(-1)}}`
  }

  async function read(file) {
    if (file === undefined) return
    list.value = await file.text()
    offer()
  }

  list.addEventListener('input', offer)
  document.getElementById('list-file').addEventListener('change', ({ target }) => void read(target.files[0]))
  form.addEventListener('dragover', (event) => {
    event.preventDefault()
    form.classList.add('is-over')
  })
  form.addEventListener('dragleave', () => form.classList.remove('is-over'))
  form.addEventListener('drop', (event) => {
    event.preventDefault()
    form.classList.remove('is-over')
    void read(event.dataTransfer.files[0])
  })
  offer()
})()
