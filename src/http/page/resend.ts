import type { ResolvedRequest } from '../../jobs/job.ts'
import { settingsText } from './form-values.ts'
import { type Html, html } from './html.ts'

/**
 * A button that sends a request again, changed. A form, so that it works without JavaScript; wall.js puts the new card
 * into the list instead of opening its page.
 */
export function resend(request: Partial<ResolvedRequest>, label: string, icon: Html): Html {
  const inputs = Object.entries(settingsText(request)).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  )
  return html`<form method="post" action="/jobs" data-send>${inputs}<button class="btn outlined" type="submit">${icon}<span>${label}</span></button></form>`
}
