/** Copies the text of a field. Without a secure context there is no clipboard for scripts: it is then selected, to be copied by hand. */
;(() => {
  document.addEventListener('click', async ({ target }) => {
    const button = target.closest?.('[data-copy]')
    if (!button) return
    const field = document.getElementById(button.dataset.copy)
    const said = button.parentElement.querySelector('[role="status"]')
    field.focus()
    field.select()
    const copied = await navigator.clipboard?.writeText(field.value).then(
      () => true,
      () => false,
    )
    said.textContent = copied ? 'Copied.' : 'It is selected: copy it with Ctrl + C.'
  })
})()
