/**
 * The form for a catalogue run: a file is dropped or chosen instead of pasted, photos are uploaded, the columns of the list are
 * offered for the words, and a sentence says what the run would be. Which runs there are is the server's list.
 */
;(() => {
  const { root } = document.documentElement.dataset
  const form = document.getElementById('list-form')
  if (form === null) return

  const list = document.getElementById('list')
  const template = document.getElementById('template')
  const columns = document.getElementById('columns')
  const known = form.dataset.columns.split(' ')

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

  function isTable(names) {
    const texts = [template.value, form.elements.name.value]
    return names.some(
      (name) => known.includes(name.toLowerCase()) || texts.some((text) => text.includes(`{${name}}`)),
    )
  }

  function insert(name) {
    const { selectionStart, selectionEnd } = template
    const space = /\S$/.test(template.value.slice(0, selectionStart)) ? ' ' : ''
    template.setRangeText(`${space}{${name}}`, selectionStart, selectionEnd, 'end')
    template.focus()
  }

  function offer() {
    const names = namesIn(list.value)
    const offered = isTable(names) ? names : []
    columns.replaceChildren(
      ...offered.map((name) => {
        const button = document.createElement('button')
        button.type = 'button'
        button.className = 'pick'
        button.textContent = name
        button.addEventListener('click', () => insert(name))
        return button
      }),
    )
    count(offered.length > 0)
  }

  // --- "12 products × 2 sets = 24 pictures, about 6 min"

  const many = (number, one) => `${number} ${one}${number === 1 ? '' : 's'}`
  const ticked = (kind) => form.querySelectorAll(`input[name^="${kind}:"]:checked`).length

  function count(hasHeader) {
    const lines = list.value.split(/[\r\n]+/).filter((line) => line.trim() !== '').length
    const products = Math.max(0, lines - (hasHeader ? 1 : 0))
    const [sets, looks, each] = [ticked('set'), ticked('look'), Number(form.elements.variants.value)]
    const pictures = products * Math.max(1, sets) * Math.max(1, looks) * each
    const sum = document.getElementById('list-sum')
    if (products === 0 || !(pictures > 0)) {
      sum.textContent = ''
      return
    }
    const factors = [
      many(products, 'product'),
      ...(sets > 0 ? [many(sets, 'set')] : []),
      ...(looks > 0 ? [many(looks, 'look')] : []),
      ...(each > 1 ? [`${each} each`] : []),
    ]
    const seconds = Number(form.dataset.seconds) * pictures
    const time = seconds > 0 ? `, about ${roughly(seconds)}` : ''
    sum.textContent = `${factors.join(' × ')} = ${many(pictures, 'picture')}${time}, made while nobody else waits.`
  }

  /** As `duration` in words.ts. */
  function roughly(seconds) {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`
    return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
  }

  // --- Photos: sent when they are chosen, since a run needs their ids. A line names the file.

  const photos = form.elements.photos

  function say(words, isFault = false) {
    const help = document.getElementById('photo-help')
    help.textContent = words
    help.classList.toggle('field-error', isFault)
  }

  async function send(files) {
    const ids = JSON.parse(photos.value || '{}')
    const refused = []
    for (const [index, file] of files.entries()) {
      say(`Sending photo ${index + 1} of ${files.length}…`)
      const answer = await fetch(`${root}v1/uploads`, {
        method: 'POST',
        headers: { 'content-type': file.type },
        body: file,
      }).catch(() => undefined)
      const body = await answer?.json().catch(() => undefined)
      if (answer?.ok && body) ids[file.name] = body.id
      else refused.push(`${file.name}: ${body?.error?.message ?? 'The server does not answer.'}`)
    }
    photos.value = JSON.stringify(ids)
    name(files.filter((file) => Object.hasOwn(ids, file.name)).map((file) => file.name))
    const count = Object.keys(ids).length
    say(
      refused.length > 0 ? refused.join(' ') : `${many(count, 'photo')} here. Lines name them.`,
      refused.length > 0,
    )
  }

  /** Photos that no line names get lines of their own. */
  function name(files) {
    const missing = files.filter((file) => !list.value.includes(file))
    if (missing.length === 0 || isTable(namesIn(list.value))) return
    const plain = (file) => file.replace(/\.\w+$/, '').replace(/[;\t]/g, ' ')
    const lines = missing.map((file) => `${plain(file)}; ${plain(file).replace(/[-_]+/g, ' ')}; ${file}`)
    list.value = [list.value.trimEnd(), ...lines].filter((line) => line !== '').join('\n')
    offer()
  }

  async function read(file) {
    if (file === undefined) return
    list.value = await file.text()
    offer()
  }

  const isPhoto = (file) => /^image\/(png|jpeg|webp)$/.test(file.type)

  form.addEventListener('input', offer)
  document.getElementById('list-file').addEventListener('change', ({ target }) => void read(target.files[0]))
  document
    .getElementById('list-photos')
    .addEventListener('change', ({ target }) => void send([...target.files]))
  form.addEventListener('dragover', (event) => {
    event.preventDefault()
    form.classList.add('is-over')
  })
  form.addEventListener('dragleave', () => form.classList.remove('is-over'))
  form.addEventListener('drop', (event) => {
    event.preventDefault()
    form.classList.remove('is-over')
    const files = [...event.dataTransfer.files]
    const pictures = files.filter(isPhoto)
    if (pictures.length > 0) void send(pictures)
    else void read(files[0])
  })
  offer()
})()
