import type { ResolvedRequest } from '../../jobs/job.ts'
import { type Html, html } from './html.ts'

/**
 * The call of the API that makes a job's pictures again, to copy: for curl in a POSIX shell, and for Node. Both have
 * exactly the values of the job.
 * @param base the address of this service
 * @param keyed whether callers have keys
 */
export function apiCall(request: ResolvedRequest, base: string, keyed: boolean): Html {
  const code = (name: string, text: string) =>
    html`<h4 class="api-name">${name}</h4><pre class="api-code" tabindex="0" role="region" aria-label="The call with ${name}"><code>${text}</code></pre>`
  return html`<details class="api-call"><summary>As an API call</summary>${code('curl', curlCall(request, base, keyed))}${code('Node', nodeCall(request, base, keyed))}</details>`
}

export function curlCall(request: ResolvedRequest, base: string, keyed: boolean): string {
  const body = JSON.stringify(request).replaceAll("'", "'\\''")
  const key = keyed ? ` \\\n  -H "authorization: Bearer $PACKSHOT_KEY"` : ''
  return `curl -fsS '${base}/v1/jobs' \\\n  -H 'content-type: application/json' -H 'prefer: wait=45'${key} \\\n  -d '${body}'`
}

export function nodeCall(request: ResolvedRequest, base: string, keyed: boolean): string {
  const key = keyed ? `\n    authorization: \`Bearer \${process.env.PACKSHOT_KEY}\`,` : ''
  return `const answer = await fetch(${JSON.stringify(`${base}/v1/jobs`)}, {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    prefer: 'wait=45',${key}
  },
  body: JSON.stringify(${JSON.stringify(request, undefined, 2).replaceAll('\n', '\n  ')}),
})
const job = await answer.json()
console.log(job.status, job.images)`
}
