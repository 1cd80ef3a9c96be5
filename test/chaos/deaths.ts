import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Cleanup, tempFolder } from '../cleanup.ts'
import { failPointVariable, serverPoints, workerPoints } from '../fault-kit/fail-points.ts'
import { randomOf } from '../kit/random.ts'
import { between, type Plan } from './schedule.ts'

/**
 * Deaths in the middle of the work. A signal that comes from outside seldom meets a worker between two steps of the
 * protocol, least of all on a slow machine; so each process also gets a step, worked out from the seed, at which it is
 * killed when it first comes there.
 */
export interface Deaths {
  envOf(role: 'server' | 'worker', name: string, number: number): Record<string, string>
  /** Whether the start with this number died there. */
  happened(name: string, number: number): boolean
  /** How many died at which step. */
  counts(): Record<string, number>
}

/** Servers have two steps only: every second one gets none, so that the others live for a while. */
const serverShare = 0.5

export function plannedDeaths(t: Cleanup, { seed }: Plan): Deaths {
  const folder = tempFolder(t)
  const points = new Map<string, string>()
  const markerOf = (name: string, number: number) => join(folder, `${name} ${number}`)
  return {
    envOf(role, name, number) {
      const random = randomOf(seed + 1000 * number + [...name].reduce((sum, c) => sum + c.charCodeAt(0), 0))
      const steps = role === 'server' ? serverPoints : workerPoints
      const step = steps[between(random, 0, steps.length - 1)] as string
      if (role === 'server' && random() > serverShare) return {}
      points.set(markerOf(name, number), step)
      return { [failPointVariable]: `${step}|${markerOf(name, number)}` }
    },
    happened: (name, number) => existsSync(markerOf(name, number)),
    counts() {
      const counts: Record<string, number> = {}
      for (const [marker, step] of points) {
        if (existsSync(marker)) counts[`dies at: ${step}`] = (counts[`dies at: ${step}`] ?? 0) + 1
      }
      return counts
    },
  }
}
