import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import { partsOf, readForms } from '../dialects/form-data.ts'
import type { Hosts } from '../hosts.ts'
import { infotextOf } from '../infotext-file.ts'
import type { Services } from '../services.ts'
import { sendPage } from './answers.ts'
import type { Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { noteIcon } from './icons.ts'
import { readBack } from './read-back.ts'
import { refuseCrossSite } from './security.ts'

interface ReadBackOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
  /** The studio with the form filled in. */
  readonly studio: (request: FastifyRequest, values: Readonly<Record<string, string>>) => Promise<Html>
}

/** Of the form around the picture. */
const formBytes = 65_536

/**
 * POST /pictures/settings: the studio, its form filled in with the settings that a picture carries. The file is searched
 * for them and dropped: no pixel is decoded, nothing compressed is opened, and nothing is stored.
 */
export async function readBackRoutes(
  app: FastifyInstance,
  { services, assets, hosts, studio }: ReadBackOptions,
): Promise<void> {
  const bodyLimit = services.uploadLimits.bytes + formBytes
  readForms(app, bodyLimit)
  app.post('/pictures/settings', { bodyLimit, config: { room: 'studio' } }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    const file = partsOf(request.body, request.headers['content-type']).find(({ name }) => name === 'picture')
    if (file === undefined || file.bytes.length === 0) {
      throw new AppError('invalid_request', 'Choose a picture first: a PNG, JPEG or WebP file.', {
        param: 'picture',
      })
    }
    const text = infotextOf(file.bytes)
    const found = text === undefined ? undefined : readBack(text, services.offer())
    if (found === undefined) {
      const message =
        'This picture carries no settings: it was made elsewhere, or a program has removed them on the way.'
      throw new AppError('invalid_upload', message, { param: 'picture' })
    }
    const notes = ['The form has the settings of your picture.', ...found.notes]
    const body = html`<div class="read-notes" role="status">${noteIcon()}<ul>${notes.map((note) => html`<li>${note}</li>`)}</ul></div>${await studio(request, found.values)}`
    return sendPage(reply, assets, { title: 'Packshot', body, frame: 'studio' })
  })
}
