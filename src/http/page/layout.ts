import type { Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { logo } from './icons.ts'
import { type Around, busyNote, navigation } from './navigation.ts'

export interface Page {
  readonly title: string
  readonly body: Html
  /** For a visitor without JavaScript: reload the page after this many seconds. */
  readonly refreshSeconds?: number | undefined
  /** `studio`: it fills the window where there is room, and its parts scroll by themselves. Absent: a page to read. */
  readonly frame?: 'studio'
  /** Absent: a page without the way to others, such as that of somebody who is not signed in. */
  readonly around?: Around
}

/**
 * No `eval` and no inline script or style, as the content security policy requires; no history cache, since it would
 * write prompts and pictures into the browser's storage. No attribute of an element is copied to its replacement: a
 * resized text field has a style, which would be inline style. Nothing settles later: until then htmx would not handle
 * a new button, and a click would leave the page.
 */
const htmxConfig = JSON.stringify({
  allowEval: false,
  allowScriptTags: false,
  includeIndicatorStyles: false,
  selfRequestsOnly: true,
  historyCacheSize: 0,
  attributesToSettle: [],
  defaultSettleDelay: 0,

  scrollIntoViewOnBoost: false,
  timeout: 20_000,
})

/** @param visitor the name of the caller that signed in */
function masthead(visitor: string | undefined, around: Around | undefined): Html {
  const session =
    visitor !== undefined &&
    html`<form class="visitor" method="post" action="/sign-out"><span class="visitor-name" title="Signed in as ${visitor}">${visitor}</span><button class="btn text" type="submit">Sign out</button></form>`
  return html`<header class="masthead"><a class="brand" href="/">${logo()}<span>Packshot</span></a>${around !== undefined && navigation(around)}<div class="masthead-end">${around !== undefined && busyNote(around.busy)}${session}</div></header>`
}

/** A whole page. `data-root` is where the server is, for scripts. form.js removes the class `no-js`; what works only with JavaScript is hidden until then. */
export function document(assets: Assets, page: Page, visitor?: string): string {
  return html`<!doctype html>
<html lang="en" class="no-js" data-root="/">
<head>
<meta charset="utf-8">
<title>${page.title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="Studio photos of products, made from words.">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" media="(prefers-color-scheme: light)" content="#ffffff">
<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#1b1b1a">
<meta name="robots" content="noindex">
<meta name="htmx-config" content="${htmxConfig}">
${refresh(page.refreshSeconds)}<link rel="icon" type="image/svg+xml" href="${assets.url('favicon.svg')}">
<link rel="stylesheet" href="${assets.url('packshot.css')}">
<script src="${assets.url('packshot.js')}" defer></script>
</head>
<body${page.frame === 'studio' && html` class="is-studio"`}>
<a class="skip-link" href="#main">Skip to the content</a>
${masthead(visitor, page.around)}
<main id="main" tabindex="-1">${page.body}</main>
<p id="live" class="visually-hidden" role="status" aria-live="polite"></p>
</body>
</html>
`.toString()
}

function refresh(seconds: number | undefined): Html | false {
  return (
    seconds !== undefined &&
    html`<noscript><meta http-equiv="refresh" content="${seconds}"></noscript>
`
  )
}
