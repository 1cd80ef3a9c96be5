import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Workspace, Workspaces } from '../../jobs/serving/workspace.ts'
import { cookieIn } from '../credentials.ts'

/** The cookie of a workspace: sealed, for this host alone, and not for scripts. */

/** See `sessionCookie` for the two names. */
function workspaceCookie({ protocol }: Pick<FastifyRequest, 'protocol'>): string {
  return protocol === 'https' ? '__Host-packshot-workspace' : 'packshot-workspace'
}

/** The workspace of whoever asks; undefined if there is none yet. */
export function findWorkspace(workspaces: Workspaces, request: FastifyRequest): Workspace | undefined {
  return workspaces.find(request.caller, cookieIn(request.headers.cookie, workspaceCookie(request)))
}

/** The same, or a new one, whose cookie goes with the answer. */
export function openWorkspace(
  workspaces: Workspaces,
  request: FastifyRequest,
  reply: FastifyReply,
): Workspace {
  const workspace = findWorkspace(workspaces, request) ?? workspaces.create(request.caller)
  renewCookie(workspaces, workspace, request, reply)
  return workspace
}

/** So that a browser keeps the cookie as long as the server keeps the workspace. */
export function renewCookie(
  { limits }: Workspaces,
  workspace: Workspace | undefined,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  if (workspace?.cookie === undefined) return
  const secure = request.protocol === 'https' ? '; Secure' : ''
  const cookie = `${workspaceCookie(request)}=${workspace.cookie}; Path=/; Max-Age=${limits.seconds}; HttpOnly; SameSite=Lax${secure}`
  reply.header('set-cookie', cookie)
}
