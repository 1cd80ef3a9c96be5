/* global htmx */

/**
 * The list of a visitor's jobs is the server's: this keeps the tabs of one browser equal, and says what a press did. Without
 * it each tab is right after a reload.
 */
;(() => {
  const { root } = document.documentElement.dataset
  const wall = () => document.getElementById('jobs')
  const tabs = 'BroadcastChannel' in globalThis ? new BroadcastChannel('packshot') : undefined

  const load = (path, swap) => htmx.ajax('GET', `${root}${path}`, { target: '#jobs', swap }).catch(() => {})

  tabs?.addEventListener('message', ({ data }) => {
    const id = String(data?.added ?? '')
    if (!wall()) return
    if (id === '') return load('workspace/jobs', 'innerHTML')
    if (/^[\w.-]{8,100}$/.test(id) && !document.getElementById(`job-${id}`))
      load(`jobs/${id}/card`, 'afterbegin')
  })

  document.addEventListener('htmx:afterSwap', ({ detail, target }) => {
    const { verb, path } = detail.requestConfig ?? {}
    if (verb !== 'post' || path === undefined) return
    const job = target === wall() ? target.querySelector('.is-new')?.dataset.job : undefined
    if (path.endsWith('/jobs') && job !== undefined) tabs?.postMessage({ added: job })
    if (!path.includes('/workspace/')) return
    tabs?.postMessage({})
    const words = document.querySelector('#jobs [data-say-list]')?.dataset.sayList
    if (words) document.getElementById('live').textContent = words
  })

  // --- How much there is to do, while somebody looks.

  setInterval(() => {
    const note = document.getElementById('busy')
    if (note && !document.hidden) htmx.trigger(note, 'look')
  }, 10_000)
})()
