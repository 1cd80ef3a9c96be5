/**
 * What choices in the form change beside themselves: the estimate on its button, and the photo's part of the panel.
 */
;(() => {
  const form = () => document.getElementById('request')
  const value = (name) => form()?.elements.namedItem(name)?.value ?? ''
  const number = (name) => Number(value(name)) || 0

  // --- "Take 4 pictures · about 9 s", as estimate.ts writes it

  function showEstimate() {
    const action = form()?.querySelector('.shutter-action')
    if (!action) return
    const count = Math.max(1, number('count'))
    action.textContent = count === 1 ? 'Take the picture' : `Take ${count} pictures`
    const pace = Number(form().dataset.pace)
    form().querySelector('.shutter-time').textContent = pace > 0 ? roughly(units(count) * pace) : ''
  }

  /** See `workUnits`: calls of the model for a megapixel. */
  function units(count) {
    const [across, down] = value('size').split('x').map(Number)
    const width = number('width') || across || Number(form().dataset.width)
    const height = number('height') || down || Number(form().dataset.height)
    const calls = Number(document.getElementById('sampler')?.selectedOptions[0]?.dataset.calls ?? 1)
    const share = value('init_image') === '' ? 1 : number('strength') || 1
    const guided = number('guidance_scale') > 1 ? 2 : 1
    return (count * Math.floor(number('steps') * share) * calls * guided * width * height) / 1e6
  }

  function roughly(seconds) {
    if (!(seconds > 0)) return ''
    if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`
    return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${Math.round(seconds / 3600)} h`
  }

  // --- A photo that came by any way opens the part of the panel that shows it.

  function choosePhoto() {
    const tab = form()?.querySelector('[name="source"][value="photo"]')
    if (tab) tab.checked = true
  }

  document.addEventListener('change', ({ target }) => {
    if (target.id === 'photo-file' && target.files?.length > 0) choosePhoto()
    showEstimate()
  })
  document.addEventListener('drop', choosePhoto, true)
  document.addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData?.files.length > 0) choosePhoto()
  })
  document.addEventListener('input', ({ target }) => {
    if (target.form === form()) showEstimate()
  })
  document.addEventListener('form:filled', () => {
    if (value('init_image') !== '') choosePhoto()
    showEstimate()
  })
  document.addEventListener('htmx:load', showEstimate)
})()
