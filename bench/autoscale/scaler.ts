/**
 * KEDA with the autoscaler that it makes, as their sources say, for one trigger:
 * KEDA looks every `pollingSeconds` and decides between none and one (pkg/scaling/executor/scale_scaledobjects.go);
 * the HorizontalPodAutoscaler looks every 15 s and decides how many (pkg/controller/podautoscaler/horizontal.go).
 */
export interface ScalerSettings {
  /** Of the metric, for each worker. */
  readonly threshold: number
  readonly maxReplicas: number
  readonly pollingSeconds: number
  readonly cooldownSeconds: number
  readonly stabilisationSeconds: number
  /** Replicas when the metric cannot be read; undefined: it counts as zero. */
  readonly fallback: number | undefined
}

const syncSeconds = 15
/** A value this close to the target changes nothing: --horizontal-pod-autoscaler-tolerance. */
const tolerance = 0.1
const failureThreshold = 3
/** The policies of components/keda: up by 100 % or 4 in 15 s, whichever is more; down by half in 60 s. */
const up = { seconds: 15, factor: 2, pods: 4 }
const down = { seconds: 60, factor: 0.5 }

export interface Scaler {
  /** How many workers there should be at this second. @param value undefined: the metric cannot be read */
  tick(second: number, value: number | undefined): number
}

export function createScaler(settings: ScalerSettings): Scaler {
  const { threshold, maxReplicas, pollingSeconds, cooldownSeconds, stabilisationSeconds, fallback } = settings
  let replicas = 0
  let lastActive = Number.NEGATIVE_INFINITY
  let failures = 0
  const wanted: { second: number; replicas: number }[] = []
  /** Of the autoscaler: its policies count no others. */
  const changes: { second: number; by: number }[] = []

  const set = (second: number, count: number) => {
    if (count !== replicas) changes.push({ second, by: count - replicas })
    replicas = count
  }
  const changed = (since: number, direction: 1 | -1) =>
    changes
      .filter(({ second, by }) => second > since && by * direction > 0)
      .reduce((sum, { by }) => sum + by * direction, 0)

  const poll = (second: number, value: number | undefined) => {
    failures = value === undefined ? failures + 1 : 0
    const away = value === undefined && fallback !== undefined
    if (away) {
      if (failures >= failureThreshold) replicas = Math.max(replicas, fallback)
      return
    }
    if ((value ?? 0) > 0) {
      lastActive = second
      if (replicas === 0) replicas = 1
    } else if (replicas > 0 && second - lastActive >= cooldownSeconds) replicas = 0
  }

  const sync = (second: number, read: number | undefined) => {
    // with `fallback` the number stays; else an absent value is read as zero
    if (replicas === 0 || (read === undefined && fallback !== undefined)) return
    const value = read ?? 0
    const ratio = value / (threshold * replicas)
    const raw = Math.abs(1 - ratio) <= tolerance ? replicas : Math.ceil(value / threshold)
    wanted.push({ second, replicas: Math.min(maxReplicas, Math.max(1, raw)) })
    while ((wanted[0]?.second ?? second) < second - stabilisationSeconds) wanted.shift()
    const newest = wanted.at(-1)?.replicas ?? 1
    if (newest > replicas) {
      const before = replicas - changed(second - up.seconds, 1)
      set(second, Math.min(newest, Math.max(Math.ceil(before * up.factor), before + up.pods)))
    } else {
      const stable = Math.max(...wanted.map((one) => one.replicas))
      const before = replicas + changed(second - down.seconds, -1)
      if (stable < replicas)
        set(second, Math.min(replicas, Math.max(stable, Math.floor(before * down.factor), 1)))
    }
  }

  return {
    tick(second, value) {
      if (second % pollingSeconds === 0) poll(second, value)
      if (second % syncSeconds === 0) sync(second, value)
      while ((changes[0]?.second ?? second) < second - 600) changes.shift()
      return replicas
    },
  }
}
