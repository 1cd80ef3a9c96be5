import type { FastifyInstance } from 'fastify'
import { toAppError } from '../../jobs/errors.ts'
import { type FormPart, partsOf, readForms } from '../dialects/form-data.ts'
import type { Hosts } from '../hosts.ts'
import type { Refusals } from '../refusals.ts'
import type { Services } from '../services.ts'
import { sendPage, setErrorHeaders } from './answers.ts'
import type { Assets } from './assets.ts'
import type { PageOffer } from './form.ts'
import { readFields } from './form-values.ts'
import { home } from './home.ts'
import { forChosenModel } from './model-change.ts'
import { refuseCrossSite } from './security.ts'

export interface PhotoRouteOptions {
  readonly services: Services
  readonly assets: Assets
  readonly hosts: Hosts
  readonly refused: Refusals
  readonly offer: () => Promise<PageOffer>
}

/** Beside the file: all other fields of the form. */
const fieldBytes = 64 * 1024

/** A photo without JavaScript: the whole form comes with its file, and goes back filled in with the id of the upload. */
export async function photoRoutes(
  app: FastifyInstance,
  { services, assets, hosts, refused, offer }: PhotoRouteOptions,
): Promise<void> {
  const bodyLimit = services.uploadLimits.bytes + fieldBytes
  readForms(app, bodyLimit)
  app.post('/photo', { bodyLimit, config: { limited: true } }, async (request, reply) => {
    refuseCrossSite(request, hosts)
    const parts = partsOf(request.body, request.headers['content-type'])
    const fields = Object.fromEntries(
      parts
        .filter(({ fileName }) => fileName === undefined)
        .map(({ name, bytes }) => [name, bytes.toString('utf8')]),
    )
    const shown = await offer()
    const values = forChosenModel(shown, readFields(fields))
    const file = parts.find(({ name, bytes }) => name === 'photo_file' && bytes.byteLength > 0)
    if (file === undefined) {
      const errors = { init_image: 'Choose a file first, then press the button beside it.' }
      reply.code(422)
      return sendPage(reply, assets, {
        title: 'Packshot',
        body: home(shown, { values, errors, prefilled: false }, { assets }),
        frame: 'studio',
      })
    }
    try {
      const { id } = await services.upload(file.bytes, { type: typeOf(file), caller: request.caller })
      const chosen = { ...values, init_image: id, mask: '' }
      return sendPage(reply, assets, {
        title: 'Packshot',
        body: home(shown, { values: chosen, errors: {}, prefilled: false }, { assets }),
        frame: 'studio',
      })
    } catch (thrown) {
      const error = toAppError(thrown)
      refused(request, error)
      setErrorHeaders(reply, error)
      const errors = { init_image: error.message }
      return sendPage(reply, assets, {
        title: 'Packshot: not sent',
        body: home(shown, { values, errors, prefilled: false }, { assets }),
        frame: 'studio',
      })
    }
  })
}

/** By the first bytes: what browsers say of a file comes from its name. */
function typeOf({ bytes }: FormPart): string {
  const head = bytes.toString('latin1', 0, 12)
  if (head.startsWith('\xff\xd8')) return 'image/jpeg'
  return head.slice(8) === 'WEBP' ? 'image/webp' : 'image/png'
}
