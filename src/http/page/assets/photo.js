/**
 * The photo that a picture starts from: it is uploaded, and the upload's id goes into the form; it is drawn, and
 * what is painted over it is uploaded as a mask when the form is sent. All drawing is on canvases: the page's policy
 * does not allow URLs of the visitor's files.
 *
 * Longer than most files: sending, showing and painting share one state, so that a late answer can detect
 * that its photo was replaced.
 */
;(() => {
  /** The path of a proxy under which the page is served, or a slash. */
  const { root } = document.documentElement.dataset
  const accepted = ['image/png', 'image/jpeg', 'image/webp']
  /** Of a visible canvas, and of a mask: more would only be slow to paint on. */
  const longestSide = 1024
  /** A file above this is scaled down before it is sent, if its picture is larger than the server keeps. */
  const slowBytes = 2_000_000
  /** What every browser can draw on: Safari's canvases have 16.7 million pixels, Chrome's sides 65 535, others less. */
  const canvasPixels = 16_000_000
  const canvasSide = 16_000

  const part = (selector) => document.querySelector(`#photo ${selector}`)
  const field = (name) => document.getElementById(name)

  /** The state of the form's photo. `sending` is set while an upload is in flight. */
  let state = fresh()

  function fresh() {
    return { sending: undefined, painted: false, stale: false, painting: false, last: undefined }
  }

  function say(words, isFault = false) {
    const status = part('.photo-status')
    if (!status) return
    status.textContent = words
    status.classList.toggle('is-fault', isFault)
    if (isFault) lookAt('.photo-status')
  }

  /** Feedback that is out of sight is none: the field may be below the window, or behind the button that sends. */
  function lookAt(selector) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    part(selector).scrollIntoView({ block: 'nearest', behavior: calm ? 'auto' : 'smooth' })
  }

  function clearFault() {
    for (const error of document.querySelectorAll('#photo > .field-error')) error.remove()
    document.getElementById('photo').classList.remove('is-wrong')
  }

  // --- Sending

  async function upload(blob) {
    const answer = await fetch(`${root}v1/uploads`, {
      method: 'POST',
      headers: { 'content-type': blob.type },
      body: blob,
    }).catch(() => undefined)
    if (answer === undefined) throw new Error('The server does not answer. Please try again in a moment.')
    const body = await answer.json().catch(() => undefined)
    if (answer.ok && body) return body
    throw new Error(body?.error?.message ?? 'The server did not accept the picture.')
  }

  /**
   * The file itself if it can be sent, else the same picture scaled down, or in a format that the server reads. Call it
   * before `show`, which closes the bitmap: a closed one is 0 pixels wide.
   */
  async function sendable(file, bitmap) {
    const { bytes, pixels, kept } = Object.fromEntries(
      Object.entries(document.getElementById('photo').dataset).map(([name, value]) => [name, Number(value)]),
    )
    const { width, height } = bitmap
    const large = width * height > kept
    const heavy = file.size > bytes || width * height > pixels
    if (accepted.includes(file.type) && !heavy && !(large && file.size > slowBytes)) return file
    const most = Math.min(pixels, kept, canvasPixels)
    const scales = [1, Math.sqrt(most / (width * height)), canvasSide / Math.max(width, height)]
    const scale = Math.min(...scales)
    const canvas = document.createElement('canvas')
    canvas.width = Math.max(1, Math.floor(width * scale))
    canvas.height = Math.max(1, Math.floor(height * scale))
    const context = canvas.getContext('2d')
    context.fillStyle = 'white'
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.imageSmoothingQuality = 'high'
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
    return blobOf(canvas, 'image/jpeg')
  }

  function blobOf(canvas, type) {
    return new Promise((resolve, reject) => {
      const take = (blob) =>
        blob ? resolve(blob) : reject(new Error('This browser cannot write the picture.'))
      canvas.toBlob(take, type, 0.95)
    })
  }

  function choose(file) {
    const mine = fresh()
    state = mine
    clearFault()
    say('Sending the photo…')
    mine.sending = (async () => {
      const bitmap = await bitmapOf(file)
      if (state !== mine) return bitmap.close()
      field('mask').value = ''
      field('init_image').value = ''
      const blob = await sendable(file, bitmap)
      if (state !== mine) return bitmap.close()
      show(bitmap)
      lookAt('.photo-stage')
      const { id, width, height } = await upload(blob)
      if (state !== mine) return
      field('init_image').value = id
      say(`The photo is ready, ${width} × ${height} pixels.${fitSize(width, height)}`)
    })()
    mine.sending
      .catch((error) => {
        if (state !== mine) return
        remove()
        say(error.message, true)
      })
      .finally(() => {
        mine.sending = undefined
      })
  }

  /** Upright: a phone's photo lies on its side until its EXIF orientation is applied. */
  async function bitmapOf(file) {
    try {
      return await createImageBitmap(file, { imageOrientation: 'from-image' })
    } catch {
      throw new Error(await unreadable(file))
    }
  }

  /** Formats that most browsers cannot decode, by the brand in the first bytes of the file, whatever its name says. */
  const heif = /^(hei[cfmsx]|hev[cmsx]|mif1|msf1)$/

  async function unreadable(file) {
    if (file.size === 0) return 'This file is empty.'
    const head = new TextDecoder('latin1').decode(
      await file
        .slice(0, 12)
        .arrayBuffer()
        .catch(() => new ArrayBuffer()),
    )
    if (head.slice(4, 8) === 'ftyp' && heif.test(head.slice(8, 12)))
      return 'This browser cannot read HEIC photos. Save the photo as a JPEG, or open this page in Safari.'
    if (/^(II\*\0|MM\0\*)/.test(head))
      return 'This browser cannot read TIFF or raw photos. Save the photo as a JPEG.'
    const known = /^(\x89PNG|\xff\xd8|GIF8|RIFF....WEBP)/s.test(head)
    if (known) return 'This picture is damaged, or too large for this browser.'
    return 'This file cannot be read as a picture.'
  }

  /** The size in the list closest to the photo's shape: less of it is cropped. */
  function fitSize(width, height) {
    const size = field('size')
    const off = ({ value }) => {
      const [across, down] = value.split('x').map(Number)
      return Math.abs(Math.log(width / height / (across / down)))
    }
    const best = [...size.options].sort((a, b) => off(a) - off(b))[0]
    if (best === undefined || best.value === size.value || off(best) === off(size.selectedOptions[0]))
      return ''
    size.value = best.value
    return ` The size is now ${best.textContent}, which fits it best.`
  }

  // --- Showing

  function show(bitmap) {
    const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height))
    for (const name of ['.photo-picture', '.photo-mask']) {
      const canvas = part(name)
      canvas.width = Math.max(1, Math.round(bitmap.width * scale))
      canvas.height = Math.max(1, Math.round(bitmap.height * scale))
    }
    state.shape = bitmap.width / bitmap.height
    const picture = part('.photo-picture')
    const context = picture.getContext('2d')
    context.imageSmoothingQuality = 'high'
    context.drawImage(bitmap, 0, 0, picture.width, picture.height)
    bitmap.close()
    arrange(true)
  }

  function arrange(shown) {
    for (const name of ['.photo-stage', '.photo-tools', '.photo-strength']) part(name).hidden = !shown
    part('[for="photo-file"] span').textContent = shown ? 'Another photo' : 'Start from a photo'
    setPainting(shown && state.painting)
    part('[data-photo="clear"]').hidden = !shown || !state.painted
  }

  function remove() {
    state = fresh()
    field('init_image').value = ''
    field('mask').value = ''
    field('photo-file').value = ''
    arrange(false)
    say('')
  }

  /** A form with ids (a recipe, or one that was refused) shows their uploads. */
  async function restore() {
    if (!document.getElementById('photo')) return
    const mine = fresh()
    state = mine
    const [picture, mask] = [field('init_image').value, field('mask').value]
    arrange(false)
    if (picture === '') return
    arrange(true)
    try {
      const bitmap = await fetched(picture)
      if (state !== mine) return
      show(bitmap)
      if (mask === '') return
      const painted = await fetched(mask)
      if (state === mine) paintMask(painted)
    } catch {
      if (state === mine) part('.photo-stage').hidden = true
    }
  }

  async function fetched(id) {
    const answer = await fetch(`${root}v1/uploads/${encodeURIComponent(id)}`)
    if (!answer.ok) throw new Error('gone')
    return createImageBitmap(await answer.blob())
  }

  // --- Painting

  const paintColour = () => getComputedStyle(part('.photo-mask')).getPropertyValue('--accent').trim() || 'red'

  function setPainting(on) {
    state.painting = on
    part('.photo-stage').classList.toggle('is-painting', on)
    part('.photo-brush').hidden = !on
    part('[data-photo="paint"]').setAttribute('aria-pressed', String(on))
  }

  function touched() {
    state.painted = true
    state.stale = true
    part('[data-photo="clear"]').hidden = false
  }

  function stroke(event) {
    const canvas = part('.photo-mask')
    const box = canvas.getBoundingClientRect()
    const scale = canvas.width / box.width
    const at = { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale }
    const from = state.last ?? at
    const context = canvas.getContext('2d')
    context.strokeStyle = paintColour()
    context.lineWidth = Number(field('brush').value) * scale
    context.lineCap = 'round'
    context.beginPath()
    context.moveTo(from.x, from.y)
    context.lineTo(at.x, at.y)
    context.stroke()
    state.last = at
    touched()
  }

  function clearPaint() {
    const canvas = part('.photo-mask')
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height)
    Object.assign(state, { painted: false, stale: false })
    field('mask').value = ''
    field('mask-file').value = ''
    part('[data-photo="clear"]').hidden = true
    say('The paint is cleared: the whole photo changes.')
  }

  /** White becomes paint, or else transparency: as the server reads a mask. */
  function paintMask(bitmap) {
    const canvas = part('.photo-mask')
    const context = canvas.getContext('2d', { willReadFrequently: true })
    context.clearRect(0, 0, canvas.width, canvas.height)
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
    bitmap.close()
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height)
    const { data } = pixels
    const holes = data.some((value, i) => i % 4 === 3 && value < 255)
    const brightness = (i) => 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2]
    for (let i = 0; i < data.length; i += 4) {
      data[i + 3] = (holes ? data[i + 3] < 128 : brightness(i) >= 128) ? 255 : 0
    }
    context.putImageData(pixels, 0, 0)
    context.globalCompositeOperation = 'source-in'
    context.fillStyle = paintColour()
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = 'source-over'
    state.painted = true
    part('[data-photo="clear"]').hidden = false
  }

  async function chooseMask(file) {
    try {
      const bitmap = await bitmapOf(file)
      if (Math.abs(bitmap.width / bitmap.height / state.shape - 1) > 0.02) {
        throw new Error(
          `The mask must have the shape of the photo, but has ${bitmap.width} × ${bitmap.height} pixels.`,
        )
      }
      paintMask(bitmap)
      touched()
      say('The mask is shown on the photo: what it covers changes.')
    } catch (error) {
      say(error.message, true)
    }
  }

  /** The paint as a mask: white on black. */
  function maskFile() {
    const paint = part('.photo-mask')
    const canvas = document.createElement('canvas')
    canvas.width = paint.width
    canvas.height = paint.height
    const context = canvas.getContext('2d')
    context.drawImage(paint, 0, 0)
    context.globalCompositeOperation = 'source-in'
    context.fillStyle = 'white'
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = 'destination-over'
    context.fillStyle = 'black'
    context.fillRect(0, 0, canvas.width, canvas.height)
    return blobOf(canvas, 'image/png')
  }

  // --- The form waits for pending uploads.

  async function settle() {
    await state.sending?.catch(() => {})
    if (field('init_image').value === '' || !state.stale) return
    const mine = state
    say('Sending the mask…')
    const { id } = await upload(await maskFile())
    if (state !== mine) return
    field('mask').value = id
    mine.stale = false
    say('')
  }

  document.addEventListener('htmx:confirm', (event) => {
    const { elt, issueRequest } = event.detail
    if (!['request', 'model'].includes(elt.id) || !document.getElementById('photo')) return
    if (state.sending === undefined && !state.stale) return
    event.preventDefault()
    if (state.waiting) return
    const mine = state
    mine.waiting = true
    elt.classList.add('htmx-request')
    const hadPhoto = mine.sending !== undefined
    settle()
      // a photo that was not accepted is reported; the form is not sent without it
      .then(() => (hadPhoto && field('init_image').value === '' ? undefined : issueRequest(true)))
      .catch((error) => say(error.message, true))
      .finally(() => {
        mine.waiting = false
        elt.classList.remove('htmx-request')
      })
  })

  // --- What the visitor does

  document.addEventListener('change', ({ target }) => {
    const file = target.files?.[0]
    if (target.id === 'photo-file' && file) choose(file)
    if (target.id === 'mask-file' && file) void chooseMask(file)
  })

  const actions = { paint: () => setPainting(!state.painting), clear: clearPaint, remove }

  document.addEventListener('click', ({ target }) => {
    const button = target.closest('[data-photo]')
    if (!button) return
    actions[button.dataset.photo]()
    if (button.hidden || button.closest('[hidden]')) field('photo-file').focus()
  })

  document.addEventListener('pointerdown', (event) => {
    if (!event.target.matches?.('.photo-mask') || event.button !== 0) return
    event.target.setPointerCapture(event.pointerId)
    state.last = undefined
    stroke(event)
  })
  document.addEventListener('pointermove', (event) => {
    if (state.last && event.target.matches?.('.photo-mask')) stroke(event)
  })
  for (const name of ['pointerup', 'pointercancel']) {
    document.addEventListener(name, () => {
      state.last = undefined
    })
  }

  for (const name of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(name, (event) => {
      const photo = event.target.closest?.('#photo')
      document.getElementById('photo')?.classList.toggle('is-over', photo !== null && name === 'dragover')
      // outside the field too: the browser would leave the page to open the file
      if (![...(event.dataTransfer?.types ?? [])].includes('Files')) return
      event.preventDefault()
      const file = event.dataTransfer.files[0]
      if (name === 'drop' && photo && file) choose(file)
    })
  }

  document.addEventListener('form:filled', () => void restore())
  // the page itself, and a form that was refused
  document.addEventListener('htmx:load', ({ target }) => {
    if (target.id === 'request' || target.querySelector?.('#photo')) void restore()
  })
})()
