import type { FastifyInstance } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import type { Hosts } from '../hosts.ts'
import type { Services } from '../services.ts'
import { isFragment, sendFragment } from './answers.ts'
import type { FormState } from './form.ts'
import { type FormValues, readFields } from './form-values.ts'
import type { Html } from './html.ts'
import { lookOf } from './looks.ts'
import { refuseCrossSite } from './security.ts'
import { openWorkspace } from './workspace-cookie.ts'

interface LookOptions {
  readonly services: Services
  readonly hosts: Hosts
  /** The form again, with the looks as they are now. */
  readonly form: (values: FormValues, saved: Pick<FormState, 'looks' | 'look'>) => Promise<Html>
}

/** POST /looks saves what the form has under a name, in place of a look of that name; /looks/remove takes one away. */
export function lookRoutes(app: FastifyInstance, { services, hosts, form }: LookOptions): void {
  const { workspaces } = services

  for (const path of ['/looks', '/looks/remove']) {
    app.post(path, async (request, reply) => {
      refuseCrossSite(request, hosts)
      const values = readFields(request.body)
      const look = lookOf((request.body as { look_name?: unknown } | undefined)?.look_name, values)
      if (look === undefined) {
        throw new AppError('invalid_request', 'A look needs a name, and settings that are not too long.')
      }
      const workspace = openWorkspace(workspaces, request, reply)
      const saves = path === '/looks'
      const done = saves ? await workspace.saveLook(look) : await workspace.removeLook(look.name)
      if (!done) throw new AppError('unavailable', 'Looks cannot be saved at the moment.')
      if (!isFragment(request)) {
        return reply.redirect(saves ? `/?${new URLSearchParams({ look: look.name })}` : '/', 303)
      }
      // a new workspace is not in the cookies of this request yet
      const looks = (await workspace.looks()) ?? []
      return sendFragment(reply, await form(values, { looks, ...(saves ? { look: look.name } : {}) }))
    })
  }
}
