import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * The processes above this one whose end is the end of its command: npm, and a shell that does nothing but wait for npm.
 * npm passes on SIGTERM and SIGINT only, and a shell (dash for `sh -c "npm start"`) passes on nothing. Whatever else
 * ends them would leave a server behind that holds the port and the folder, and that nobody knows.
 */

const lookEveryMs = 1000

/** Whether the parent of this process is npm, which runs its script. */
export function startedByNpm(): boolean {
  const program = process.argv[1]?.split('/').at(-1) ?? ''
  return program !== '' && process.env.npm_lifecycle_script?.includes(`/${program}`) === true
}

/** Calls `action` again and again once npm, or the shell that waits for it, is gone. */
export function onLossOfCommand(action: () => void): void {
  const npm = process.ppid
  const above = parentOf(npm)
  const shell = above !== undefined && waitsForItsCommand(commandLine(above)) ? above : undefined
  const isLost = () => process.ppid !== npm || (shell !== undefined && parentOf(npm) !== shell)
  setInterval(() => isLost() && action(), lookEveryMs).unref()
}

/**
 * Whether a process is a shell with a command (`sh -c TEXT`) that cannot end before all of that command has, unless it is
 * killed. A shell that starts something in the background may end whenever it likes; so may one that is in doubt.
 */
export function waitsForItsCommand([program, options, text]: readonly string[]): boolean {
  if (program === undefined || options === undefined || text === undefined) return false
  if (!/^(sh|dash|ash|bash|ksh|zsh)$/.test(basename(program)) || !/^-[a-z]*c$/.test(options)) return false
  return !text
    .replaceAll('&&', '')
    .replaceAll(/[<>]&|&>/g, '')
    .includes('&')
}

/** Linux only; undefined elsewhere, and for a process that is gone. */
function parentOf(pid: number): number | undefined {
  // the name in parentheses may have spaces and parentheses itself
  const parent = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[1]
  return parent === undefined ? undefined : Number(parent)
}

function commandLine(pid: number): string[] {
  return read(`/proc/${pid}/cmdline`).split('\0')
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
