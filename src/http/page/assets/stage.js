/**
 * The stage shows one job; the film under it has a small frame for each. Of several pictures all are shown or one, in
 * place or over the whole window. Arrow keys go through them.
 *
 * The cards themselves, and when they change, are wall.js's: this file watches the list. Without it all cards stand below
 * one another.
 */
;(() => {
  const wall = () => document.getElementById('jobs')
  const film = () => document.getElementById('film')
  const cards = () => [...(wall()?.querySelectorAll(':scope > article:not([data-restore])') ?? [])]
  const unfinished = (card) => ['queued', 'running'].includes(card.dataset.status)

  /** The id of the card on the stage: a card that is replaced keeps it. */
  let current
  let unnamed = 0

  function nextName() {
    unnamed += 1
    return `line-${unnamed}`
  }

  function show(card) {
    if (!card) return
    current = card.id
    refresh()
    film()?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }

  function refresh() {
    const list = cards()
    for (const card of list) if (card.id === '') card.id = nextName()
    if (!list.some(({ id }) => id === current)) current = list[0]?.id
    for (const card of list) card.classList.toggle('is-current', card.id === current)
    document.getElementById('film-bar').hidden = list.length === 0
    showFilm(list)
    arrangeSheet()
    showScale()
    holdStill()
    document.dispatchEvent(new Event('stage:changed'))
  }

  const onStage = () => document.getElementById(current ?? '')

  // --- The film

  function showFilm(list) {
    const known = new Map([...film().children].map((item) => [item.dataset.for, item]))
    const items = list.map((card) => frameOf(card, known.get(card.id)))
    // replaced only where it differs, so that a frame keeps the focus
    const same =
      items.length === film().children.length && items.every((item, i) => film().children[i] === item)
    if (!same) film().replaceChildren(...items)
    const older = document.querySelector('#jobs > .wall-older, #older')
    olderButton().hidden = !older
  }

  function olderButton() {
    const found = document.getElementById('film-older')
    if (found) return found
    const button = document.createElement('button')
    button.id = 'film-older'
    button.type = 'button'
    button.className = 'btn text film-older'
    button.textContent = 'Older'
    button.addEventListener('click', () => document.getElementById('older')?.click())
    film().after(button)
    return button
  }

  function frameOf(card, before) {
    const state = `${card.dataset.status} ${pictureOf(card) ?? ''}`
    const item = before?.dataset.state === state ? before : newFrame(card, state)
    const button = item.firstElementChild
    if (card.id === current) button.setAttribute('aria-current', 'true')
    else button.removeAttribute('aria-current')
    return item
  }

  /** In small; a preview is. */
  function pictureOf(card) {
    const picture = card.querySelector('.frame-link img')?.getAttribute('src')
    if (picture) return `${picture}/thumbnail?side=128`
    return card.querySelector('.frame-preview[src]')?.getAttribute('src')
  }

  function newFrame(card, state) {
    const item = document.createElement('li')
    item.dataset.for = card.id
    item.dataset.state = state
    const button = document.createElement('button')
    button.type = 'button'
    button.className = `film-frame is-${card.dataset.status ?? 'gone'}`
    button.setAttribute('aria-label', labelOf(card))
    button.addEventListener('click', () => {
      show(document.getElementById(card.id))
      bringIntoView()
    })
    const picture = pictureOf(card)
    if (picture) {
      const image = document.createElement('img')
      image.alt = ''
      image.decoding = 'async'
      image.src = picture
      button.append(image)
    }
    const many = card.querySelectorAll('.frame').length
    if (many > 1) button.append(span('film-count', String(many)))
    if (unfinished(card)) button.append(barOf(card))
    else if (!picture) button.append(span('film-mark', card.dataset.status === 'failed' ? '!' : '–'))
    item.append(button)
    return item
  }

  function span(name, text) {
    const element = document.createElement('span')
    element.className = name
    element.setAttribute('aria-hidden', 'true')
    element.textContent = text
    return element
  }

  function barOf(card) {
    const bar = document.createElement('progress')
    bar.className = 'job-progress film-bar-of'
    bar.setAttribute('aria-hidden', 'true')
    follow(bar, card)
    return bar
  }

  function follow(bar, card) {
    const own = card.querySelector('.job-progress')
    bar.max = own?.max ?? 1
    bar.value = own?.value ?? 0
  }

  const words = {
    queued: 'waiting',
    running: 'being taken',
    succeeded: 'done',
    failed: 'did not work',
    canceled: 'canceled',
  }

  function labelOf(card) {
    const title = card.querySelector('.job-title')?.textContent.trim() ?? 'Picture'
    return `${title}, ${words[card.dataset.status] ?? 'deleted'}`
  }

  setInterval(() => {
    for (const bar of document.querySelectorAll('.film-bar-of')) {
      const card = document.getElementById(bar.closest('li').dataset.for)
      if (card) follow(bar, card)
    }
  }, 1000)

  // --- One of several pictures

  function arrangeSheet() {
    const card = onStage()
    const shown = card?.dataset.shown
    const figures = [...(card?.querySelectorAll('figure.frame') ?? [])]
    for (const figure of figures) figure.classList.toggle('is-shown', figure.dataset.index === shown)
    for (const set of card?.querySelectorAll('.picture-actions') ?? [])
      if (figures.length > 1) {
        set.hidden = shown !== undefined && set.dataset.of !== shown
        set.classList.toggle('is-short', shown === undefined)
      }
    for (const button of card?.querySelectorAll('[data-show]') ?? [])
      button.setAttribute('aria-pressed', String(button.dataset.show === (shown ?? 'all')))
  }

  function showPicture(index) {
    const card = onStage()
    if (index === undefined || index === 'all') delete card.dataset.shown
    else card.dataset.shown = String(index)
    arrangeSheet()
    showScale()
  }

  function pressPicture(link) {
    const card = link.closest('article')
    const many = card.querySelectorAll('figure.frame').length > 1
    if (many && card.dataset.shown === undefined) return showPicture(link.closest('figure').dataset.index)
    fill(!document.documentElement.classList.contains('is-viewing'))
  }

  /** Over the whole window, and back. */
  function fill(on) {
    document.documentElement.classList.toggle('is-viewing', on)
    showScale()
  }

  function showScale() {
    const card = onStage()
    const [note, image] = [card?.querySelector('.job-scale'), card?.querySelector('.frame-link img')]
    if (!note || !image) return
    const shown = card.querySelector('.is-shown img') ?? image
    if (
      shown === image &&
      card.querySelectorAll('figure.frame').length > 1 &&
      card.dataset.shown === undefined
    ) {
      note.textContent = ''
      return
    }
    const box = shown.getBoundingClientRect()
    const scale = Math.min(box.width / shown.getAttribute('width'), box.height / shown.getAttribute('height'))
    if (scale >= 1.1) note.textContent = `shown ${scale.toFixed(1)}×`
    else note.textContent = scale > 0 && scale < 0.95 ? `shown at ${Math.round(scale * 100)} %` : ''
  }

  // --- Arrow keys: through the pictures of a job that shows one, then to the next job.

  const takesArrows = 'input, textarea, select, [contenteditable], progress'

  function step(by) {
    const list = cards()
    const card = onStage()
    const figures = card?.querySelectorAll('figure.frame').length ?? 0
    const next = Number(card?.dataset.shown) + by
    if (card?.dataset.shown !== undefined && next >= 0 && next < figures) return showPicture(next)
    show(list[list.indexOf(card) + by])
  }

  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return
    const viewing = document.documentElement.classList.contains('is-viewing')
    if (event.key === 'Escape' && viewing) return fill(false)
    if (event.key === 'Escape' && onStage()?.dataset.shown !== undefined) return showPicture('all')
    if (event.target.matches(takesArrows) || !wall()) return
    const back = getComputedStyle(wall()).direction === 'rtl' ? 'ArrowRight' : 'ArrowLeft'
    if (!['ArrowLeft', 'ArrowRight'].includes(event.key) || cards().length === 0) return
    event.preventDefault()
    step(event.key === back ? -1 : 1)
  })

  document.addEventListener('click', (event) => {
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
    const link = event.target.closest('.jobs .frame-link')
    if (link && plain) {
      event.preventDefault()
      pressPicture(link)
    }
    const button = event.target.closest('[data-show]')
    if (button) showPicture(button.dataset.show)
  })

  // --- What changes the list

  // before htmx brings the focus back: what is not shown cannot have it
  document.addEventListener('htmx:beforeSwap', ({ target, detail }) => {
    if (target.id !== current || !detail.serverResponse) return
    const shown = target.dataset.shown
    const more = shown === undefined ? '' : ` data-shown="${Number(shown)}"`
    detail.serverResponse = detail.serverResponse.replace(
      '<article class="job',
      `<article${more} class="job is-current`,
    )
  })

  function watch() {
    if (!wall() || !film()) return
    new MutationObserver((changes) => {
      const added = changes.flatMap(({ addedNodes }) => [...addedNodes])
      const fresh = added.find((node) => node.matches?.('article.is-new'))
      if (fresh) {
        fresh.classList.remove('is-new')
        current = fresh.id
      }
      refresh()
      // on a phone the form fills the window, and the stage is above it
      if (fresh) bringIntoView()
    }).observe(wall(), { childList: true })
    new ResizeObserver(showScale).observe(wall())
    refresh()
  }

  function bringIntoView() {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    onStage()?.scrollIntoView({ block: 'start', behavior: calm ? 'auto' : 'smooth' })
  }

  /**
   * When something above grows, browsers hold still what is below it: on a phone a picture that is ready would leave the window
   * upwards, because its card has more to show. So they do only while the picture is out of sight, as for somebody who fills in the form.
   */
  function holdStill() {
    const top = onStage()?.getBoundingClientRect().top ?? Number.NEGATIVE_INFINITY
    document.documentElement.classList.toggle('is-watching', Math.abs(top) < innerHeight / 2)
  }

  addEventListener('scroll', holdStill, { passive: true })
  document.addEventListener('DOMContentLoaded', watch)
})()
