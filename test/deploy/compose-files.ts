import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { type Cleanup, tempFolder } from '../cleanup.ts'
import { areOnPath, ensureInstalled } from '../services/packages.ts'
import { root } from './image-tree.ts'

/** For tests: deploy/ as Compose reads it, in a copy that has what an operator adds. */

export interface Service {
  readonly image: string
  readonly build?: { readonly context: string }
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly secrets?: readonly { readonly source: string }[]
  readonly volumes?: readonly (string | { readonly source: string; readonly target: string })[]
  readonly ports?: readonly (string | { readonly published: number; readonly target: number })[]
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly logging?: { readonly options: { readonly 'max-size': string } }
  readonly stop_grace_period?: string
  readonly restart?: string
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly deploy?: { readonly resources?: { readonly limits?: { readonly memory?: string } } }
  readonly profiles?: readonly string[]
  readonly networks?: Readonly<Record<string, unknown>>
  readonly hostname?: string
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>
  readonly secrets: Readonly<Record<string, { readonly file: string }>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean } | null>>
}

const profiles = ['gpu', 'observability', 'tools']
/** Two lines that an operator must write. */
export const filled = { DOMAIN: 'studio.example.com', ACME_EMAIL: 'ops@example.com' }

/** A copy of deploy/ with this .env: env.example with these values; none when `values` is null. */
export function deployed(t: Cleanup, values: Readonly<Record<string, string>> | null = filled): string {
  const folder = join(tempFolder(t), 'deploy')
  cpSync(join(root, 'deploy'), folder, { recursive: true })
  if (values === null) return folder
  let text = readFileSync(join(folder, 'env.example'), 'utf8')
  for (const [name, value] of Object.entries(values))
    text = text.replace(new RegExp(`^#?${name}=.*$`, 'm'), `${name}=${value}`)
  writeFileSync(join(folder, '.env'), text)
  return folder
}

/** `docker-compose config`: what it says is wrong, or the file with every variable replaced. */
export function composed(
  folder: string,
  files: readonly string[] = ['compose.yaml'],
  env: Readonly<Record<string, string>> = {},
): { status: number | null; stderr: string; stdout: string } {
  const args = [...files.flatMap((file) => ['-f', file]), ...profiles.flatMap((name) => ['--profile', name])]
  const options = { cwd: folder, env: { PATH: process.env.PATH ?? '', ...env }, encoding: 'utf8' } as const
  const { status, stderr, stdout } = spawnSync('docker-compose', [...args, 'config'], options)
  return { status, stderr, stdout }
}

export function readComposed(
  folder: string,
  files?: readonly string[],
  env?: Record<string, string>,
): ComposeFile {
  const { status, stderr, stdout } = composed(folder, files, env)
  if (status !== 0) throw new Error(stderr)
  return parse(stdout) as ComposeFile
}

/** The last Compose that checks a file without an engine. */
export async function ensureCompose(): Promise<void> {
  await ensureInstalled('Docker Compose 1.29 (docker-compose)', () => areOnPath('docker-compose'))
}

export function secondsOf(time: string): number {
  const [, minutes = '0', seconds = '0'] = /^(?:(\d+)m)?(?:(\d+)s)?$/.exec(time) ?? []
  return Number(minutes) * 60 + Number(seconds)
}

export function makeSecrets(folder: string) {
  return spawnSync('sh', ['secrets.sh'], { cwd: folder, encoding: 'utf8' })
}

/** The environment of a service as its process sees it, with the secrets in this folder. */
export function environmentOf(service: Service | undefined, secrets: string): Record<string, string> {
  const entries = Object.entries(service?.environment ?? {}).map(([name, value]) => {
    const secret = /^\/run\/secrets\/(\w+)$/.exec(value)?.[1]
    const given = service?.secrets?.some(({ source }) => source === secret)
    if (secret !== undefined) assert.ok(given, `${name} names a secret that the service is not given`)
    return [name, secret === undefined ? value : join(secrets, secret)]
  })
  return Object.fromEntries(entries) as Record<string, string>
}

/**
 * What a service of ours runs: the role and its arguments, as the entry of the image takes them. `args` stand in the place of
 * `command`, as in `docker compose run NAME ARGUMENT...`.
 */
export function processOf(file: ComposeFile, name: string, secrets: string, args?: readonly string[]) {
  const service = file.services[name]
  const { command = [], entrypoint = [], healthcheck } = service ?? {}
  const role = entrypoint.slice(entrypoint.indexOf('src/main/role.ts') + 1)
  return {
    command: [...role, ...(args ?? command)],
    environment: environmentOf(service, secrets),
    check: (healthcheck?.test ?? []).slice(1),
  }
}
