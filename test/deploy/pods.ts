import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IContainer } from 'kubernetes-models/v1/Container'
import { type Config, ConfigError, Environment, loadConfig, requireServices } from '../../src/config.ts'
import { requireDecision } from '../../src/main/callers.ts'
import { bytes, type Workload } from './workloads.ts'

const sourceOf = (file: string) => readFileSync(join(import.meta.dirname, '../../src/main', file), 'utf8')
/** The roles that the entry of the image knows. */
const roles = [...sourceOf('role.ts').matchAll(/^ {2}'?([a-z-]+)'?: \[/gm)].map(([, role]) => role)
/** Variables of others that our containers use: the S3 library's, Node's, and those of NVIDIA's container runtime. */
const othersVariables =
  /^(AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION)|NODE_EXTRA_CA_CERTS|NVIDIA_DRIVER_CAPABILITIES)$/
/** After so long without an end, the supervisor kills a worker that was asked to stop. */
const [, graceMs = ''] = /const stepGraceMs = ([\d_]+)/.exec(sourceOf('worker-supervisor.ts')) ?? []
const killAfterSeconds = Number(graceMs.replaceAll('_', '')) / 1000
const MiB = 2 ** 20

/** What is wrong with the pods of one workload: one sentence each. */
export function podFaults(workload: Workload): string[] {
  const faults = [...restrictedFaults(workload), ...environmentFaults(workload)]
  const config = configOf(workload)
  if (config !== undefined) faults.push(...timeFaults(workload, config), ...placeFaults(workload, config))
  return faults.map((fault) => `${workload.kind} ${workload.name}: ${fault}`)
}

/** The profile `restricted` (https://kubernetes.io/docs/concepts/security/pod-security-standards/), and what is ours beyond it. */
function restrictedFaults({ pod, container }: Workload): string[] {
  const inPod = pod.securityContext ?? {}
  const inContainer = container.securityContext ?? {}
  const { requests = {}, limits = {} } = container.resources ?? {}
  const volumes = pod.volumes ?? []
  const rules: [string, boolean][] = [
    ['runs as root', inPod.runAsNonRoot === true && (inPod.runAsUser ?? 0) > 0],
    ['has no seccomp profile', inPod.seccompProfile?.type === 'RuntimeDefault'],
    ['may gain privileges', inContainer.allowPrivilegeEscalation === false],
    ['is privileged', inContainer.privileged !== true],
    [
      'keeps capabilities',
      inContainer.capabilities?.drop?.includes('ALL') === true && !inContainer.capabilities.add,
    ],
    ['writes to its root', inContainer.readOnlyRootFilesystem === true],
    ['shares a namespace of its node', !pod.hostNetwork && !pod.hostPID && !pod.hostIPC],
    ['opens a port of its node', (container.ports ?? []).every(({ hostPort }) => hostPort === undefined)],
    ['uses a folder of its node', volumes.every(({ hostPath }) => hostPath === undefined)],
    [
      'has an unbounded volume',
      volumes.every(({ emptyDir }) => !emptyDir || emptyDir.sizeLimit !== undefined),
    ],
    ['mounts a token', pod.automountServiceAccountToken === false],
    ['has the variables of all services', pod.enableServiceLinks === false],
    ['has no memory limit', limits.memory !== undefined],
    ['has no requests', requests.cpu !== undefined && requests.memory !== undefined],
    [
      'does not say how long it may take to stop',
      pod.terminationGracePeriodSeconds !== undefined || isJob(container),
    ],
  ]
  return rules.filter(([, right]) => !right).map(([fault]) => fault)
}

function isJob({ args }: IContainer): boolean {
  return args?.[0] === 'storage'
}

function configOf({ env }: Workload): Config | undefined {
  try {
    return loadConfig(env)
  } catch {
    return undefined
  }
}

/** The program itself judges its variables, as it does at startup. */
function environmentFaults({ container, env }: Workload): string[] {
  const unknown = Object.keys(env).filter(
    (name) => !(name in Environment.properties) && !othersVariables.test(name),
  )
  const faults = unknown.map((name) => `has the variable ${name}, which there is not`)
  const role = container.args?.[0]
  if (!roles.includes(role)) faults.push(`has the role ${role}, which there is not`)
  if (role !== 'server' && 'PACKSHOT_SECRET' in env)
    faults.push('is given PACKSHOT_SECRET, which is for servers')
  try {
    const config = loadConfig(env)
    if (role === 'server' || role === 'worker') requireServices(config, role)
    if (role === 'server') requireDecision(config)
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown
    faults.push(...thrown.faults)
  }
  return faults
}

function timeFaults({ pod, container }: Workload, config: Config): string[] {
  const [role] = container.args ?? []
  const grace = pod.terminationGracePeriodSeconds ?? 30
  const faults: string[] = []
  const longer = (seconds: number, what: string) => {
    if (grace <= seconds) faults.push(`may take ${grace} s to stop, and ${what} take ${seconds} s`)
  }
  if (role === 'server') {
    longer(config.drainSeconds + config.holdSeconds, 'PACKSHOT_DRAIN_SECONDS and PACKSHOT_HOLD_SECONDS')
  }
  if (role === 'worker') {
    longer(
      config.shutdownSeconds + killAfterSeconds,
      'PACKSHOT_SHUTDOWN_SECONDS and the time before it is killed',
    )
    if (config.shutdownSeconds < config.attemptSeconds)
      faults.push(
        'loses work at a scale-down: PACKSHOT_SHUTDOWN_SECONDS is less than PACKSHOT_ATTEMPT_SECONDS',
      )
  }
  if (role === 'server' || role === 'worker') faults.push(...probeFaults(container, config))
  return faults
}

function probeFaults({ startupProbe, livenessProbe, readinessProbe }: IContainer, config: Config): string[] {
  const faults: string[] = []
  if (livenessProbe?.httpGet?.path !== '/healthz/live') faults.push('liveness is not /healthz/live')
  if (readinessProbe?.httpGet?.path !== '/healthz/ready') faults.push('readiness is not /healthz/ready')
  if (startupProbe?.httpGet?.path !== '/healthz/ready') faults.push('startup is not /healthz/ready')
  const start = (startupProbe?.failureThreshold ?? 3) * (startupProbe?.periodSeconds ?? 10)
  if (start < config.startSeconds + 60)
    faults.push(
      `has ${start} s to start, and waits for services for ${config.startSeconds} s before it loads`,
    )
  return faults
}

/** Ports, folders and memory that the settings speak of. */
function placeFaults({ pod, container }: Workload, config: Config): string[] {
  const [role] = container.args ?? []
  const faults: string[] = []
  const expected: Record<string, number | undefined> = {
    http: role === 'server' ? config.port : undefined,
    health: role === 'worker' ? config.workerPort : undefined,
    metrics: isJob(container) ? undefined : config.metricsPort,
  }
  for (const [name, port] of Object.entries(expected)) {
    const open = container.ports?.find((one) => one.name === name)?.containerPort
    if (open !== port) faults.push(`opens ${open} as ${name}, and listens on ${port}`)
  }
  if (config.host !== '0.0.0.0') faults.push(`listens on ${config.host}, where no probe reaches it`)
  const volumeAt = (path: string) => {
    const mount = container.volumeMounts?.find(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`))
    return pod.volumes?.find(({ name }) => name === mount?.name)
  }
  if (volumeAt(config.dataDir)?.emptyDir === undefined) faults.push('cannot write to PACKSHOT_DATA_DIR')
  if (volumeAt('/tmp')?.emptyDir === undefined) faults.push('cannot write to /tmp')
  if (role === 'server' && config.keysFile !== undefined) {
    const { secret } = volumeAt(config.keysFile) ?? {}
    if (secret === undefined) faults.push('has no volume for PACKSHOT_KEYS_FILE')
    else if (secret.defaultMode !== 0o440) faults.push('mounts the keys so that others can read them')
  }
  if (role === 'worker') {
    const limit = bytes(container.resources?.limits?.memory) / MiB
    const models = config.modelMemoryMb ?? (limit * 2) / 3
    const whole = models * 1.25 + 640
    if (whole > limit)
      faults.push(`may take ${Math.round(whole)} MiB of memory (docs/operating.md, Memory) and has ${limit}`)
  }
  return faults
}
