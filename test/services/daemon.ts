import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { deadline, inTime } from '../kit/waiting.ts'
import { keepFolder, keepProcess } from './keeper.ts'

/** A program that runs until it is stopped. */
export interface Command {
  /** Names its log file and the process in error messages. */
  readonly name: string
  readonly file: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Where it runs and where `NAME.log` gets what it prints. */
  readonly folder: string
}

interface Daemon {
  readonly pid: number
  /** The end of what it printed, for error messages. */
  tail(): string
  isRunning(): boolean
  signal(name: NodeJS.Signals): void
  /** Resolves once the process is gone; false if it is still there when the limit is over. */
  untilEnded(limitMs: number): Promise<boolean>
}

/** What a test can do to a service that it started. */
export interface ServiceControl {
  /** Throws while the service is down. */
  pid(): number
  isRunning(): boolean
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves once the process is gone, rejects if that takes absurdly long. */
  stop(): Promise<void>
  /** Starts again, on the same port and with its disk's contents; resolves once it answers. */
  start(): Promise<void>
  /** `stop` and `start`. */
  restart(): Promise<void>
  /** Suspends it: no answers, no closed connections; resolves once all of it is stopped. */
  hang(): Promise<void>
  /** After `hang`. */
  resume(): void
}

const goneLimitMs = 30_000

/**
 * A temporary folder that goes even if this process is killed. In memory where there is room: what a service writes for
 * each message and each new queue survives its `kill` there too, and costs it a third less of the processor than a disk.
 * TMPDIR says where else.
 */
export function serviceFolder(t: Cleanup): string {
  const { TMPDIR } = process.env
  const folder = tempFolder(t, TMPDIR === undefined && hasRoom(memory) ? memory : undefined)
  keepFolder(folder)
  return folder
}

const memory = '/dev/shm'
/** The memory of a container is often 64 MB, which the services of a run would fill. */
const roomBytes = 4 * 2 ** 30

function hasRoom(folder: string): boolean {
  const found = existsSync(folder) ? statfsSync(folder) : undefined
  return found !== undefined && found.bavail * found.bsize >= roomBytes
}

/**
 * Starts a program that ends with this process at the latest, and kills it after the test. It has a session of its
 * own, so that Ctrl-C reaches the tests and not the services under them.
 */
export function startDaemon(t: Cleanup, command: Command): Daemon {
  const { name, folder } = command
  const logFile = join(folder, `${name}.log`)
  const log = openSync(logFile, 'a')
  const [file, args] = leashed(command.file, command.args)
  const child = spawn(file, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', ...command.env },
    stdio: ['ignore', log, log],
    detached: true,
  })
  closeSync(log)
  keepProcess(child)
  child.unref()
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const daemon: Daemon = {
    pid: child.pid ?? -1,
    tail: () => `${name} printed last:\n${readFileSync(logFile, 'utf8').slice(-4000)}`,
    isRunning: () => isRunning(child),
    signal: (signal) => void child.kill(signal),
    untilEnded: async (limitMs) => {
      // the reference holds the process: an awaited end must not be cut short by an empty event loop
      child.ref()
      const isGone = await inTime(
        ended.then(() => true),
        limitMs,
      )
      child.unref()
      return isGone ?? false
    },
  }
  lastFirst(t).after(() => killed(daemon))
  return daemon
}

/** Starts the program and waits until `answers` resolves to true; rejects with the end of its log if it does not. */
export async function startService(
  t: Cleanup,
  command: Command,
  answers: () => Promise<boolean>,
  limitMs = 60_000,
): Promise<ServiceControl> {
  let daemon: Daemon | undefined
  const running = () => {
    if (daemon?.isRunning() !== true) throw new Error(`${command.name} is not running`)
    return daemon
  }
  const control: ServiceControl = {
    pid: () => running().pid,
    isRunning: () => daemon?.isRunning() ?? false,
    kill: async () => killed(running()),
    stop: async () => {
      const present = running()
      present.signal('SIGTERM')
      if (!(await present.untilEnded(goneLimitMs))) {
        throw new Error(`${command.name} did not end after SIGTERM; ${present.tail()}`)
      }
    },
    start: async () => {
      if (daemon?.isRunning() === true) throw new Error(`${command.name} is already running`)
      daemon = startDaemon(t, command)
      await untilAnswers(daemon, command.name, answers, limitMs)
    },
    restart: async () => {
      await control.stop()
      await control.start()
    },
    hang: async () => {
      running().signal('SIGSTOP')
      await untilStopped(running().pid)
    },
    resume: () => running().signal('SIGCONT'),
  }
  await control.start()
  return control
}

/** Runs a program to its end; resolves with its output, rejects with what it printed and with its status. */
export async function runTool(command: Command, limitMs: number, input = ''): Promise<string> {
  const [file, args] = leashed(command.file, command.args)
  const env = { PATH: process.env.PATH, LANG: 'C.UTF-8', ...command.env }
  const ended = Promise.withResolvers<string>()
  const child = execFile(file, args, { cwd: command.folder, env }, (error, stdout, stderr) => {
    if (error === null) return ended.resolve(stdout)
    const status = error.killed ? 'did not end in time' : `failed (${error.code})`
    ended.reject(new Error(`${command.file} ${command.args.join(' ')} ${status}: ${stderr}${stdout}`))
  })
  // a program that ends without reading says why by itself
  child.stdin?.on('error', () => {}).end(input)
  if ((await inTime(ended.promise, limitMs)) === undefined) child.kill('SIGKILL')
  return ended.promise
}

async function untilAnswers(
  daemon: Daemon,
  name: string,
  answers: () => Promise<boolean>,
  limitMs: number,
): Promise<void> {
  const isOver = deadline(limitMs)
  while (!(await answers())) {
    if (!daemon.isRunning()) throw new Error(`${name} ended while it started; ${daemon.tail()}`)
    if (isOver()) throw new Error(`${name} did not answer in time; ${daemon.tail()}`)
    await sleep(25)
  }
}

/** Each thread stops by itself, some only after what they are at: until then the program may answer. */
async function untilStopped(pid: number): Promise<void> {
  const folder = `/proc/${pid}/task`
  if (!existsSync(folder)) return sleep(200)
  // the state is the first field after the name, which is in brackets and may contain anything
  const state = (thread: string) => {
    try {
      return readFileSync(join(folder, thread, 'stat'), 'utf8')
        .split(') ')
        .at(-1)?.[0]
    } catch {
      return 'gone'
    }
  }
  const isOver = deadline(goneLimitMs)
  while (!readdirSync(folder).every((thread) => state(thread) === 'T')) {
    if (isOver()) throw new Error(`process ${pid} did not stop`)
    await sleep(5)
  }
}

async function killed(daemon: Daemon): Promise<void> {
  if (!daemon.isRunning()) return
  daemon.signal('SIGKILL')
  if (!(await daemon.untilEnded(goneLimitMs))) throw new Error(`process ${daemon.pid} survived SIGKILL`)
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

let leash: readonly string[] | undefined

/**
 * The command line with which the kernel kills the program when the thread that started it ends, on Linux. This
 * survives exec but not fork: a program must stay in the foreground and must not hand over to a child.
 */
export function leashed(file: string, args: readonly string[]): [string, string[]] {
  leash ??= findLeash()
  const [first = file, ...rest] = [...leash, file, ...args]
  return [first, rest]
}

function findLeash(): readonly string[] {
  const words = ['setpriv', '--pdeathsig', 'KILL']
  return spawnSync('setpriv', [...words.slice(1), 'true']).status === 0 ? words : []
}
