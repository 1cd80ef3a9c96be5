import type { Settings } from './simulation.ts'

/** The settings of deploy/kubernetes/components/keda (a test compares them), and a worker that needs a minute to start. */
export const shipped: Settings = {
  metric: 'work',
  threshold: 120,
  maxReplicas: 16,
  pollingSeconds: 10,
  cooldownSeconds: 600,
  stabilisationSeconds: 300,
  fallback: 4,
  graceSeconds: 1800,
  scrapeSeconds: 15,
  startSeconds: 60,
}
