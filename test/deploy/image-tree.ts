import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { oneThread } from '../kit/own-environment.ts'

/**
 * What the container of the image has, without building it: the files that the Dockerfile copies, read-only and of another
 * user, its variables, and neither npm nor a home.
 */

export const root = join(import.meta.dirname, '../..')
const nobody = 65_534

interface Instruction {
  readonly name: string
  readonly text: string
}

/** The instructions of each stage, without comments and line breaks; those before the first FROM are in every stage. */
export function stagesOf(dockerfile: string): Instruction[][] {
  const lines = dockerfile
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
  const all = lines.map((line) => {
    const [, name = '', text = ''] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? []
    return { name, text }
  })
  const first = all.findIndex(({ name }) => name === 'FROM')
  const stages: Instruction[][] = []
  for (const instruction of all.slice(first)) {
    if (instruction.name === 'FROM') stages.push([...all.slice(0, first)])
    stages.at(-1)?.push(instruction)
  }
  return stages
}

/** The sources in the context that a stage copies. */
export function copied(stage: readonly Instruction[]): { sources: string[]; target: string }[] {
  return stage
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from='))
    .map(({ text }) => {
      const words = text.split(/\s+/)
      return { sources: words.slice(0, -1), target: words.at(-1) ?? '' }
    })
}

/** The words of an instruction in exec form; throws for one that a shell would run. */
export function execForm(stage: readonly Instruction[], name: string): string[] {
  const text = stage.findLast((instruction) => instruction.name === name)?.text ?? ''
  return JSON.parse(text.slice(text.indexOf('['))) as string[]
}

export function environmentOf(stage: readonly Instruction[]): Record<string, string> {
  const text = stage.filter(({ name }) => name === 'ENV').map((each) => each.text)
  return Object.fromEntries(
    text.flatMap((line) => line.split(/\s+/)).map((pair) => pair.split('=') as [string, string]),
  )
}

export interface Container {
  readonly process: ChildProcess
  /** stdout and stderr together. */
  readonly output: () => string
  /** Resolves with the exit status, or the signal's name. */
  readonly ended: Promise<number | string>
}

export interface ImageTree {
  /** Stands for `/data`, `/models` and `/etc/packshot` of the container, which its user may write to. */
  readonly writable: string
  /** ENTRYPOINT with these words in the place of CMD, until the test is over. */
  start(command: readonly string[], env?: Record<string, string>): Container
  /** Another command in the container, as its health check. */
  exec(words: readonly string[], env?: Record<string, string>): Container
}

export function imageTree(t: Cleanup): ImageTree {
  const folder = tempFolder(t)
  chmodSync(folder, 0o755)
  const [app, writable] = [join(folder, 'app'), join(folder, 'writable')]
  const stage = stagesOf(readFileSync(join(root, 'Dockerfile'), 'utf8')).at(-1) ?? []
  for (const { sources, target } of copied(stage)) {
    for (const source of sources) {
      const to = target.endsWith('/') ? join(target, source.split('/').at(-1) ?? '') : target
      mkdirSync(dirname(join(app, to)), { recursive: true })
      cpSync(join(root, source), join(app, to), { recursive: true, filter: (path) => !isIgnored(path) })
    }
  }
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  const isRoot = process.getuid?.() === 0
  const image = environmentOf(stage)
  for (const name of ['', 'data', 'models', 'keys']) {
    mkdirSync(join(writable, name))
    if (isRoot) chownSync(join(writable, name), nobody, nobody)
  }
  const folders = {
    PACKSHOT_DATA_DIR: join(writable, 'data'),
    PACKSHOT_MODELS_DIR: join(writable, 'models'),
  }

  const exec: ImageTree['exec'] = ([program = '', ...args], env = {}) => {
    const child = spawn(program === 'node' ? process.execPath : program, args, {
      cwd: app,
      env: { PATH: '/nowhere', ...image, ...folders, ...oneThread, PACKSHOT_HOST: '127.0.0.1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(isRoot ? { uid: nobody, gid: nobody } : {}),
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => (text += chunk))
    child.stderr.on('data', (chunk: Buffer) => (text += chunk))
    const ended = new Promise<number | string>((done) => {
      child.on('close', (code, signal) => done(code ?? signal ?? 'unknown'))
    })
    lastFirst(t).after(async () => {
      child.kill('SIGKILL')
      await ended
    })
    return { process: child, output: () => text, ended }
  }
  const entrypoint = execForm(stage, 'ENTRYPOINT')
  return { writable, start: (command, env) => exec([...entrypoint, ...command], env), exec }
}

/** The one pattern of .dockerignore that takes something away from what the Dockerfile copies. */
function isIgnored(path: string): boolean {
  return relative(root, path).endsWith('.test.ts')
}
