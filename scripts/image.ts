import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkImage } from './image-check.ts'

/**
 * Builds the container image from the Dockerfile, on Debian as root, without Docker and without an image registry: only
 * Debian's mirror and npm's registry are asked. Then starts it read-only and without rights, has it make a picture and
 * stops it.
 *
 *   npm run image -- [--work FOLDER] [--base IMAGE] [--tag NAME]
 *
 * The base image is a stand-in: Debian by debootstrap, and Node and npm of this machine. `--base` names another one,
 * which is pulled. The images stay in the storage under FOLDER, and `podman push` sends them from there.
 */
const needed = ['buildah', 'podman', 'crun', 'debootstrap', 'npm', 'unshare']
const standIn = 'localhost/packshot-base:latest'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: join(tmpdir(), 'packshot-image') },
    base: { type: 'string', default: standIn },
    tag: { type: 'string', default: 'localhost/packshot:latest' },
  },
})
const { work, base, tag } = values
const storage = ['--root', join(work, 'storage'), '--runroot', join(work, 'run'), '--storage-driver', 'vfs']

refuseWithoutTools()
mkdirSync(work, { recursive: true })
if (base === standIn && !has(standIn)) buildStandIn()
build()
await checkImage({ tag, base, storage, work, registry: npmConfig('registry') })

function refuseWithoutTools(): void {
  const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
  const missing = needed.filter((program) => !has(program))
  if (process.getuid?.() === 0 && missing.length === 0) return
  console.error(
    `This needs root and ${needed.join(', ')} (missing: ${missing.join(', ') || 'root'}). ` +
      'Debian: apt-get install buildah podman crun debootstrap. With Docker: docker build -t packshot .',
  )
  process.exit(1)
}

function has(image: string): boolean {
  return spawnSync('buildah', [...storage, 'inspect', '--type', 'image', image]).status === 0
}

/** A base with the name and the user of the real one: Debian, the Node that package.json pins, npm of this machine. */
function buildStandIn(): void {
  const context = join(work, 'base')
  rmSync(context, { recursive: true, force: true })
  mkdirSync(context, { recursive: true })
  run('debootstrap', ['--variant=minbase', 'bookworm', join(context, 'root'), mirror()])
  run('tar', ['-C', join(context, 'root'), '-cf', join(context, 'root.tar'), '.'])
  rmSync(join(context, 'root'), { recursive: true })
  cpSync(process.execPath, join(context, 'node'))
  const cli = realpathSync(
    execFileSync('sh', ['-c', 'command -v npm'], { env: withoutModules(), encoding: 'utf8' }).trim(),
  )
  cpSync(dirname(dirname(cli)), join(context, 'npm'), { recursive: true, dereference: true })
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM scratch
ADD root.tar /
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && groupadd -g 1000 node && useradd -u 1000 -g node -m node
CMD ["node"]
`,
  )
  run('buildah', [...storage, 'bud', '--isolation', 'chroot', '-t', standIn, context])
  rmSync(context, { recursive: true })
}

/** The mirror that this Debian uses. */
function mirror(): string {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    if (!existsSync(file)) continue
    const found = /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)/m.exec(readFileSync(file, 'utf8'))?.[1]
    if (found !== undefined) return found
  }
  return 'http://deb.debian.org/debian'
}

function build(): void {
  const root = dirname(import.meta.dirname)
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const revision = execFileSync('git', ['-C', root, 'rev-parse', 'HEAD'], { encoding: 'utf8' }).trim()
  const labels = { VERSION: version, REVISION: revision, CREATED: new Date().toISOString(), NODE_IMAGE: base }
  const certificates = process.env.NODE_EXTRA_CA_CERTS
  run('buildah', [
    ...storage,
    'bud',
    ...['--isolation', 'chroot', '--network=host', '--format', 'docker'],
    `--pull=${base === standIn ? 'never' : 'ifmissing'}`,
    ...Object.entries(labels).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...['--secret', `id=npmrc,src=${npmrc(certificates)}`],
    ...(certificates === undefined ? [] : ['-v', `${certificates}:/run/certificates.pem:ro`]),
    ...['-t', tag, root],
  ])
}

/** How this machine reaches its registry, as a secret of the build: no layer keeps it. */
function npmrc(certificates: string | undefined): string {
  const file = join(work, 'npmrc')
  const user = npmConfig('userconfig')
  const lines = [
    existsSync(user) ? readFileSync(user, 'utf8') : '',
    `registry=${npmConfig('registry')}`,
    certificates === undefined ? '' : 'cafile=/run/certificates.pem',
  ]
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  return file
}

function npmConfig(name: string): string {
  return execFileSync('npm', ['config', 'get', name], { env: withoutModules(), encoding: 'utf8' }).trim()
}

/** npm puts programs of the packages in front of those of the system. */
function withoutModules(): NodeJS.ProcessEnv {
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => !folder.includes('node_modules'))
  return { ...process.env, PATH: folders.join(':') }
}

function run(program: string, args: readonly string[]): void {
  console.log(`\n== ${program} ${args.filter((arg) => !storage.includes(arg)).join(' ')}`)
  const { status } = spawnSync(program, args, { stdio: 'inherit', env: withoutModules() })
  if (status === 0) return
  console.error(`${program} failed.`)
  process.exit(1)
}
