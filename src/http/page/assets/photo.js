/**
 * The photo that a picture starts from: it is uploaded, and the upload's id goes into the form; the stage
 * (photo-stage.js) shows it and what of it is drawn anew. If the product is to be kept, a quick job that draws nothing
 * finds it, and what it found is the mask to correct; a mask is sent only when somebody changed it, since the worker
 * finds the product in more detail than the stage shows.
 *
 * For other scripts: the cancelable event `photo:given` has a file that was dropped or pasted, in `detail.file`; a
 * script that wants to look at it first cancels it. The event `photo:use`, with `detail.file`, makes a file the photo.
 *
 * Longer than most files: sending, finding and restoring share one state, so that a late answer can detect
 * that its photo was replaced.
 */
;(() => {
  /** The path of a proxy under which the page is served, or a slash. */
  const { root } = document.documentElement.dataset
  const accepted = ['image/png', 'image/jpeg', 'image/webp']
  /** A file above this is scaled down before it is sent, if its picture is larger than the server keeps. */
  const slowBytes = 2_000_000
  /** What every browser can draw on: Safari's canvases have 16.7 million pixels, Chrome's sides 65 535, others less. */
  const canvasPixels = 16_000_000
  const canvasSide = 16_000
  const stage = globalThis.photoStage

  const panel = () => document.getElementById('photo')
  const part = (selector) => document.querySelector(`#photo ${selector}`)
  const field = (name) => document.getElementById(name)
  const keeps = () => field('keep')?.checked === true

  /** The state of the form's photo. `sending` is set while an upload is in flight, `finding` while a product is sought. */
  let state = fresh()

  function fresh() {
    return { id: '', mask: '', sending: undefined, finding: false, stale: false }
  }

  function isInView(element) {
    const { top, bottom } = element.getBoundingClientRect()
    return bottom > 0 && top < innerHeight && element.checkVisibility()
  }

  /** Where the eye is: beside the photo, or in the panel while the photo is scrolled away (on a phone). */
  function say(words, isFault = false) {
    const status = part('.photo-status')
    const near = stage.isShown() && (!status || isInView(field('photo-stage')) || !isInView(panel()))
    stage.say(near ? words : '', isFault)
    if (!status) return
    status.textContent = near ? '' : words
    status.classList.toggle('is-fault', isFault)
    if (isFault && !near) lookAt(status)
  }

  /** Feedback that is out of sight is none: the field may be below the window, or behind the button that sends. */
  function lookAt(element, block = 'nearest') {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    element.scrollIntoView({ block, behavior: calm ? 'auto' : 'smooth' })
  }

  function clearFault() {
    for (const error of document.querySelectorAll('#photo > .field-error')) error.remove()
    panel().classList.remove('is-wrong')
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
    if (!panel()) return
    const mine = fresh()
    state = mine
    clearFault()
    const wordsOrPhoto = document.querySelector('[name="source"][value="photo"]')
    wordsOrPhoto?.click()
    if (!stage.isShown()) say('Sending the photo…')
    mine.sending = (async () => {
      const bitmap = await bitmapOf(file)
      if (state !== mine) return bitmap.close()
      field('mask').value = ''
      field('init_image').value = ''
      const blob = await sendable(file, bitmap)
      if (state !== mine) return bitmap.close()
      stage.show(bitmap)
      arrange(true)
      say('Sending the photo…')
      lookAt(field('photo-stage'), 'start')
      const { id, width, height } = await upload(blob)
      if (state !== mine) return
      mine.id = id
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
        if (state === mine && mine.id !== '' && keeps()) void find()
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

  // --- Finding the product

  /** The product of the photo, as a job that draws nothing makes it; undefined if the photo was replaced. */
  async function foundIn(mine) {
    const { side, model } = panel().dataset
    const body = {
      prompt: 'the product',
      model,
      init_image: mine.id,
      keep: 'product',
      strength: 0,
      format: 'webp',
      quality: 50,
      width: Number(side),
      height: Number(side),
    }
    let job = await answered('v1/jobs', {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=20' },
      body: JSON.stringify(body),
    })
    while (['queued', 'running'].includes(job.status)) {
      if (state !== mine) return undefined
      if (job.position > 1) {
        const before = job.position === 2 ? '1 job is' : `${job.position - 1} jobs are`
        say(`Looking for the product: ${before} before this one…`)
      }
      job = await answered(`v1/jobs/${job.id}`, { headers: { prefer: 'wait=20' } })
    }
    const [image] = job.images ?? []
    if (!image) throw new Error(job.error?.message ?? 'The product was not looked for.')
    const file = await fetch(root + image.url.slice(1))
    if (!file.ok) throw new Error('What was found cannot be read.')
    const bitmap = await createImageBitmap(await file.blob())
    // nobody wants to see it among their pictures
    void fetch(`${root}v1/jobs/${job.id}`, { method: 'DELETE' }).catch(() => {})
    return bitmap
  }

  async function answered(path, options) {
    const answer = await fetch(root + path, options).catch(() => undefined)
    const body = await answer?.json().catch(() => undefined)
    if (answer?.ok && body) return body
    throw new Error(body?.error?.message ?? 'The server does not answer.')
  }

  async function find() {
    const mine = state
    if (mine.id === '' || mine.finding || stage.isPainted()) return
    mine.finding = true
    const before = document.querySelector('#photo-stage .photo-note').textContent
    say('Looking for the product…')
    try {
      const product = await foundIn(mine)
      if (product === undefined || state !== mine) return product?.close()
      if (mine.stale || !keeps()) return product.close()
      stage.setMask(product, 'product')
      const size = /The size is now[^.]*\.?/.exec(before)?.[0] ?? ''
      say(
        `The product was found: it is kept, and the hatched part is drawn anew. Correct it with brush and eraser. ${size}`,
      )
    } catch (error) {
      if (state === mine && !mine.stale) say(`${error.message} Paint what is to be drawn anew.`, true)
    } finally {
      mine.finding = false
    }
  }

  /** A mask that nobody changed goes with the choice to keep the product, one that was painted stays. */
  function keepChanged() {
    if (keeps()) void find()
    else if (!state.stale && field('mask').value === '') {
      stage.clear()
      state.stale = false
      say('Without paint the whole photo changes.')
    }
  }

  // --- Showing

  function arrangeShow() {
    const button = part('[data-photo="show"]')
    if (button) button.hidden = !stage.isLoaded() || stage.isShown()
  }

  function arrange(shown) {
    arrangeShow()
    part('.photo-options').hidden = !shown
    part('[data-photo="remove"]').hidden = !shown
    part('[for="photo-file"] span').textContent = shown ? 'Another photo' : 'Start from a photo'
  }

  function remove() {
    state = fresh()
    field('init_image').value = ''
    field('mask').value = ''
    field('photo-file').value = ''
    field('mask-file').value = ''
    stage.hide()
    arrange(false)
    say('')
  }

  /** A form with ids (a recipe, or one that was refused) shows their uploads; what is shown already stays. */
  async function restore(recalled) {
    if (!panel() || state.sending) return
    const [picture, mask] = [field('init_image').value, field('mask').value]
    arrange(picture !== '')
    if (picture === '') {
      if (state.id !== '') remove()
      return
    }
    if (
      picture === state.id &&
      stage.isLoaded() &&
      ((mask === state.mask && !state.stale) || (state.stale && !recalled))
    )
      return
    const mine = { ...fresh(), id: picture, mask }
    state = mine
    try {
      const bitmap = await fetched(picture)
      if (state !== mine) return bitmap.close()
      stage.show(bitmap)
      say('')
      if (mask === '') return keeps() ? void find() : undefined
      const painted = await fetched(mask)
      if (state === mine) stage.setMask(painted, 'drawn')
    } catch {
      if (state === mine) stage.hide()
    }
  }

  async function fetched(id) {
    const answer = await fetch(`${root}v1/uploads/${encodeURIComponent(id)}`)
    if (!answer.ok) throw new Error('gone')
    return createImageBitmap(await answer.blob())
  }

  async function chooseMask(file) {
    try {
      const bitmap = await bitmapOf(file)
      if (Math.abs(bitmap.width / bitmap.height / stage.shape() - 1) > 0.02) {
        throw new Error(
          `The mask must have the shape of the photo, but has ${bitmap.width} × ${bitmap.height} pixels.`,
        )
      }
      stage.setMask(bitmap, 'drawn')
      state.stale = true
      say('The mask is shown on the photo: what is hatched is drawn anew.')
    } catch (error) {
      say(error.message, true)
    }
  }

  // --- The form waits for pending uploads.

  async function settle() {
    await state.sending?.catch(() => {})
    if (field('init_image').value === '' || !state.stale) return
    const mine = state
    if (!stage.isPainted()) {
      field('mask').value = ''
    } else {
      say('Sending the mask…')
      const { id } = await upload(await stage.maskFile())
      if (state !== mine) return
      field('mask').value = id
      say('')
    }
    mine.mask = field('mask').value
    mine.stale = false
  }

  document.addEventListener('htmx:confirm', (event) => {
    const { elt, issueRequest } = event.detail
    if (!['request', 'model'].includes(elt.id) || !panel()) return
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

  document.addEventListener('photo:painted', () => {
    state.stale = true
  })

  document.addEventListener('change', ({ target }) => {
    const file = target.files?.[0]
    if (target.id === 'photo-file' && file) take(file)
    if (target.id === 'mask-file' && file) void chooseMask(file)
    if (target.id === 'keep') keepChanged()
  })

  /** A photo is nearly always wanted for its product. */
  function take(file) {
    const keep = field('keep')
    if (keep && state.id === '') keep.checked = true
    choose(file)
  }

  document.addEventListener('photo:shown', () => {
    if (panel()) arrangeShow()
  })

  // a new job, or an earlier one that is pressed, takes the stage
  document.addEventListener('htmx:afterRequest', ({ detail }) => {
    const sent = detail.elt.id === 'request' && detail.successful
    if (sent && detail.xhr.getResponseHeader('hx-retarget') === null) stage.close()
  })

  document.addEventListener('click', ({ target }) => {
    if (target.closest('#film button, #film a')) stage.close()
    if (target.closest('[data-photo="show"]')) {
      stage.open()
      lookAt(field('photo-stage'), 'start')
    }
    if (!target.closest('[data-photo="remove"]')) return
    remove()
    field('photo-file').focus()
  })

  function given(file) {
    const event = new CustomEvent('photo:given', { detail: { file }, cancelable: true })
    if (document.dispatchEvent(event)) take(file)
  }

  document.addEventListener('photo:use', ({ detail }) => take(detail.file))

  for (const name of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(name, (event) => {
      const files = [...(event.dataTransfer?.types ?? [])].includes('Files')
      const inside = name === 'dragover' || (name === 'dragleave' && event.relatedTarget !== null)
      document.documentElement.classList.toggle('is-dropping', files && inside && panel() !== null)
      // anywhere: the browser would leave the page to open the file
      if (!files) return
      event.preventDefault()
      const file = event.dataTransfer.files[0]
      if (name === 'drop' && panel() && file) given(file)
    })
  }

  document.addEventListener('paste', (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'))
    if (!file || !panel()) return
    event.preventDefault()
    given(file)
  })

  document.addEventListener('form:filled', () => void restore(true))
  // the page itself, and a form that was refused
  document.addEventListener('htmx:load', ({ target }) => {
    if (target.id === 'request' || target.querySelector?.('#photo')) void restore(false)
  })
})()
