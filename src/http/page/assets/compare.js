/**
 * Before and after: the photo that a picture was made from is laid over the picture as it was drawn, as far as a slider says.
 * The photo is cut as the service cuts it: scaled to cover the picture, the excess cropped evenly. Where the product was cut
 * out of the photo and placed anew, nothing of the two is at the same place: the whole photo is shown in place of the picture.
 */
;(() => {
  const space = 'http://www.w3.org/2000/svg'

  function element(name, attributes, ...children) {
    const made = document.createElementNS(space, name)
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
    made.append(...children)
    return made
  }

  function open(figure, button) {
    const { compare, drawn } = button.dataset
    const isWhole = 'whole' in button.dataset
    const [width, height] = ['width', 'height'].map((side) =>
      Number(button.dataset[side] ?? figure.querySelector('img').getAttribute(side)),
    )
    const photo = element('image', { href: compare, width, height })
    photo.setAttribute('preserveAspectRatio', `xMidYMid ${isWhole ? 'meet' : 'slice'}`)
    const overlay = element('svg', {
      class: `frame-paper compare-photo${isWhole || drawn ? ' is-opaque' : ''}`,
      viewBox: `0 0 ${width} ${height}`,
      'aria-hidden': 'true',
    })
    photo.addEventListener('error', () => {
      close(figure, button)
      button.disabled = true
      button.querySelector('span').textContent = 'The photo has expired'
    })
    button.setAttribute('aria-pressed', 'true')
    if (isWhole) {
      overlay.append(photo)
      figure.append(overlay)
      return
    }
    if (drawn) {
      overlay.append(element('image', { href: drawn, width, height, preserveAspectRatio: 'xMidYMid slice' }))
    }
    const cut = element('svg', { height, preserveAspectRatio: 'none' }, photo)
    const edge = element('rect', { class: 'compare-edge', width: Math.max(1, width / 400), height })
    overlay.append(cut, edge)
    const slider = document.createElement('input')
    Object.assign(slider, {
      type: 'range',
      className: 'compare-slider',
      min: 0,
      max: 100,
      value: 50,
      dir: 'ltr',
    })
    slider.setAttribute('aria-label', 'How much of the photo is shown, in per cent')
    const follow = () => {
      const shown = (width * slider.value) / 100
      cut.setAttribute('width', shown)
      cut.setAttribute('viewBox', `0 0 ${shown} ${height}`)
      edge.setAttribute('x', shown)
    }
    slider.addEventListener('input', follow)
    follow()
    figure.append(overlay, slider)
    slider.focus()
  }

  function close(figure, button) {
    for (const part of figure.querySelectorAll('.compare-photo, .compare-slider')) part.remove()
    button.setAttribute('aria-pressed', 'false')
  }

  document.addEventListener('click', ({ target }) => {
    const button = target.closest?.('[data-compare]')
    if (!button) return
    const { of } = button.closest('.picture-actions').dataset
    const figure = button.closest('article').querySelector(`figure[data-index="${of}"]`)
    if (figure.querySelector('.compare-photo')) close(figure, button)
    else open(figure, button)
  })
})()
