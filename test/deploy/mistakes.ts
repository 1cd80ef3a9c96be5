import type { Manifest } from './kustomize.ts'

/** Mistakes in manifests, for the test that each is found. */

/** Sets a field, or removes it: `KIND NAME PATH`. */
export function change(objects: readonly Manifest[], fields: string, value: unknown): void {
  const [kind, name, path = ''] = fields.split(' ')
  const steps = path.split('.')
  const last = steps.pop() ?? ''
  let inner: unknown = objects.find((object) => object.kind === kind && object.metadata.name === name)
  for (const step of steps) inner = (inner as Record<string, unknown>)[step]
  if (Array.isArray(inner) && value === undefined) inner.splice(Number(last), 1)
  else if (value === undefined) delete (inner as Record<string, unknown>)[last]
  else (inner as Record<string, unknown>)[last] = value
}

const worker = 'Deployment packshot-worker spec.template.spec'
const server = 'Deployment packshot-server spec.template.spec'

/** What is changed, and what is said of it. */
export const mistakes: readonly [string, unknown, RegExp][] = [
  [`${server}.containers.0.livenessProbe.httpGet.paht`, '/x', /no field spec.*paht/],
  [`${server}.terminationGracePeriod`, 320, /no field spec.*terminationGracePeriod/],
  ['Deployment packshot-worker spec.template.metadata.label', {}, /no field spec.template.metadata.label/],
  ['Deployment packshot-server spec.minReadySeconds', 'ten', /integer/],
  ['ScaledObject packshot-worker spec.cooldown', 5, /no field spec.cooldown/],
  ['ScaledObject packshot-worker spec.triggers', undefined, /triggers/],
  ['Ingress packshot spec.rules.0.hosts', ['x'], /no field spec.rules.0.hosts/],
  ['Issuer letsencrypt spec.acme.mail', 'x', /no field spec.acme.mail/],
  ['PodMonitor packshot-server spec.podMetricsEndpoints.0.ports', 'metrics', /no field/],
  ['PodMonitor packshot-server spec.podMetricsEndpoints.0.port', 'http2', /scrapes the port http2/],
  ['Service packshot spec.ports.0.targetPort', 'web', /port web, which no pod opens/],
  ['Service packshot spec.selector', { app: 'packshot' }, /selects no pod/],
  [
    'PodDisruptionBudget packshot-server spec.selector',
    { matchLabels: { 'app.kubernetes.io/name': 'packshot' } },
    /selects pods of packshot-server and packshot-worker/,
  ],
  ['Ingress packshot spec.rules.0.http.paths.0.backend.service.name', 'studio', /leads to studio/],
  ['NetworkPolicy packshot-metrics spec.ingress.0.ports.0.port', 9465, /port 9465, which no pod opens/],
  ['ServiceAccount packshot metadata.name', 'other', /refers to ServiceAccount packshot/],
  ['Service packshot metadata.namespace', 'default', /not in the namespace packshot/],
  [`${worker}.volumes.0.name`, 'temp', /mounts models, which is no volume/],
  [`${server}.securityContext.runAsNonRoot`, undefined, /runs as root/],
  [`${worker}.containers.0.securityContext.readOnlyRootFilesystem`, false, /writes to its root/],
  [`${worker}.automountServiceAccountToken`, undefined, /mounts a token/],
  [`${server}.containers.0.livenessProbe.httpGet.path`, '/healthz/deps', /liveness is not/],
  [`${server}.containers.0.startupProbe.failureThreshold`, 3, /has 15 s to start/],
  [`${server}.terminationGracePeriodSeconds`, 285, /take 285 s/],
  [`${worker}.terminationGracePeriodSeconds`, 1860, /take 1860 s/],
  ['ConfigMap packshot data.PACKSHOT_SHUTDOWN_SECONDS', '1700', /loses work at a scale-down/],
  ['ConfigMap packshot data.PACKSHOT_HOLD_SECONDS', '600', /may take 320 s to stop/],
  ['ConfigMap packshot data.PACKSHOT_DRAIN_SECOND', '5', /Did you mean PACKSHOT_DRAIN_SECONDS/],
  ['ConfigMap packshot data.PACKSHOT_DATA_DIR', '/var/packshot', /cannot write to PACKSHOT_DATA_DIR/],
  ['ConfigMap packshot data.PACKSHOT_HOST', '127.0.0.1', /no probe reaches it/],
  ['ConfigMap packshot data.PACKSHOT_METRICS_PORT', '9100', /opens 9464 as metrics, and listens on 9100/],
  ['ConfigMap packshot data.PACKSHOT_KEYS_FILE', undefined, /PACKSHOT_OPEN=1/],
  ['ConfigMap packshot data.AWS_REGIO', 'x', /variable AWS_REGIO, which there is not/],
  [`${worker}.containers.0.resources.limits.memory`, '3Gi', /may take 3200 MiB/],
  [
    `${worker}.containers.0.envFrom.1.secretRef.name`,
    'packshot-server',
    /PACKSHOT_SECRET, which is for servers/,
  ],
  [`${worker}.containers.0.args`, ['work'], /has the role work, which there is not/],
  ['Deployment packshot-worker spec.replicas', 2, /sets the replicas of packshot-worker/],
  [
    'HorizontalPodAutoscaler packshot-server spec.scaleTargetRef.name',
    'packshot-worker',
    /packshot-worker has 2 autoscalers/,
  ],
  ['ScaledObject packshot-worker spec.fallback', undefined, /no fallback/],
  [
    'ScaledObject packshot-worker spec.triggers.0.metadata.ignoreNullValues',
    'true',
    /takes an absent metric for zero/,
  ],
  ['ScaledObject packshot-worker spec.triggers.0.metadata.treshold', '5', /treshold/],
  [
    'ScaledObject packshot-worker spec.triggers.0.metadata.query',
    'sum(packshot_queue_works)',
    /packshot_queue_works, which there is not/,
  ],
  ['ScaledObject packshot-worker spec.triggers.1', undefined, /does not keep a worker/],
  ['ScaledObject packshot-worker spec.triggers.0.metadata.threshold', '60', /counts 120 for a job/],
  ['Ingress packshot spec.rules.0.host', 'other.example.com', /other.example.com/],
  [
    'Ingress packshot metadata.annotations',
    { 'nginx.ingress.kubernetes.io/proxy-buffering': 'off' },
    /one controller/,
  ],
]
