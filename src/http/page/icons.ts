import { type Html, html } from './html.ts'

/** Line icons, 24 x 24, in the colour of the text around them. All are decorative: the text beside them says it. */
function icon(paths: Html): Html {
  return html`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${paths}</svg>`
}

export function cameraIcon(): Html {
  return icon(
    html`<path d="M4 8.5A1.5 1.5 0 0 1 5.5 7h2l1.6-2.4h5.8L16.5 7h2A1.5 1.5 0 0 1 20 8.5v9a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5z"/><circle cx="12" cy="13" r="3.5"/>`,
  )
}

export function downloadIcon(): Html {
  return icon(html`<path d="M12 4v11m0 0 4.5-4.5M12 15l-4.5-4.5M5 19.5h14"/>`)
}

export function keepIcon(): Html {
  return icon(html`<path d="M7 4.5h10v15l-5-3.8-5 3.8z"/>`)
}

export function againIcon(): Html {
  return icon(html`<path d="M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15"/>`)
}

export function stopIcon(): Html {
  return icon(html`<path d="m7 7 10 10M17 7 7 17"/>`)
}

export function warningIcon(): Html {
  return icon(html`<path d="M12 9v4.5m0 3v.01M12 4 3.5 19h17z"/>`)
}

export function noteIcon(): Html {
  return icon(html`<circle cx="12" cy="12" r="8.25"/><path d="M12 11v5m0-8v.01"/>`)
}

export function compareIcon(): Html {
  return icon(html`<rect x="3.5" y="5" width="17" height="14" rx="1.5"/><path d="M12 3v18M15.5 9v6"/>`)
}

export function frameIcon(): Html {
  return icon(html`<path d="M7 3.5V17h13.5M3.5 7H17v13.5"/>`)
}

export function settingsIcon(): Html {
  return icon(
    html`<path d="M4 7h9m4 0h3M4 17h3m4 0h9"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="17" r="2"/>`,
  )
}

export function photoIcon(): Html {
  return icon(
    html`<rect x="3.5" y="5" width="17" height="14" rx="1.5"/><circle cx="9" cy="10" r="1.5"/><path d="m4 17 5-4 3 2 4-4.5 4.5 4.5"/>`,
  )
}

export function varyIcon(): Html {
  return icon(html`<path d="M4 15.5c3.5-8 6-8 8-3.5s4.5 4.5 8-3.5M4 19.5h16"/>`)
}

export function brushIcon(): Html {
  return icon(
    html`<path d="m13.5 12.5 6-7.5m-9 9.5a3.5 3.5 0 0 0-3.5 3.5c0 1-1 1.6-2.5 1.7 2.5 1.3 8.5 1 8.5-2.7z"/>`,
  )
}

export function deleteIcon(): Html {
  return icon(html`<path d="M5 7h14M10 7V5h4v2m-7.5 0 .8 12.5h9.4L17.5 7M10.5 11v5m3-5v5"/>`)
}

/** The mark: a box on a studio sweep. */
export function logo(): Html {
  return html`<svg class="logo" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true" focusable="false"><rect class="logo-ground" width="32" height="32" rx="9"/><path class="logo-sweep" d="M5 6c0 10 3 16 22 18H5z"/><path class="logo-box" d="m17 8.5 7 3.2v8l-7 3.3-7-3.3v-8z"/><path class="logo-edge" d="m10 11.7 7 3.3 7-3.3M17 15v8"/></svg>`
}
