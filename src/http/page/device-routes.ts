import type { FastifyInstance } from 'fastify'
import { workspaceLinkMinutes } from '../../jobs/serving/workspace-link.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { refuseCrossSite } from './security.ts'
import { findWorkspace, renewCookie } from './workspace-cookie.ts'

interface DeviceOptions {
  readonly services: Pick<Services, 'workspaces'>
  readonly assets: Assets
  readonly hosts: Hosts
}

/**
 * A workspace on another device. GET /workspace/device shows a link that is good for some minutes; GET
 * /workspace/open/:token asks whoever follows it, POST opens the workspace there. It asks first, since what is made
 * there afterwards is seen by everybody who has that workspace; and so that a program that only looks at the address, as
 * messengers do, opens nothing.
 */
export function deviceRoutes(app: FastifyInstance, { services, assets, hosts }: DeviceOptions): void {
  const { workspaces } = services

  app.get('/workspace/device', (request, reply) => {
    const token = findWorkspace(workspaces, request)?.link?.()
    const body =
      request.signedIn || token === undefined
        ? noLink(request.signedIn)
        : linkPage(`${request.publicAddress()}/workspace/open/${token}`)
    return sendPage(reply, assets, { title: 'Packshot: another device', body })
  })

  app.get<{ Params: { token: string } }>('/workspace/open/:token', (request, reply) => {
    const found = workspaces.openLink(request.caller, request.params.token)
    if (found === undefined) reply.code(410)
    const body = found === undefined ? over(request.signedIn) : question(request.params.token)
    return sendPage(reply, assets, { title: 'Packshot: another device', body })
  })

  app.post<{ Params: { token: string } }>('/workspace/open/:token', (request, reply) => {
    refuseCrossSite(request, hosts)
    const found = workspaces.openLink(request.caller, request.params.token)
    if (found === undefined) {
      reply.code(410)
      return sendPage(reply, assets, { title: 'Packshot: another device', body: over(request.signedIn) })
    }
    renewCookie(workspaces, found, request, reply)
    return reply.redirect('/', 303)
  })
}

const toStudio = html`<p class="single-more"><a class="btn outlined" href="/">To the studio</a></p>`

function linkPage(link: string): Html {
  return html`<div class="single device">
<h1>Open on another device</h1>
<p>Open this link there within ${workspaceLinkMinutes} minutes: that device then has your pictures and looks too. Show it to nobody else.</p>
<div class="field"><label for="device-link">Link</label><input id="device-link" type="text" readonly dir="ltr" value="${link}"></div>
<p><button class="btn filled js-only" type="button" data-copy="device-link"><span>Copy the link</span></button> <span role="status" class="device-said"></span></p>
${toStudio}
</div>`
}

function noLink(signedIn: boolean): Html {
  const words = signedIn
    ? 'Your pictures belong to your key: sign in with it on the other device.'
    : 'There is nothing to open yet: make a picture or save a look first.'
  return html`<div class="single device"><h1>Open on another device</h1><p>${words}</p>${toStudio}</div>`
}

function question(token: string): Html {
  return html`<div class="single device">
<h1>Open these pictures here?</h1>
<p>This browser then shows the list of the device that the link comes from, in place of its own, and what you make here is seen there too. Go on only if the link is yours.</p>
<form method="post" action="/workspace/open/${token}"><button class="btn filled" type="submit">Open them here</button> <a class="btn text" href="/">Leave it</a></form>
</div>`
}

function over(signedIn: boolean): Html {
  const words = signedIn
    ? 'You are signed in with a key, whose pictures are those of the key on every device.'
    : `Such a link is good for ${workspaceLinkMinutes} minutes. Make a new one on the other device.`
  return html`<div class="single device"><h1>This link opens nothing</h1><p>${words}</p>${toStudio}</div>`
}
