import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { areOnPath, ensureInstalled } from '../services/packages.ts'

/** For tests: what deploy/ tells Prometheus and Alertmanager, and the programs that check it. */

const root = join(import.meta.dirname, '../..')
export const deploy = (...path: readonly string[]) => join(root, 'deploy', ...path)

export interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly for?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export interface RuleFile {
  readonly groups: readonly {
    readonly name: string
    readonly interval?: string
    readonly rules: readonly Rule[]
  }[]
}

export const rulePaths: readonly string[] = readdirSync(deploy('prometheus/rules'))
  .sort()
  .map((name) => deploy('prometheus/rules', name))

export function ruleFiles(): RuleFile[] {
  return rulePaths.map((path) => parse(readFileSync(path, 'utf8')) as RuleFile)
}

export function allRules(): Rule[] {
  return ruleFiles().flatMap(({ groups }) => groups.flatMap(({ rules }) => rules))
}

export function alerts(): (Rule & { readonly alert: string })[] {
  return allRules().flatMap((rule) => (rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }]))
}

/** For programs in Go: with little memory in use they collect garbage all the time, a quarter of what promtool costs. */
export const seldomCollecting = { GOGC: '400' }

/** promtool, amtool, prometheus and prometheus-alertmanager; installed on Debian as root. */
export async function ensurePrometheus(): Promise<void> {
  const programs = ['promtool', 'prometheus', 'amtool', 'prometheus-alertmanager']
  await ensureInstalled('Prometheus and Alertmanager', () => areOnPath(...programs))
}

/** What it printed; throws with that if it found a fault. */
export function checked(program: 'promtool' | 'amtool', ...args: readonly string[]): string {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: 'pipe',
      env: { ...process.env, ...seldomCollecting },
    })
  } catch (thrown) {
    const { stdout, stderr } = thrown as { stdout: string; stderr: string }
    throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`)
  }
}
