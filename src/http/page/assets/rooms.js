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

  // --- The page of pictures: all boxes at once, and a picture that is dropped on it, whose settings are read back.

  document.addEventListener('click', ({ target }) => {
    const name = target.closest?.('[data-all]')?.dataset.all
    const boxes = name ? [...document.querySelectorAll(`input[type=checkbox][name^="${name}"]`)] : []
    const all = boxes.every((box) => box.checked)
    for (const box of boxes) box.checked = !all
  })

  for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, (event) => {
      const form = document.getElementById('read-back')
      if (!form || !event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      form.classList.toggle('is-over', type === 'dragenter' || type === 'dragover')
      if (type !== 'drop' || event.dataTransfer.files.length === 0) return
      form.elements.picture.files = event.dataTransfer.files
      form.requestSubmit()
    })
  }

  // --- Enter in the name of a look saves it; it would send the form.

  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.target.id !== 'look_name') return
    event.preventDefault()
    event.target.parentElement.querySelector('button').click()
  })
})()
