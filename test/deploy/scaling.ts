import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject'
import type { IIngressSpec } from 'kubernetes-models/networking.k8s.io/v1/IngressSpec'
import type { Manifest } from './kustomize.ts'
import { workloadsOf } from './workloads.ts'

/** Fields of KEDA's prometheus trigger (prometheus_scaler.go of 2.20), which its schema has as free text. */
const triggerFields =
  /^(serverAddress|query|threshold|activationThreshold|namespace|queryParameters|customHeaders|ignoreNullValues|unsafeSsl|timeout)$/
const metrics = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8')

/** What is wrong with the autoscalers and the way in. */
export function scalingFaults(objects: readonly Manifest[]): string[] {
  const faults: string[] = []
  const scalers = objects.filter(({ kind }) => kind === 'ScaledObject' || kind === 'HorizontalPodAutoscaler')
  const targets = scalers.map(({ spec }) => (spec as IScaledObject['spec']).scaleTargetRef.name)
  for (const name of new Set(targets)) {
    const target = objects.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name)
    if (target === undefined) faults.push(`${name} is scaled and is not there`)
    else if ('replicas' in (target.spec as object))
      faults.push(`its Deployment sets the replicas of ${name} as its autoscaler does`)
    const count = targets.filter((one) => one === name).length
    if (count > 1) faults.push(`${name} has ${count} autoscalers`)
  }
  for (const scaler of scalers) {
    if (scaler.kind === 'ScaledObject') faults.push(...triggerFaults(scaler, objects))
  }
  for (const { kind, metadata, spec } of objects) {
    if (kind === 'Ingress') faults.push(...ingressFaults(metadata, spec as IIngressSpec, objects))
  }
  return faults
}

function triggerFaults(scaler: Manifest, objects: readonly Manifest[]): string[] {
  const { triggers, fallback, minReplicaCount } = scaler.spec as IScaledObject['spec']
  const faults: string[] = []
  const of = (fault: string) => faults.push(`ScaledObject ${scaler.metadata.name}: ${fault}`)
  if (minReplicaCount === 0 && (fallback?.replicas ?? 0) === 0)
    of('has no fallback: without its metrics all workers are taken away')
  const present = triggers.filter((trigger) => trigger !== undefined)
  const queries = present.map(({ metadata }) => String(metadata.query)).join(' ')
  for (const { type, metadata, metricType = 'AverageValue' } of present) {
    if (type !== 'prometheus') of(`has a trigger ${type} that this test does not know`)
    const unknown = Object.keys(metadata).find((key) => !triggerFields.test(key))
    if (unknown !== undefined) of(`its trigger has no field ${unknown}`)
    if (metricType !== 'AverageValue') of('its fallback needs AverageValue')
    if (metadata.ignoreNullValues !== 'false') of('takes an absent metric for zero')
    if (metadata.activationThreshold !== '0') of('leaves little work undone')
    if (!(Number(metadata.threshold) > 0)) of(`has the threshold ${metadata.threshold}`)
    for (const [, factor] of String(metadata.query).matchAll(/(\d+) \* /g))
      if (factor !== metadata.threshold)
        of(`counts ${factor} for a job, and has the threshold ${metadata.threshold}`)
  }
  for (const name of queries.match(/packshot_[a-z_]+/g) ?? [])
    if (!metrics.includes(`| \`${name}\` |`)) of(`asks for ${name}, which there is not`)
  // the work that is left of the last job may be nothing before it is done
  const keeps = present.some(({ metadata }) =>
    /^sum\(max by \(class\) \(packshot_queue_jobs\{[^}]*\}\)\)$/.test(String(metadata.query)),
  )
  if (minReplicaCount === 0 && !keeps) of('does not keep a worker for a job of which no work is left')
  const namespaces = queries.matchAll(/namespace="([^"]*)"/g).map(([, namespace]) => namespace)
  for (const namespace of namespaces)
    if (!objects.some(({ kind, metadata }) => kind === 'Namespace' && metadata.name === namespace))
      of(`asks for the metrics of the namespace ${namespace}`)
  return faults
}

function ingressFaults(
  metadata: object,
  { rules = [], tls = [] }: IIngressSpec,
  objects: readonly Manifest[],
): string[] {
  const faults: string[] = []
  const { annotations = {} } = metadata as { annotations?: Record<string, string> }
  const issuer = annotations['cert-manager.io/issuer']
  if (Object.keys(annotations).some((key) => key !== 'cert-manager.io/issuer')) {
    faults.push('Ingress: has annotations of one controller')
  }
  if (issuer !== 'letsencrypt-staging')
    faults.push(`Ingress: begins with the issuer ${issuer}, and not with staging`)
  if (!objects.some(({ kind, metadata: { name } }) => kind === 'Issuer' && name === issuer))
    faults.push(`Ingress: its issuer ${issuer} is not there`)
  const [server] = workloadsOf(objects).filter(({ name }) => name === 'packshot-server')
  for (const host of rules.map((rule) => rule.host ?? '')) {
    const known = [server?.env.PACKSHOT_ALLOWED_HOSTS?.split(/, ?/), ...tls.map(({ hosts }) => hosts)]
    if (!known.every((hosts) => hosts?.includes(host)))
      faults.push(`Ingress: ${host} is not in PACKSHOT_ALLOWED_HOSTS and in its certificate`)
  }
  if (server?.env.PACKSHOT_TRUSTED_PROXIES === undefined)
    faults.push('Ingress: all visitors are one caller without PACKSHOT_TRUSTED_PROXIES')
  return faults
}
