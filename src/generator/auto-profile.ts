import { readdir, stat, statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import type { Config } from '../config.ts'
import type { Profile, Provider } from '../diffusion/runtime/session.ts'

/** What decides which profile is taken for a model. */
export interface ProfileFacts {
  readonly provider: Provider
  /** Of the model, in float32. */
  readonly weightBytes: number
  /** For networks: `PACKSHOT_MODEL_MEMORY_MB`, or what it is by default. */
  readonly memoryBytes: number
  /** On the disk of the data folder. */
  readonly diskBytes: number
}

export interface ChosenProfile {
  readonly profile: Profile
  /** For the log: a sentence. */
  readonly reason: string
}

const gigabyte = 2 ** 30
/** A smaller model is packed in well under a second each time. */
const worthKeeping = gigabyte
/** What a network takes in memory while it is packed, for each byte of its weights: docs/operating.md. */
const whilePacking = 1.7
/** Files of packed weights: linear layers are there in both forms, convolutions with more numbers. Some room is left to others. */
const packedOnDisk = 2.1
const copiesOnDisk = 1.1
/** Linux's number for the file system, from statfs(2). */
const tmpfs = 0x01021994

/**
 * The profile for a model when `PACKSHOT_PROFILE` is `auto`. From docs/performance.md: `packed` computes as fast as `fast`
 * and is ready in a second or two, so it is taken where there is room for it; `dense` is the only one that never has the weights
 * in memory of its own.
 */
export function chooseProfile({
  provider,
  weightBytes,
  memoryBytes,
  diskBytes,
}: ProfileFacts): ChosenProfile {
  const [weights, memory, disk] = [weightBytes, memoryBytes, diskBytes].map(inGigabytes)
  if (provider !== 'cpu')
    return { profile: 'fast', reason: `Profiles differ on the CPU only, not on ${provider}.` }
  if (weightBytes < worthKeeping)
    return { profile: 'fast', reason: `The model is small (${weights} of weights).` }
  if (memoryBytes < whilePacking * weightBytes) {
    if (diskBytes >= copiesOnDisk * weightBytes) {
      return {
        profile: 'dense',
        reason: `${memory} of memory are too few to pack ${weights} of weights; they stay mapped from their files.`,
      }
    }
  } else if (diskBytes >= packedOnDisk * weightBytes) {
    return {
      profile: 'packed',
      reason: `The disk has room (${disk}) to keep ${weights} of weights packed, and memory (${memory}) to pack them.`,
    }
  }
  return {
    profile: 'fast',
    reason: `The disk has no room (${disk}) to keep ${weights} of weights in a second form.`,
  }
}

/** @param folder of the cache; it need not exist */
async function freeBytes(folder: string): Promise<number> {
  for (let path = folder; ; path = dirname(path)) {
    const stats = await statfs(path).catch(() => undefined)
    // there it is memory
    if (stats?.type === tmpfs) return 0
    if (stats !== undefined) return stats.bavail * stats.bsize
    if (dirname(path) === path) return 0
  }
}

/** In bytes; by default two thirds of the memory of the machine, or of the container if that has a limit. */
export function modelMemory({ modelMemoryMb }: Pick<Config, 'modelMemoryMb'>): number {
  if (modelMemoryMb !== undefined) return modelMemoryMb * 2 ** 20
  const limit = process.constrainedMemory()
  return (Math.min(totalmem(), limit > 0 ? limit : Number.POSITIVE_INFINITY) * 2) / 3
}

/** The configured profile, or what `auto` is for a model on this machine. */
export async function profileFor(
  settings: Pick<Config, 'profile' | 'modelMemoryMb'>,
  { parameters }: { readonly parameters: number },
  { provider, cacheFolder }: { readonly provider: Provider; readonly cacheFolder: string },
): Promise<{ readonly profile: Profile; readonly reason?: string }> {
  if (settings.profile !== 'auto') return { profile: settings.profile }
  return chooseProfile({
    provider,
    weightBytes: 4 * parameters,
    memoryBytes: modelMemory(settings),
    diskBytes: (await freeBytes(cacheFolder)) + (await bytesIn(cacheFolder)),
  })
}

/** What is kept already takes no more room. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  const sizes = names.map((name) =>
    stat(join(folder, name)).then(
      ({ size }) => size,
      () => 0,
    ),
  )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

function inGigabytes(bytes: number): string {
  return `${(bytes / gigabyte).toFixed(1)} GB`
}
