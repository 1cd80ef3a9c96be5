/* global htmx */

/**
 * What the job cards do beyond htmx: they survive an unavailable server, their bar moves between two answers, and a screen
 * reader announces changes of a job. Without this file a card still polls until it is final. Which cards there are is the
 * server's list, see rooms.js.
 */
;(() => {
  /** The path of a proxy under which the page is served, or a slash. */
  const { root } = document.documentElement.dataset
  const longestPauseMs = 30_000
  const mostFailures = 25

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

  // --- When pictures are deleted, the server sends a line in place of their card, with the settings to make them again.

  function showExpiry() {
    for (const note of wall()?.querySelectorAll('[data-expires]') ?? []) {
      const seconds = (Date.parse(note.dataset.expires) - Date.now()) / 1000
      const card = note.closest('article')
      if (seconds <= 0) {
        const { job } = card.dataset
        htmx.ajax('GET', `${root}jobs/${job}/card`, { target: card, swap: 'outerHTML' }).catch(() => {})
      } else note.textContent = `Goes in ${leftInWords(seconds).replace(' left', '')}`
    }
  }

  // --- A card's button that sends its request again puts the new card into the list.

  document.addEventListener('submit', (event) => {
    const sent = event.target.closest('form[data-send]')
    if (!sent || !wall()) return
    event.preventDefault()
    const button = sent.querySelector('button')
    button.disabled = true
    htmx
      .ajax('POST', sent.getAttribute('action'), {
        source: sent,
        target: '#jobs',
        swap: 'afterbegin',
      })
      .catch(() => {})
      .finally(() => {
        button.disabled = false
      })
  })

  // --- A card arrived, for the first time or as a replacement.

  function arrive(card) {
    const id = card.dataset.job
    const job = about(id)
    const { status } = card.dataset
    const before = job.status
    if (job.status !== status && !job.quiet) say(card.dataset.say)
    // The button that had the focus is gone; htmx restores it only to an element with the same id.
    if (job.focused && document.activeElement === document.body) card.focus({ preventScroll: true })
    Object.assign(job, { status, failures: 0, quiet: false, focused: false })
    moveOn(card, job)
    if (document.hidden && status === 'succeeded' && before !== undefined && before !== status)
      unseen = card.querySelector('.job-title').textContent
    if (card.querySelector('[data-eta]')) ticking ??= setInterval(tick, 1000)
    showTitle()
  }

  // --- Between two answers the bar moves at the estimated speed; it never moves back.

  /** A bar that moves with every frame takes a quarter of a core, which a worker on the same machine needs. */
  const moveMs = 200
  let moving = false

  function moveOn(card, job) {
    const bar = card.querySelector('progress[data-left]')
    const left = Number(bar?.dataset.left ?? 0)
    const step = Math.max(bar?.value ?? 0, job.bar?.step ?? 0)
    job.bar = bar && { step, perMs: left > 0 ? (bar.max - step) / (left * 1000) : 0, at: performance.now() }
    if (job.bar) keepMoving()
  }

  function keepMoving() {
    if (moving) return
    moving = true
    setTimeout(moveBars, moveMs)
  }

  /** What a stream says of a job's steps, before its card is asked for again. */
  document.addEventListener('job:progress', ({ detail: { id, step, steps, eta_seconds } }) => {
    const card = document.getElementById(`job-${id}`)
    const bar = card?.querySelector('progress[data-left]')
    if (!bar) return
    bar.max = steps
    bar.dataset.left = eta_seconds ?? 0
    bar.value = Math.max(bar.value, step)
    moveOn(card, about(id))
    countSteps(bar)
    const eta = card.querySelector('[data-eta]')
    if (!eta || eta_seconds === undefined) return
    // counted down here: a second more than what is shown would jump
    if (Math.abs(eta.dataset.eta - eta_seconds) < 1.5) return
    eta.dataset.eta = Math.round(eta_seconds)
    eta.textContent = leftInWords(eta_seconds)
  })

  function moveBars() {
    moving = false
    const now = performance.now()
    for (const [id, job] of known) {
      const bar = job.bar && document.querySelector(`#job-${CSS.escape(id)} progress[data-left]`)
      if (!bar) continue
      // Only the service reports the last step.
      const most = Math.max(job.bar.step, bar.max - 1)
      job.bar.step = Math.min(most, job.bar.step + job.bar.perMs * Math.max(0, now - job.bar.at))
      job.bar.at = now
      bar.value = job.bar.step
      countSteps(bar)
      if (job.bar.perMs > 0 && job.bar.step < most) keepMoving()
    }
  }

  /** Steps and pictures as people count them: see `stepOf` in card.ts. */
  function countSteps(bar) {
    const [card, count] = [bar.closest('article'), Number(bar.dataset.count)]
    const each = bar.max / count
    const picture = Math.min(count, Math.floor(bar.value / each) + 1)
    const words = { '[data-step]': Math.floor(bar.value - (picture - 1) * each), '[data-picture]': picture }
    for (const [place, number] of Object.entries(words)) {
      const element = card.querySelector(place)
      if (element) element.textContent = String(number)
    }
  }

  // --- The seconds left are counted down, and the title says what a tab behind others would hide.

  const ownTitle = document.title
  let ticking

  function tick() {
    const etas = document.querySelectorAll('[data-eta]')
    for (const eta of etas) {
      eta.dataset.eta = Math.max(0, eta.dataset.eta - 1)
      eta.textContent = leftInWords(Number(eta.dataset.eta))
    }
    showTitle()
    if (etas.length > 0) return
    clearInterval(ticking)
    ticking = undefined
  }

  function leftInWords(seconds) {
    if (seconds < 1) return 'a moment left'
    if (seconds < 90) return `${Math.round(seconds)} s left`
    if (seconds < 5400) return `${Math.round(seconds / 60)} min left`
    if (seconds < 172_800) return `${Math.round(seconds / 3600)} h left`
    return `${Math.round(seconds / 86_400)} days left`
  }

  /** What finished while nobody looked; said in the title until somebody does. */
  let unseen

  function showTitle() {
    if (!document.hidden) unseen = undefined
    const card =
      document.querySelector('.is-running[data-job]') ?? document.querySelector('.is-queued[data-job]')
    const left = card?.querySelector('.job-eta')?.textContent
    const count = document.querySelectorAll(':is(.is-running, .is-queued)[data-job]').length
    const waiting = count > 0 && `(${count}) ${left ? `${left} · ` : ''}Packshot`
    document.title = waiting || (unseen ? `✓ ${unseen}` : ownTitle)
  }

  // --- Nobody looks: a hidden page asks seldom, and at once when it is shown again.

  const hiddenPauseMs = 30_000

  document.addEventListener('htmx:beforeRequest', (event) => {
    const card = event.detail.elt
    if (!document.hidden || !card.matches?.('article[data-job]')) return
    const job = about(card.dataset.job)
    if (performance.now() - (job.askedAt ?? Number.NEGATIVE_INFINITY) >= hiddenPauseMs) {
      job.askedAt = performance.now()
      return
    }
    event.preventDefault()
    setTimeout(() => card.isConnected && document.hidden && htmx.trigger(card, 'retry'), hiddenPauseMs)
  })

  function askNow() {
    for (const card of document.querySelectorAll('article[hx-get]')) htmx.trigger(card, 'retry')
  }

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    askNow()
    showTitle()
  })
  addEventListener('online', askNow)

  // --- No answer: the card keeps what it shows, says so, and polls less and less often.

  function askAgain(card) {
    const job = about(card.dataset.job)
    job.failures += 1
    if (job.failures >= 2) sayAway()
    // nothing is asked for forever: after about ten minutes only when somebody wants it
    if (job.failures > mostFailures) return
    const pause = Math.min(longestPauseMs, 500 * 2 ** job.failures) * (0.75 + Math.random() / 2)
    setTimeout(() => card.isConnected && htmx.trigger(card, 'retry'), pause)
  }

  function sayAway() {
    document.dispatchEvent(new Event('server:away'))
  }

  /** Beside what was pressed: nothing of it is on its way. */
  function noteUnsent(place) {
    place.querySelector('.job-offline')?.remove()
    const note = document.createElement('p')
    note.className = 'job-offline'
    note.textContent = 'The server does not answer, and nothing was sent.'
    place.append(note)
    say(note.textContent)
  }

  document.addEventListener('server:back', () => {
    for (const job of known.values()) job.failures = 0
    for (const note of document.querySelectorAll('.job-offline')) note.remove()
    say('The server answers again.')
    askNow()
  })

  function requestFailed({ detail: { elt } }) {
    const card = elt.closest?.('article[hx-get]')
    if (card) askAgain(card)
    if (card && card !== elt) say('The server does not answer. Please try again.')
    const sent = elt.closest?.('form[data-send]')
    if (sent) noteUnsent(sent.closest('.job-body') ?? sent)
    if (sent || elt.id === 'request') sayAway()
  }

  // Our own fragments are shown whatever their status; a proxy's error page never is.
  document.addEventListener('htmx:beforeSwap', (event) => {
    const { xhr } = event.detail
    const ours = xhr.getResponseHeader('packshot-fragment') !== null
    event.detail.shouldSwap = ours
    event.detail.isError = !ours
    const job = event.target.dataset?.job
    if (job !== undefined) about(job).focused = event.target.contains(document.activeElement)
  })

  // Before the browser paints, so that the bar never visibly jumps back. For cards that come into the list the event's
  // target is the list; only one that was sent just now is announced.
  document.addEventListener('htmx:afterSwap', ({ target }) => {
    if (target !== wall()) {
      if (target.matches?.('article[data-job]')) arrive(target)
      return
    }
    for (const card of target.querySelectorAll('article[data-job]')) {
      const isNew = card.classList.contains('is-new')
      if (!isNew && known.has(card.dataset.job)) continue
      about(card.dataset.job).quiet = !isNew
      arrive(card)
    }
  })

  for (const name of ['htmx:sendError', 'htmx:responseError', 'htmx:timeout']) {
    document.addEventListener(name, requestFailed)
  }

  // htmx reads its settings on this event too, and earlier: its listener was registered first.
  document.addEventListener('DOMContentLoaded', () => {
    for (const card of document.querySelectorAll('article[data-job]')) {
      // the card of a page of its own is in sight
      about(card.dataset.job).quiet = true
      arrive(card)
    }
    setInterval(showExpiry, 30_000)
  })
})()
