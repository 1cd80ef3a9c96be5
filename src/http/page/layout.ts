import type { Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { logo } from './icons.ts'

export interface Page {
  readonly title: string
  readonly body: Html
  /** For a visitor without JavaScript: reload the page after this many seconds. */
  readonly refreshSeconds?: number | undefined
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
function masthead(visitor: string | undefined): Html {
  const session =
    visitor !== undefined &&
    html`<form class="visitor" method="post" action="/sign-out"><span class="visitor-name" title="Signed in as ${visitor}">${visitor}</span><button class="btn text" type="submit">Sign out</button></form>`
  return html`<header class="masthead"><a class="brand" href="/">${logo()}<span>Packshot</span></a>${session}</header>`
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
<meta name="theme-color" media="(prefers-color-scheme: light)" content="#f3f1ed">
<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#151311">
<meta name="robots" content="noindex">
<meta name="htmx-config" content="${htmxConfig}">
${refresh(page.refreshSeconds)}<link rel="icon" type="image/svg+xml" href="${assets.url('favicon.svg')}">
<link rel="stylesheet" href="${assets.url('packshot.css')}">
<script src="${assets.url('packshot.js')}" defer></script>
</head>
<body>
<a class="skip-link" href="#main">Skip to the content</a>
${masthead(visitor)}
<main id="main" tabindex="-1">${page.body}</main>
<footer class="colophon"><p>Packshot makes its pictures on this server; your words go nowhere else.</p></footer>
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
