import type { IIngressSpec } from 'kubernetes-models/networking.k8s.io/v1/IngressSpec'
import type { INetworkPolicySpec } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicySpec'
import type { IServiceSpec } from 'kubernetes-models/v1/ServiceSpec'
import type { Manifest } from './kustomize.ts'
import { type Labels, selects, type Workload, workloadsOf } from './workloads.ts'

/** Secrets that are made by hand, or are optional: README.md of deploy/kubernetes says how. */
const byHand = ['packshot-services', 'packshot-server', 'packshot-keys', 'packshot-storage-admin']
/** Pods that other programs start here. */
const foreignPods: readonly Labels[] = [{ 'acme.cert-manager.io/http01-solver': 'true' }]
const withoutNamespace = ['Namespace']

interface Selector {
  readonly matchLabels?: Labels
}

/** Where the objects of one build do not fit together: one sentence each. */
export function structureFaults(objects: readonly Manifest[]): string[] {
  const workloads = workloadsOf(objects)
  const namespace = objects.find(({ kind }) => kind === 'Namespace')?.metadata.name
  const faults = objects.flatMap((object) => {
    const of = (fault: string) => `${object.kind} ${object.metadata.name}: ${fault}`
    const found = [...selectorFaults(object, workloads), ...portFaults(object, workloads, objects)]
    if (!withoutNamespace.includes(object.kind) && object.metadata.namespace !== namespace)
      found.push(`is not in the namespace ${namespace}`)
    return found.map(of)
  })
  return [...faults, ...workloads.flatMap((workload) => referenceFaults(workload, objects))]
}

function selectorFaults({ kind, spec }: Manifest, workloads: readonly Workload[]): string[] {
  const selectors = selectorsOf(kind, spec)
  return selectors.flatMap((selector) => {
    const text = JSON.stringify(selector)
    if (Object.keys(selector).length === 0 || foreignPods.some((labels) => selects(selector, labels)))
      return []
    const selected = workloads.filter(({ labels }) => selects(selector, labels))
    if (selected.length === 0) return [`${text} selects no pod`]
    const one = kind !== 'NetworkPolicy' && selected.length > 1
    return one ? [`${text} selects pods of ${selected.map(({ name }) => name).join(' and ')}`] : []
  })
}

function selectorsOf(kind: string, spec: unknown): Labels[] {
  const { selector, podSelector, template } = (spec ?? {}) as {
    selector?: Selector | Labels
    podSelector?: Selector
    template?: { spec: { topologySpreadConstraints?: { labelSelector: Selector }[] } }
  }
  const spread = template?.spec.topologySpreadConstraints ?? []
  const plain = kind === 'Service' ? (selector as Labels) : (selector as Selector | undefined)?.matchLabels
  return [
    plain,
    podSelector && (podSelector.matchLabels ?? {}),
    ...spread.map((one) => one.labelSelector.matchLabels),
  ].filter((labels) => labels !== undefined)
}

/** Every port that is named somewhere is a port of the container that it leads to. */
function portFaults(
  object: Manifest,
  workloads: readonly Workload[],
  objects: readonly Manifest[],
): string[] {
  const opens = (labels: Labels, port: unknown) =>
    workloads.some(
      (workload) =>
        selects(labels, workload.labels) &&
        workload.container.ports?.some(({ name, containerPort }) => name === port || containerPort === port),
    )
  if (object.kind === 'Service') {
    const { selector = {}, ports = [] } = object.spec as IServiceSpec
    const closed = ports.filter(({ targetPort }) => !opens(selector, targetPort))
    return closed.map(({ targetPort }) => `leads to the port ${targetPort}, which no pod opens`)
  }
  if (object.kind === 'NetworkPolicy') {
    const { podSelector, ingress = [] } = object.spec as INetworkPolicySpec
    const labels = podSelector?.matchLabels ?? {}
    if (foreignPods.some((foreign) => selects(labels, foreign) && Object.keys(labels).length > 0)) return []
    const closed = ingress.flatMap(({ ports = [] }) => ports).filter(({ port }) => !opens(labels, port))
    return closed.map(({ port }) => `allows the port ${port}, which no pod opens`)
  }
  if (object.kind === 'PodMonitor') {
    const { selector, podMetricsEndpoints } = object.spec as {
      selector: Selector
      podMetricsEndpoints: { port: string }[]
    }
    const closed = podMetricsEndpoints.filter(({ port }) => !opens(selector.matchLabels ?? {}, port))
    return closed.map(({ port }) => `scrapes the port ${port}, which no pod opens`)
  }
  if (object.kind !== 'Ingress') return []
  const paths = ((object.spec as IIngressSpec).rules ?? []).flatMap(({ http }) => http?.paths ?? [])
  return paths.flatMap(({ backend: { service } }) => {
    const target = objects.find(({ kind, metadata }) => kind === 'Service' && metadata.name === service?.name)
    const ports = (target?.spec as IServiceSpec | undefined)?.ports ?? []
    if (ports.some(({ name }) => name === service?.port?.name)) return []
    return [`leads to ${service?.name} port ${service?.port?.name}, which is not there`]
  })
}

/** What a pod refers to is in the build, or made by hand; mounts have their volume, and nothing is there twice. */
function referenceFaults({ kind, name, pod, container }: Workload, objects: readonly Manifest[]): string[] {
  const faults: string[] = []
  const needs = (wanted: string, called: string | undefined) => {
    const there = objects.some((object) => object.kind === wanted && object.metadata.name === called)
    if (!there && !(wanted === 'Secret' && byHand.includes(called ?? '')))
      faults.push(`refers to ${wanted} ${called}, which is not there`)
  }
  needs('ServiceAccount', pod.serviceAccountName)
  for (const { configMapRef, secretRef } of container.envFrom ?? []) {
    if (configMapRef !== undefined) needs('ConfigMap', configMapRef.name)
    if (secretRef !== undefined) needs('Secret', secretRef.name)
  }
  const { volumes = [] } = pod
  for (const { secret, persistentVolumeClaim } of volumes) {
    if (secret !== undefined) needs('Secret', secret.secretName)
    if (persistentVolumeClaim !== undefined) needs('PersistentVolumeClaim', persistentVolumeClaim.claimName)
  }
  const { volumeMounts = [], env = [], ports = [], startupProbe, livenessProbe, readinessProbe } = container
  const mounted = volumeMounts.map((mount) => mount.name)
  for (const mount of mounted)
    if (!volumes.some((volume) => volume.name === mount)) faults.push(`mounts ${mount}, which is no volume`)
  for (const volume of volumes)
    if (!mounted.includes(volume.name)) faults.push(`does not mount its volume ${volume.name}`)
  for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
    const port = probe?.httpGet?.port
    if (probe !== undefined && !ports.some((open) => open.name === port))
      faults.push(`is probed at ${port}, which it does not open`)
  }
  const lists: [string, readonly (string | number | undefined)[]][] = [
    ['variable', env.map((one) => one.name)],
    ['port', ports.map((one) => one.containerPort)],
    ['port', ports.map((one) => one.name)],
    ['volume', volumes.map((one) => one.name)],
    ['mount', volumeMounts.map((one) => one.mountPath)],
  ]
  for (const [what, list] of lists) {
    const twice = list.find((one, index) => list.indexOf(one) < index)
    if (twice !== undefined) faults.push(`has the ${what} ${twice} twice`)
  }
  return faults.map((fault) => `${kind} ${name}: ${fault}`)
}
