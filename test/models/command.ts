import { readdirSync } from 'node:fs'
import { runModels } from '../../src/cli/models.ts'
import { progressOnTerminal } from '../../src/cli/progress.ts'
import type { Client } from './file-server.ts'

export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** `npm run models -- ARGS` in this process, with its models in `dir`; `client` counts the bytes received. */
export async function models(
  dir: string,
  args: readonly string[],
  env: Record<string, string> = {},
  client: Client = { bytes: 0 },
): Promise<Outcome> {
  const out: string[] = []
  const err: string[] = []
  const progress = progressOnTerminal({ isTTY: false, write: (text) => err.push(text) > 0 })
  const status = await runModels(args, {
    env: { PACKSHOT_MODELS_DIR: dir, ...env },
    print: (line) => out.push(`${line}\n`),
    complain: (line) => err.push(`${line}\n`),
    progress: {
      ...progress,
      update(label, done, total) {
        client.bytes = done
        progress.update(label, done, total)
      },
    },
  })
  return { status, stdout: out.join(''), stderr: err.join('') }
}

/** The contents of a folder, sorted, without hidden files. */
export function visible(dir: string, { recursive = false } = {}): string[] {
  const names = readdirSync(dir, { recursive, encoding: 'utf8' })
  return names.filter((name) => !name.startsWith('.')).sort()
}
