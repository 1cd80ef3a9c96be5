import type { IContainer } from 'kubernetes-models/v1/Container'
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec'
import type { Manifest } from './kustomize.ts'

/** What makes pods: the Deployments and Jobs of a build, in one shape. */
export interface Workload {
  readonly kind: string
  readonly name: string
  readonly labels: Labels
  readonly selector: Labels | undefined
  readonly pod: IPodSpec
  /** Each workload has one container. */
  readonly container: IContainer
  /** The variables of the container, with those of its ConfigMaps and Secrets that are in the build. */
  readonly env: Readonly<Record<string, string>>
}

export type Labels = Readonly<Record<string, string>>

interface WorkloadSpec {
  readonly selector?: { readonly matchLabels: Labels }
  readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: IPodSpec }
}

/** @param secrets stand-ins for secrets that are made by hand: name, then variable and value */
export function workloadsOf(
  objects: readonly Manifest[],
  secrets: Readonly<Record<string, Labels>> = {},
): Workload[] {
  return objects.flatMap((object) => {
    if (object.kind !== 'Deployment' && object.kind !== 'Job') return []
    const { selector, template } = object.spec as WorkloadSpec
    const [container, ...others] = template.spec.containers
    if (container === undefined || others.length > 0)
      throw new Error(`${object.metadata.name} has not one container`)
    return [
      {
        kind: object.kind,
        name: object.metadata.name,
        labels: template.metadata.labels,
        selector: selector?.matchLabels,
        pod: template.spec,
        container,
        env: variablesOf(container, objects, secrets),
      },
    ]
  })
}

/** What comes later wins, and `env` over all of `envFrom`. */
function variablesOf(
  { env = [], envFrom = [] }: IContainer,
  objects: readonly Manifest[],
  secrets: Readonly<Record<string, Labels>>,
): Record<string, string> {
  const dataOf = (kind: string, name: string | undefined) =>
    objects.find((object) => object.kind === kind && object.metadata.name === name)?.data as
      | Labels
      | undefined
  const sources = envFrom.map(({ configMapRef, secretRef }) => {
    if (secretRef === undefined) return dataOf('ConfigMap', configMapRef?.name) ?? {}
    const given = secrets[secretRef.name ?? '']
    if (given !== undefined) return given
    const data = Object.entries(dataOf('Secret', secretRef.name) ?? {})
    return Object.fromEntries(data.map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]))
  })
  const own = env.map(({ name, value = '' }) => [name, value] as const)
  return { ...Object.assign({}, ...sources), ...Object.fromEntries(own) }
}

/** Whether a pod with these labels is selected; an empty selector selects all. */
export function selects(selector: Labels, labels: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value)
}

/** Bytes of a quantity such as `1536Mi`. */
export function bytes(quantity: unknown): number {
  const [, digits = '', unit = ''] = /^(\d+)(Ki|Mi|Gi)?$/.exec(String(quantity)) ?? []
  return Number(digits) * 1024 ** ['', 'Ki', 'Mi', 'Gi'].indexOf(unit)
}
