/**
 * What choices in the form change beside themselves: the estimate on its button, and the photo's part of the panel.
 */
;(() => {
  const form = () => document.getElementById('request')
  const value = (name) => form()?.elements.namedItem(name)?.value ?? ''
  const number = (name) => Number(value(name)) || 0

  // --- "Take 4 pictures · about 9 s", as estimate.ts writes it

  function showEstimate() {
    const action = form()?.querySelector('.shutter-action')
    if (!action) return
    const count = Math.max(1, number('count'))
    action.textContent = count === 1 ? 'Take the picture' : `Take ${count} pictures`
    const pace = Number(form().dataset.pace)
    form().querySelector('.shutter-time').textContent = pace > 0 ? roughly(units(count) * pace) : ''
  }

  /** See `workUnits`: calls of the model for a megapixel. */
  function units(count) {
    const [across, down] = value('size').split('x').map(Number)
    const width = number('width') || across || Number(form().dataset.width)
    const height = number('height') || down || Number(form().dataset.height)
    const calls = Number(document.getElementById('sampler')?.selectedOptions[0]?.dataset.calls ?? 1)
    const share = value('init_image') === '' ? 1 : number('strength') || 1
    const guided = number('guidance_scale') > 1 ? 2 : 1
    return (count * Math.floor(number('steps') * share) * calls * guided * width * height) / 1e6
  }

  function roughly(seconds) {
    if (!(seconds > 0)) return ''
    if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`
    return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${Math.round(seconds / 3600)} h`
  }

  // --- A format brings its background, fill, shadow and file; each can be changed afterwards.

  const check = (name, wanted) => {
    const radio = form()?.querySelector(`[name="${name}"][value="${wanted}"]`)
    if (radio) radio.checked = true
  }
  const exact = { '#ffffff': 'pure', transparent: 'transparent' }

  function followFormat(radio) {
    const { width, height, background, shadow, format, fillOf } = radio.dataset
    if (width === undefined) return
    const laidOn = Object.values({ ...exact, own: 'colour' })
    if (exact[background]) check('background', exact[background])
    else if (laidOn.includes(value('background'))) check('background', '')
    check('finish_shadow', shadow)
    check('format', format)
    const fill = document.getElementById('finish_fill')
    if (fillOf !== undefined && fill) {
      fill.value = fillOf
      fill.dispatchEvent(new Event('input', { bubbles: true }))
    }
    followShape(Number(width) / Number(height))
  }

  /** A pace brings its steps, guidance and sampler; the server does the same for what is not changed afterwards. */
  function followPace({ dataset }) {
    for (const name of ['steps', 'guidance_scale', 'sampler', 'schedule']) {
      const control = form().elements.namedItem(name)
      if (control) control.value = dataset[name] ?? ''
    }
    document.getElementById('sampler')?.dispatchEvent(new Event('change', { bubbles: true }))
  }

  /** What is drawn has the shape that is nearest to what is delivered. */
  function followShape(shape) {
    const size = document.getElementById('size')
    const off = ({ value }) => {
      const [across, down] = value.split('x').map(Number)
      return Math.abs(Math.log(shape / (across / down)))
    }
    const best = [...(size?.options ?? [])].sort((a, b) => off(a) - off(b))[0]
    if (best && off(best) < off(size.selectedOptions[0])) size.value = best.value
  }

  /** Transparency needs a file that can hold it. */
  function followBackground(chosen) {
    if (chosen === 'transparent' && value('format') === 'jpeg') check('format', 'png')
  }

  function showFormat() {
    const note = document.getElementById('format-note')
    const radio = form()?.querySelector('[name="finish_preset"]:checked')
    if (!note || !radio) return
    const { width = number('finish_width'), height = number('finish_height') } = radio.dataset
    const [across, down] = value('size').split('x')
    const drawn = number('width') ? `${number('width')} × ${number('height')}` : `${across} × ${down}`
    const delivered = radio.value !== '' && Number(width) > 0 && Number(height) > 0
    note.textContent = delivered ? `Drawn at ${drawn}, delivered at ${width} × ${height}.` : ''
  }

  // --- An example of the empty stage also fills in its words.

  document.addEventListener('submit', ({ target }) => {
    const prompt = document.getElementById('prompt')
    if (target.matches('[data-words]') && prompt && prompt.value.trim() === '')
      prompt.value = target.dataset.words
  })

  // --- A photo that came by any way opens the part of the panel that shows it.

  function choosePhoto() {
    const tab = form()?.querySelector('[name="source"][value="photo"]')
    if (tab) tab.checked = true
  }

  function arrange() {
    showEstimate()
    showFormat()
  }

  document.addEventListener('change', ({ target }) => {
    if (target.id === 'photo-file' && target.files?.length > 0) choosePhoto()
    if (target.name === 'finish_preset') followFormat(target)
    if (target.name === 'pace') followPace(target)
    if (target.name === 'background') followBackground(target.value)
    arrange()
  })
  document.addEventListener('drop', choosePhoto, true)
  document.addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData?.files.length > 0) choosePhoto()
  })
  document.addEventListener('input', ({ target }) => {
    if (target.form === form()) arrange()
  })
  document.addEventListener('form:filled', () => {
    if (value('init_image') !== '') choosePhoto()
    arrange()
  })
  document.addEventListener('htmx:load', arrange)
})()
