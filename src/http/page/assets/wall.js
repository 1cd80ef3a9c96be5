/* global htmx */

/**
 * What the job cards do beyond htmx: they survive a reload and an unavailable server, their bar moves between two
 * answers, and a screen reader announces changes of a job. Without this file a card still polls until it is final.
 */
;(() => {
  const storageKey = 'packshot.jobs'
  const mostRemembered = 24
  const idShape = /^[\w.-]{8,100}$/
  const longestPauseMs = 30_000

  /** What is known about each visible job: its status, its bar, how many polls failed. */
  const known = new Map()

  const wall = () => document.getElementById('jobs')

  function say(words) {
    document.getElementById('live').textContent = words
  }

  function about(id) {
    if (!known.has(id)) known.set(id, { failures: 0 })
    return known.get(id)
  }

  // --- The list of this visitor's jobs. If storage is forbidden, only a reload forgets them.

  function remembered() {
    try {
      const ids = JSON.parse(localStorage.getItem(storageKey) ?? '[]')
      return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string' && idShape.test(id)) : []
    } catch {
      return []
    }
  }

  function remember(ids) {
    try {
      localStorage.setItem(storageKey, JSON.stringify(ids.slice(0, mostRemembered)))
    } catch {}
  }

  function forget(card, id) {
    remember(remembered().filter((other) => other !== id))
    known.delete(id)
    card.remove()
    showClear()
  }

  /** Hidden placeholders in list order; each is replaced by its card, or removed if the job is gone. */
  function restore() {
    for (const id of wall() ? remembered() : []) {
      const place = document.createElement('article')
      place.dataset.restore = id
      place.hidden = true
      place.setAttribute(
        'hx-get',
        `${document.documentElement.dataset.root}jobs/${encodeURIComponent(id)}/card`,
      )
      place.setAttribute('hx-trigger', 'load, retry')
      place.setAttribute('hx-swap', 'outerHTML')
      wall().append(place)
      htmx.process(place)
    }
    showClear()
  }

  function showClear() {
    const button = document.getElementById('clear-list')
    if (button) button.hidden = !wall().querySelector('article[data-job]')
  }

  function clearList() {
    remember([])
    known.clear()
    wall().replaceChildren()
    showClear()
    say('The list is empty.')
    document.getElementById('prompt').focus()
  }

  // --- A card arrived, for the first time or as a replacement.

  function arrive(card) {
    const id = card.dataset.job
    const job = about(id)
    const { status } = card.dataset
    if (wall() && !remembered().includes(id)) remember([id, ...remembered()])
    if (job.status !== status && !job.quiet) say(card.dataset.say)
    if (job.status === undefined && !job.quiet) bringIntoView(card)
    // The button that had the focus is gone; htmx restores it only to an element with the same id.
    if (job.focused && document.activeElement === document.body) card.focus({ preventScroll: true })
    Object.assign(job, { status, failures: 0, quiet: false, focused: false })
    moveOn(card, job)
    showClear()
  }

  /** On a phone the form fills the window, and the new card is below it. */
  function bringIntoView(card) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
    card.scrollIntoView({ block: 'nearest', behavior: calm ? 'auto' : 'smooth' })
  }

  // --- Between two answers the bar moves at the estimated speed; it never moves back.

  let moving = false

  function moveOn(card, job) {
    const bar = card.querySelector('progress[data-left]')
    const left = Number(bar?.dataset.left ?? 0)
    const step = Math.max(bar?.value ?? 0, job.bar?.step ?? 0)
    job.bar = bar && { step, perMs: left > 0 ? (bar.max - step) / (left * 1000) : 0, at: performance.now() }
    if (job.bar && !moving) {
      moving = true
      requestAnimationFrame(moveBars)
    }
  }

  function moveBars(now) {
    moving = false
    for (const [id, job] of known) {
      const bar = job.bar && document.querySelector(`#job-${CSS.escape(id)} progress[data-left]`)
      if (!bar) continue
      moving = true
      // Only the service reports the last step.
      const most = Math.max(job.bar.step, bar.max - 1)
      job.bar.step = Math.min(most, job.bar.step + job.bar.perMs * Math.max(0, now - job.bar.at))
      job.bar.at = now
      bar.value = job.bar.step
      const words = bar.closest('article').querySelector('[data-step]')
      if (words) words.textContent = String(Math.floor(job.bar.step))
    }
    if (moving) requestAnimationFrame(moveBars)
  }

  // --- No answer: the card keeps what it shows, says so, and polls less and less often.

  function askAgain(card) {
    const job = about(card.dataset.job ?? card.dataset.restore)
    job.failures += 1
    if (job.failures === 2) noteOffline(card)
    const pause = Math.min(longestPauseMs, 500 * 2 ** job.failures) * (0.75 + Math.random() / 2)
    setTimeout(() => card.isConnected && htmx.trigger(card, 'retry'), pause)
  }

  function noteOffline(card) {
    const note = document.createElement('p')
    note.className = 'job-offline'
    note.textContent = 'The server does not answer. Trying again…'
    card.querySelector('.job-body')?.append(note)
    if (!card.hidden) say(note.textContent)
  }

  function requestFailed({ detail: { elt } }) {
    const card = elt.closest?.('article[hx-get]')
    if (card) askAgain(card)
    if (card && card !== elt) say('The server does not answer. Please try again.')
  }

  // Our own fragments are shown whatever their status; a proxy's error page never is. A job that is gone is removed
  // from the list silently.
  document.addEventListener('htmx:beforeSwap', (event) => {
    const { xhr } = event.detail
    const ours = xhr.getResponseHeader('packshot-fragment') !== null
    const id = event.target.dataset?.restore
    const gone = id !== undefined && (xhr.status === 404 || xhr.status === 410)
    event.detail.shouldSwap = ours && !gone
    event.detail.isError = !ours
    if (gone && ours) forget(event.target, id)
    else if (id !== undefined) about(id).quiet = true
    const { job } = event.target.dataset
    if (job !== undefined) about(job).focused = event.target.contains(document.activeElement)
  })

  // Before the browser paints, so that the bar never visibly jumps back. For a card added to the list the event's
  // target is the list.
  document.addEventListener('htmx:afterSwap', ({ target }) => {
    const card = target === wall() ? target.firstElementChild : target
    if (card.matches?.('article[data-job]')) arrive(card)
  })

  for (const name of ['htmx:sendError', 'htmx:responseError', 'htmx:timeout']) {
    document.addEventListener(name, requestFailed)
  }

  document.addEventListener('click', (event) => {
    if (event.target.closest('#clear-list')) clearList()
  })

  // htmx reads its settings on this event too, and earlier: its listener was registered first.
  document.addEventListener('DOMContentLoaded', () => {
    for (const card of document.querySelectorAll('article[data-job]')) arrive(card)
    restore()
  })
})()
