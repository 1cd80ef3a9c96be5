import { type AppError, clientMessage, type ErrorCode } from '../../jobs/errors.ts'
import { type Html, html } from './html.ts'

const titles: Readonly<Partial<Record<ErrorCode, string>>> = {
  unauthorized: 'This needs a key',
  forbidden: 'Your key does not allow this',
  kept_full: 'You keep as many pictures as you may',
  rate_limited: 'That was too much at once',
  not_found: 'There is nothing here',
  expired: 'This picture has expired',
  cross_site: 'This came from another site',
  wrong_host: 'This is not the address of the studio',
  body_too_large: 'That was too much text',
  queue_full: 'The studio is full',
  unavailable: 'The studio is closed for a moment',
  storage_full: 'The studio has no room left',
}

export function errorTitle({ code }: AppError): string {
  return titles[code] ?? 'That did not work'
}

/** The text for people: for what is gone or never existed, an id is meaningless. */
export function errorMessage(error: AppError): string {
  if (error.code === 'expired') {
    return 'Pictures are kept for a limited time. The same words, settings and seed make the same picture again.'
  }
  if (error.code === 'not_found') return 'Perhaps the link was cut short.'
  return clientMessage(error)
}

export function errorBody(error: AppError): Html {
  return html`<div class="single error-page">
<h1>${errorTitle(error)}</h1>
<p>${errorMessage(error)}</p>
<p><a class="btn filled" href="/">To the studio</a></p>
</div>`
}
