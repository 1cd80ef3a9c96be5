/** The groups of the tests: what a file needs and how much of the machine it keeps busy while it runs. */
export interface Group {
  readonly name: string
  /** Globs from the root. A file belongs to the first group that has it. */
  readonly files: readonly string[]
  /** How much of a core one file keeps busy: as many run at once as there are cores for. */
  readonly share: number
  /** Needs the shared services: it waits until they are up. */
  readonly services?: boolean
  /** Runs the engine in its own process: with large pages, as the service does. */
  readonly computes?: boolean
  /** Part of `npm run test:quick`: no service, no browser, no long computation. */
  readonly quick?: boolean
  /** All files in a few processes (`run.ts`): for those that cost more to start than to run, and leave nothing behind. */
  readonly together?: boolean
}

/** Globs of the files that take longest, in the order in which they begin, so that none is left for the end. */
export const longest: readonly string[] = [
  'test/chaos/**',
  'test/fleet/{alarms-of-services,alarms-of-work,kill-points}.test.ts',
  'test/deploy/proxies.test.ts',
  'test/fleet/{queue-faults,shutdown,broker-outage,poison,storage-faults,races}.test.ts',
  'src/adapters/rabbitmq/rabbitmq.test.ts',
  'test/service/kill.test.ts',
  'test/fleet/**',
  'test/services/**',
  // they wait for what does not answer
  'src/adapters/s3/**',
  'src/generator/inference-thread.test.ts',
  'test/service/{start-and-stop,reports,clients,npm}.test.ts',
  'test/browser/{rooms,whole}.test.ts',
  'test/models/memory.test.ts',
  'test/golden/parity.test.ts',
]

/**
 * After the longest files those of the first in the list begin first; the long processes of a group that runs `together` before all.
 * What computes keeps a core; what waits for processes, time-outs and services leaves most of it to others.
 */
export const groups: readonly Group[] = [
  { name: 'chaos', share: 0.4, files: ['test/chaos/**'] },
  {
    name: 'fleet',
    share: 0.33,
    services: true,
    files: ['test/fleet/**', 'test/deploy/{proxies,compose-run}.test.ts'],
  },
  {
    name: 'program',
    share: 0.33,
    files: [
      'test/service/**',
      'test/deploy/{image,compose}.test.ts',
      'src/http/{traffic,answers}.test.ts',
      'src/library/library.test.ts',
      'src/main/{jobs,keys}.test.ts',
      // they run promtool
      'test/deploy/{rules,dashboards}.test.ts',
      // they wait: for a store that does not answer, for steps that take their time
      'src/jobs/serving/{wait,submit}.test.ts',
      'src/jobs/working/run.test.ts',
      'src/generator/{inference-thread,thread-generator}.test.ts',
    ],
  },
  {
    name: 'adapters',
    share: 0.33,
    services: true,
    files: ['test/services/**', 'src/adapters/{s3,rabbitmq,redis}/**'],
  },
  {
    name: 'browser',
    share: 0.5,
    files: ['test/browser/**', 'test/golden/webgpu.test.ts'],
  },
  {
    name: 'engine',
    share: 1,
    computes: true,
    files: [
      'test/{golden,models}/**',
      'src/diffusion/{checkpoint/fuzz,engine,image-to-image,together}.test.ts',
      'src/diffusion/models/**',
      'src/cli/**',
    ],
  },
  { name: 'plain', share: 0.5, quick: true, together: true, files: ['**'] },
]
