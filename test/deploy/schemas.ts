import { Issuer } from '@kubernetes-models/cert-manager/cert-manager.io/v1/Issuer'
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject'
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor'
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import { Deployment } from 'kubernetes-models/apps/v1/Deployment'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler'
import { Job } from 'kubernetes-models/batch/v1/Job'
import { Ingress } from 'kubernetes-models/networking.k8s.io/v1/Ingress'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim'
import { Secret } from 'kubernetes-models/v1/Secret'
import { Service } from 'kubernetes-models/v1/Service'
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount'
import type { Manifest } from './kustomize.ts'

/** Checks one object against the schema of its kind. */
interface Schema {
  readonly apiVersion: string
  readonly kind: string
  readonly prototype: { validate(): void }
}

const schemas: readonly Schema[] = [
  ConfigMap,
  Deployment,
  HorizontalPodAutoscaler,
  Ingress,
  Issuer,
  Job,
  Namespace,
  NetworkPolicy,
  PersistentVolumeClaim,
  PodDisruptionBudget,
  PodMonitor,
  PrometheusRule,
  ScaledObject,
  Secret,
  Service,
  ServiceAccount,
]

/**
 * What is wrong with an object by the schema of its version and kind: wrong types, missing fields, and fields that there
 * are not. Schemas let unknown fields pass, so the object is shown to its schema through proxies that note which fields
 * it looks at: a schema looks at every field that it knows, and at every key of a map.
 */
export function schemaFaults(object: Manifest): string[] {
  const schema = schemas.find(
    ({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind,
  )
  if (schema === undefined) return [`there is no schema for ${object.kind} of ${object.apiVersion}`]
  const seen = new Set<string>()
  try {
    schema.prototype.validate.call(watched(object, '', seen))
  } catch (thrown) {
    return [thrown instanceof Error ? thrown.message : String(thrown)]
  }
  return fieldsOf(object, '')
    .filter((path) => !seen.has(path))
    .map((path) => `there is no field ${path.slice(1)}`)
}

function watched<T>(value: T, path: string, seen: Set<string>): T {
  if (typeof value !== 'object' || value === null) return value
  return new Proxy(value, {
    get(target, key, receiver) {
      const inner: unknown = Reflect.get(target, key, receiver)
      if (typeof key === 'symbol' || !Object.hasOwn(target, key)) return inner
      seen.add(`${path}.${key}`)
      return watched(inner, `${path}.${key}`, seen)
    },
  })
}

/** The paths of all fields; of an unknown field its own, and not those within. */
function fieldsOf(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [
    `${path}.${key}`,
    ...fieldsOf(inner, `${path}.${key}`),
  ])
}
