import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, globSync, readFileSync } from 'node:fs'
import { BlockList } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import type { INetworkPolicySpec } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicySpec'
import { parseAllDocuments } from 'yaml'
import { isPublicAddress } from '../../src/jobs/webhook-address.ts'
import { areOnPath } from '../services/packages.ts'
import { temporaryFolder } from '../temp-folder.ts'
import { kustomize, type Manifest } from './kustomize.ts'
import { podFaults } from './pods.ts'
import { schemaFaults } from './schemas.ts'
import { structureFaults } from './structure.ts'
import { workloadsOf } from './workloads.ts'

/**
 * deploy/kubernetes, built and checked without a cluster. What this cannot show: that an API server admits it, that a network
 * plugin enforces the policies, that KEDA scales.
 */
const root = join(import.meta.dirname, '../../deploy/kubernetes')
const overlays = ['cpu', 'nvidia', 'site'] as const
