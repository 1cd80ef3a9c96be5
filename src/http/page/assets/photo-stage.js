/**
 * The photo on the stage and its mask: brush, eraser, undo, invert, zoom, by mouse, touch and keyboard. All drawing is on
 * canvases: the page's policy does not allow URLs of the visitor's files. photo.js decides what is shown and when the mask
 * is sent; it hears of changes by the event `photo:painted`.
 *
 * Longer than most files: pointers, keys and buttons change one mask and one view.
 */
globalThis.photoStage = (() => {
  /** Of a canvas, in pixels: more would only be slow to paint on. The service scales masks smoothly. */
  const longestSide = 1280
  /** Each is a byte a pixel. */
  const mostSteps = 24
  const zooms = [1, 8]

  const part = (selector) => document.querySelector(`#photo-stage ${selector}`)
  const tool = (name) => part(`[data-photo="${name}"]`)

  /** How much of each pixel is drawn anew: the alpha of a canvas that is never shown. */
  const mask = document.createElement('canvas')
  const ink = mask.getContext('2d', { willReadFrequently: true })

  let loaded = false
  let painted = false
  let active
  let zoom = 1
  let hatch
  let past = []
  let future = []
  /** Where the keyboard's brush is, in pixels of the mask, and whether it is down. */
  let caret
  const pointers = new Map()
  let pinch
  let last

  function say(words, isFault = false) {
    const note = part('.photo-note')
    note.textContent = words
    note.classList.toggle('is-fault', isFault)
  }

  const isShown = () => document.getElementById('photo-stage')?.hidden === false

  // --- Showing

  /** Shows a picture with an empty mask, and closes it. */
  function show(bitmap) {
    const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height))
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)))
    for (const canvas of [mask, part('.photo-picture'), part('.photo-mask')])
      Object.assign(canvas, { width, height })
    const context = part('.photo-picture').getContext('2d')
    context.imageSmoothingQuality = 'high'
    context.drawImage(bitmap, 0, 0, width, height)
    bitmap.close()
    loaded = true
    caret = undefined
    open()
    choose(undefined)
    forget()
    setZoom(1)
    hatch = hatchOf(opposite(context, width, height))
    render()
  }

  /** The stage shows one thing: the photo, or pictures. */
  function open() {
    if (!loaded) return
    document.getElementById('photo-stage').hidden = false
    setZoom(zoom)
    document.dispatchEvent(new Event('photo:shown'))
  }

  function close() {
    if (!isShown()) return
    document.getElementById('photo-stage').hidden = true
    document.dispatchEvent(new Event('photo:shown'))
  }

  /** Forgets the photo. */
  function hide() {
    if (!loaded) return
    loaded = false
    say('')
    forget()
    close()
  }

  function forget() {
    painted = false
    past = []
    future = []
    arrange()
  }

  /** A colour far from those of the picture: the hue across from the mean of its strong colours, magenta for greys. */
  function opposite(context, width, height) {
    const small = document.createElement('canvas')
    Object.assign(small, { width: 32, height: 32 })
    const copy = small.getContext('2d', { willReadFrequently: true })
    copy.drawImage(context.canvas, 0, 0, width, height, 0, 0, 32, 32)
    const { data } = copy.getImageData(0, 0, 32, 32)
    let [x, y] = [0, 0]
    for (let i = 0; i < data.length; i += 4) {
      const [red, green, blue] = data.slice(i, i + 3)
      // the hue as a direction, as long as the colour is strong
      x += red - (green + blue) / 2
      y += ((green - blue) * Math.sqrt(3)) / 2
    }
    const strength = Math.hypot(x, y) / (data.length / 4)
    return strength < 6 ? 300 : (Math.round((Math.atan2(y, x) * 180) / Math.PI) + 540) % 360
  }

  /** Stripes with a light and a dark side, so that they are seen on any ground; as wide on the screen at any size. */
  function hatchOf(hue) {
    const canvas = part('.photo-mask')
    const side = Math.max(
      8,
      Math.round((18 * canvas.width) / Math.max(1, canvas.clientWidth || canvas.width)),
    )
    const tile = document.createElement('canvas')
    Object.assign(tile, { width: side, height: side })
    const context = tile.getContext('2d')
    context.fillStyle = `hsl(${hue} 90% 50% / 16%)`
    context.fillRect(0, 0, side, side)
    for (const [colour, shift] of [
      ['rgb(0 0 0 / 45%)', 0.12],
      [`hsl(${hue} 95% 58%)`, 0],
    ]) {
      context.strokeStyle = colour
      context.lineWidth = side * 0.13
      context.beginPath()
      for (const at of [-side, 0, side]) {
        context.moveTo(at + side * (shift - 0.5), side * 1.5)
        context.lineTo(at + side * (shift + 1.5), -side * 0.5)
      }
      context.stroke()
    }
    return part('.photo-mask').getContext('2d').createPattern(tile, 'repeat')
  }

  function render() {
    const canvas = part('.photo-mask')
    const context = canvas.getContext('2d')
    context.globalCompositeOperation = 'copy'
    context.fillStyle = hatch
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = 'destination-in'
    context.drawImage(mask, 0, 0)
    if (caret) {
      context.globalCompositeOperation = 'source-over'
      for (const [colour, width] of [
        ['black', 4],
        [caret.down ? 'red' : 'white', 2],
      ]) {
        context.strokeStyle = colour
        context.lineWidth = width * perPixel()
        context.beginPath()
        context.arc(caret.x, caret.y, brushSize() / 2, 0, 7)
        context.stroke()
      }
    }
  }

  /** Pixels of the mask per pixel of the screen. */
  const perPixel = () => mask.width / (part('.photo-mask').getBoundingClientRect().width || mask.width)
  const brushSize = () => Number(part('#brush').value) * perPixel()

  function arrange() {
    tool('undo').disabled = past.length === 0
    tool('redo').disabled = future.length === 0
    tool('clear').disabled = !painted
    tool('out').disabled = zoom <= zooms[0]
    tool('in').disabled = zoom >= zooms[1]
  }

  // --- The mask

  function alphaOf() {
    const { data } = ink.getImageData(0, 0, mask.width, mask.height)
    return Uint8ClampedArray.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3])
  }

  function setAlpha(alpha) {
    const image = ink.createImageData(mask.width, mask.height)
    for (let i = 0; i < alpha.length; i += 1) image.data[4 * i + 3] = alpha[i]
    ink.putImageData(image, 0, 0)
    painted = alpha.some((value) => value > 0)
    render()
    arrange()
  }

  function remember() {
    past.push(alphaOf())
    if (past.length > mostSteps) past.shift()
    future = []
  }

  function changed(words) {
    arrange()
    if (words) say(words)
    document.dispatchEvent(new CustomEvent('photo:painted', { detail: { painted } }))
  }

  function step(from, to, words) {
    const alpha = from.pop()
    if (!alpha) return
    to.push(alphaOf())
    setAlpha(alpha)
    changed(words)
  }

  /**
   * Sets the mask from a picture of its shape, and closes that: `drawn` is white, or transparent, where it is drawn anew;
   * of a `product` all but itself is.
   */
  function setMask(bitmap, kind) {
    const canvas = document.createElement('canvas')
    Object.assign(canvas, { width: mask.width, height: mask.height })
    const context = canvas.getContext('2d', { willReadFrequently: true })
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
    bitmap.close()
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height)
    const clear = kind === 'product' || data.some((value, i) => i % 4 === 3 && value < 255)
    const light = (i) => 0.2126 * data[i] + 0.7152 * data[i + 1] + 0.0722 * data[i + 2]
    setAlpha(
      Uint8ClampedArray.from({ length: data.length / 4 }, (_, i) =>
        Math.round(clear ? 255 - data[4 * i + 3] : light(4 * i)),
      ),
    )
  }

  function clear() {
    if (!painted) return
    remember()
    setAlpha(new Uint8ClampedArray(mask.width * mask.height))
    changed('Nothing is hatched now.')
  }

  /** White is drawn anew, black is kept, and soft edges are between. */
  function maskFile() {
    const canvas = document.createElement('canvas')
    Object.assign(canvas, { width: mask.width, height: mask.height })
    const context = canvas.getContext('2d')
    context.drawImage(mask, 0, 0)
    context.globalCompositeOperation = 'source-in'
    context.fillStyle = 'white'
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = 'destination-over'
    context.fillStyle = 'black'
    context.fillRect(0, 0, canvas.width, canvas.height)
    return new Promise((resolve, reject) => {
      canvas.toBlob(
        (blob) => (blob ? resolve(blob) : reject(new Error('This browser cannot write the mask.'))),
        'image/png',
      )
    })
  }

  function line(from, to) {
    ink.globalCompositeOperation = active === 'eraser' ? 'destination-out' : 'source-over'
    Object.assign(ink, { strokeStyle: 'black', lineWidth: brushSize(), lineCap: 'round' })
    ink.beginPath()
    ink.moveTo(from.x, from.y)
    ink.lineTo(to.x, to.y)
    ink.stroke()
    ink.globalCompositeOperation = 'source-over'
    if (active !== 'eraser') painted = true
  }

  function lifted() {
    if (active === 'eraser') painted = alphaOf().some((value) => value > 0)
    changed()
  }

  // --- Tools

  function choose(name) {
    active = name
    part('.photo-sheet').classList.toggle('is-painting', name !== undefined)
    for (const each of ['brush', 'eraser']) tool(each).setAttribute('aria-pressed', String(each === name))
    part('.photo-cursor').hidden = true
  }

  function setSize(size) {
    const brush = part('#brush')
    brush.value = size
    part('output').textContent = brush.value
    moveCursor()
  }

  /** Around a point of the window that stays where it is; by default the middle of the view. */
  function setZoom(wanted, at) {
    const view = part('.photo-view')
    const box = view.getBoundingClientRect()
    const { x, y } = at ?? { x: box.left + box.width / 2, y: box.top + box.height / 2 }
    const sheet = part('.photo-sheet')
    const before = sheet.getBoundingClientRect()
    const [across, down] = [(x - before.left) / (before.width || 1), (y - before.top) / (before.height || 1)]
    zoom = Math.min(zooms[1], Math.max(zooms[0], wanted))
    const top = box.top > 0 && box.top < innerHeight / 2 ? box.top : innerHeight / 4
    const film = document.getElementById('film-bar')?.offsetHeight ?? 0
    const most = Math.min(1100, Math.max(200, innerHeight - top - film - 56))
    const fit = Math.min(view.clientWidth / mask.width, most / mask.height)
    sheet.style.width = `${Math.floor(mask.width * fit * zoom)}px`
    sheet.style.height = `${Math.floor(mask.height * fit * zoom)}px`
    view.style.maxHeight = `${Math.ceil(most) + 2}px`
    const after = sheet.getBoundingClientRect()
    view.scrollLeft += after.left + across * after.width - x
    view.scrollTop += after.top + down * after.height - y
    arrange()
  }

  function invert() {
    remember()
    setAlpha(alphaOf().map((value) => 255 - value))
    changed('What was kept is drawn anew now, and the rest is kept.')
  }

  const actions = {
    brush: () => choose(active === 'brush' ? undefined : 'brush'),
    eraser: () => choose(active === 'eraser' ? undefined : 'eraser'),
    undo: () => step(past, future, 'Undone.'),
    redo: () => step(future, past, 'Done again.'),
    invert,
    clear,
    out: () => setZoom(zoom / 1.5),
    in: () => setZoom(zoom * 1.5),
    fit: () => setZoom(1),
  }

  document.addEventListener('click', ({ target }) => {
    const button = target.closest('#photo-stage [data-photo]')
    if (button) actions[button.dataset.photo]?.()
  })

  document.addEventListener('input', ({ target }) => {
    if (target.id === 'brush') setSize(target.value)
  })

  // --- Pointers: one paints, two move and zoom.

  const at = ({ clientX, clientY }) => {
    const box = part('.photo-mask').getBoundingClientRect()
    return { x: (clientX - box.left) * perPixel(), y: (clientY - box.top) * perPixel() }
  }

  function moveCursor(event) {
    const cursor = part('.photo-cursor')
    const size = part('#brush').value
    cursor.style.width = `${size}px`
    cursor.style.height = `${size}px`
    if (!event) return
    const box = part('.photo-sheet').getBoundingClientRect()
    cursor.hidden = active === undefined || event.pointerType === 'touch'
    cursor.style.transform = `translate(${event.clientX - box.left - size / 2}px, ${event.clientY - box.top - size / 2}px)`
  }

  function between() {
    const [a, b] = [...pointers.values()]
    return {
      x: (a.clientX + b.clientX) / 2,
      y: (a.clientY + b.clientY) / 2,
      apart: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY),
    }
  }

  document.addEventListener('pointerdown', (event) => {
    if (!event.target.matches?.('.photo-mask') || event.button !== 0 || active === undefined) return
    event.target.setPointerCapture(event.pointerId)
    pointers.set(event.pointerId, event)
    caret = undefined
    if (pointers.size === 2) {
      // the first finger has begun a stroke that was not meant
      if (last) setAlpha(past.pop())
      last = undefined
      pinch = { ...between(), zoom }
    } else if (pointers.size === 1) {
      remember()
      last = at(event)
      line(last, last)
      render()
    }
  })

  document.addEventListener('pointermove', (event) => {
    if (!event.target.matches?.('.photo-mask')) return
    moveCursor(event)
    if (!pointers.has(event.pointerId)) return
    pointers.set(event.pointerId, event)
    if (pinch && pointers.size === 2) {
      const now = between()
      const view = part('.photo-view')
      view.scrollLeft -= now.x - pinch.x
      view.scrollTop -= now.y - pinch.y
      setZoom((pinch.zoom * now.apart) / Math.max(1, pinch.apart), now)
      Object.assign(pinch, { x: now.x, y: now.y })
    } else if (last) {
      for (const each of event.getCoalescedEvents?.() ?? [event]) {
        const next = at(each)
        line(last, next)
        last = next
      }
      render()
    }
  })

  for (const name of ['pointerup', 'pointercancel']) {
    document.addEventListener(name, (event) => {
      if (!pointers.delete(event.pointerId)) return
      if (last) lifted()
      last = undefined
      if (pointers.size < 2) pinch = undefined
    })
  }

  document.addEventListener('pointerout', ({ target }) => {
    if (target.matches?.('.photo-mask')) part('.photo-cursor').hidden = true
  })

  // --- Keys

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

  function moveCaret([x, y], far) {
    caret ??= { x: mask.width / 2, y: mask.height / 2, down: false }
    const length = far ? brushSize() * 2 : Math.max(perPixel(), brushSize() / 4)
    const from = { ...caret }
    caret.x = Math.min(mask.width, Math.max(0, caret.x + x * length))
    caret.y = Math.min(mask.height, Math.max(0, caret.y + y * length))
    if (caret.down) line(from, caret)
    render()
  }

  function pressCaret() {
    caret ??= { x: mask.width / 2, y: mask.height / 2, down: false }
    if (active === undefined) choose('brush')
    caret.down = !caret.down
    if (caret.down) {
      remember()
      line(caret, caret)
    } else lifted()
    render()
    say(caret.down ? `The ${active} is down. Arrow keys draw, Space lifts it.` : `The ${active} is lifted.`)
  }

  const keys = {
    b: actions.brush,
    e: actions.eraser,
    '[': () => setSize(Number(part('#brush').value) - 4),
    ']': () => setSize(Number(part('#brush').value) + 4),
    '-': actions.out,
    '+': actions.in,
    '=': actions.in,
    0: actions.fit,
  }

  document.addEventListener('keydown', (event) => {
    if (!event.target.closest?.('#photo-stage') || event.altKey) return
    const canvas = event.target.matches('.photo-mask')
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    let action = event.ctrlKey || event.metaKey ? undefined : keys[key]
    if ((event.ctrlKey || event.metaKey) && key === 'z') action = event.shiftKey ? actions.redo : actions.undo
    if ((event.ctrlKey || event.metaKey) && key === 'y') action = actions.redo
    if (canvas && moves[key]) action = () => moveCaret(moves[key], event.shiftKey)
    if (canvas && key === ' ') action = pressCaret
    if (key === 'Escape' && active !== undefined) action = () => choose(undefined)
    if (!action) return
    event.preventDefault()
    action()
  })

  document.addEventListener('focusout', ({ target }) => {
    if (!target.matches?.('.photo-mask') || !caret) return
    if (caret.down) lifted()
    caret = undefined
    render()
  })

  document.addEventListener(
    'wheel',
    (event) => {
      if (!event.ctrlKey || !event.target.closest?.('.photo-view')) return
      event.preventDefault()
      setZoom(zoom * Math.exp(-event.deltaY / 200), { x: event.clientX, y: event.clientY })
    },
    { passive: false },
  )

  addEventListener('resize', () => {
    if (isShown()) setZoom(zoom)
  })

  return {
    show,
    open,
    close,
    hide,
    isLoaded: () => loaded,
    say,
    setMask,
    clear,
    maskFile,
    isShown,
    shape: () => mask.width / mask.height,
    isPainted: () => painted,
  }
})()
