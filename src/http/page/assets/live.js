/**
 * The job on the stage is followed as it is made: its steps, and looks at its first picture. One stream for each tab, and
 * none while nobody looks. While it is open the card does not poll; without it, or when it breaks, the card polls as
 * always.
 */
;(() => {
  /** The path of a proxy under which the page is served, or a slash. */
  const { root } = document.documentElement.dataset
  /** After a stream broke, polls are enough for a while. */
  const restMs = 15_000
  /** A stream that says nothing for so long may be held up on its way: then the card asks by itself too. */
  const silentMs = 5000

  /** The job that is followed, its stream, and the place in the queue that its card shows. */
  let stream
  let restUntil = 0

  const cardOf = (id) => document.getElementById(`job-${id}`)
  const moving = (card) => ['queued', 'running'].includes(card?.dataset.status)

  function wanted() {
    const shown = document.querySelector('article.is-current[data-job]')
    if (moving(shown)) return shown.dataset.job
    return document.querySelector('article.is-running[data-job]')?.dataset.job
  }

  function follow() {
    const id = document.hidden || !window.EventSource ? undefined : wanted()
    if (stream && stream.id === id) return
    stop()
    if (id === undefined || performance.now() < restUntil) return
    const mine = { id, source: new EventSource(`${root}v1/jobs/${encodeURIComponent(id)}/events`) }
    stream = mine
    const on = (name, act) =>
      mine.source.addEventListener(name, (event) => {
        mine.heardAt = performance.now()
        if (stream === mine && cardOf(id)) act(JSON.parse(event.data))
      })
    on('status', ({ status, position }) => {
      const changed = cardOf(id).dataset.status !== status || (mine.position ?? position) !== position
      mine.position = position
      if (changed) ask(id)
    })
    on('progress', (progress) => {
      const bar = cardOf(id).querySelector('progress[data-left]')
      if (!bar) return ask(id)
      document.dispatchEvent(new CustomEvent('job:progress', { detail: { id, ...progress } }))
    })
    on('preview', ({ url }) => showPreview(id, url))
    on('done', () => {
      stop()
      ask(id)
    })
    on('gone', () => {
      stop()
      ask(id)
    })
    mine.source.onerror = () => {
      if (stream !== mine) return
      stop()
      restUntil = performance.now() + restMs
      setTimeout(follow, restMs + 100)
      ask(id)
    }
  }

  function stop() {
    stream?.source.close()
    stream = undefined
  }

  function ask(id) {
    const card = cardOf(id)
    if (card) htmx.trigger(card, 'retry')
  }

  /** Shown once it is loaded, so that nothing flickers between two. */
  function showPreview(id, url) {
    const next = new Image()
    next.onload = () => {
      const place = cardOf(id)?.querySelector('.frame-preview')
      if (!place) return
      place.src = next.src
      place.hidden = false
    }
    next.src = root.replace(/\/$/, '') + url
  }

  document.addEventListener('htmx:beforeRequest', (event) => {
    const { elt, requestConfig } = event.detail
    const id = elt.dataset?.job
    const polled = elt.matches?.('article[data-job]') && requestConfig.triggeringEvent?.type !== 'retry'
    if (!polled || stream?.id !== id || !(performance.now() - stream.heardAt < silentMs)) return
    event.preventDefault()
    setTimeout(() => elt.isConnected && ask(id), silentMs)
  })

  document.addEventListener('stage:changed', follow)
  document.addEventListener('visibilitychange', follow)
  addEventListener('pagehide', stop)
})()
