/**
 * One banner when the server does not answer, whatever asked; it goes by itself. Cards go on asking as they do (wall.js):
 * here only the server's health is asked, and all cards at once when it is back.
 */
;(() => {
  /** The path of a proxy under which the page is served, or a slash. */
  const { root } = document.documentElement.dataset
  const pauses = [4, 8, 15, 30]
  /** After about ten minutes only when somebody wants it. */
  const most = 24

  let banner
  let left = 0
  let asked = 0
  let ticking

  function show() {
    if (banner) return
    banner = document.createElement('div')
    banner.className = 'away'
    banner.setAttribute('role', 'status')
    banner.append('The server does not answer. What was accepted goes on. ')
    const words = document.createElement('span')
    // counted down in sight only: read out each second it would be noise
    words.setAttribute('aria-hidden', 'true')
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'btn text'
    button.textContent = 'Ask now'
    button.addEventListener('click', () => void ask())
    banner.append(words, button)
    document.querySelector('main').prepend(banner)
    asked = 0
    wait()
  }

  function wait() {
    clearInterval(ticking)
    if (asked >= most) return say('')
    left = pauses[Math.min(asked, pauses.length - 1)]
    say(`Asking again in ${left} s`)
    ticking = setInterval(() => {
      left -= 1
      say(`Asking again in ${left} s`)
      if (left <= 0) void ask()
    }, 1000)
  }

  function say(words) {
    if (banner) banner.querySelector('span').textContent = words
  }

  async function ask() {
    clearInterval(ticking)
    asked += 1
    say('Asking…')
    const answer = await fetch(`${root}healthz/live`, { cache: 'no-store' }).catch(() => undefined)
    if (answer?.ok) hide()
    else wait()
  }

  function hide() {
    if (!banner) return
    clearInterval(ticking)
    banner.remove()
    banner = undefined
    document.dispatchEvent(new Event('server:back'))
  }

  document.addEventListener('server:away', show)
  // an answer of ours to anything says that it is back
  document.addEventListener('htmx:afterOnLoad', ({ detail: { xhr } }) => {
    if (xhr.getResponseHeader('packshot-fragment') !== null) hide()
  })
})()
