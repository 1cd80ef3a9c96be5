/** The groups of the tests: what a file needs and how much of the machine it keeps busy while it runs. */
export interface Group {
  readonly name: string
  /** Globs from the root. A file belongs to the first group that has it, and runs in the order of the globs. */
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

/**
 * The first in the list begin first, after the long processes of a group that runs `together`. What computes keeps a core; what waits for processes, time-outs and services
 * leaves most of it to others. In a group the files that take longest come first, so that none is left for the end.
 */
export const groups: readonly Group[] = [
  { name: 'chaos', share: 0.4, files: ['test/chaos/**'] },
  {
    name: 'fleet',
    share: 0.33,
    services: true,
    files: [
      'test/fleet/{alarms-of-services,alarms-of-work,kill-points}.test.ts',
      'test/deploy/proxies.test.ts',
      'test/fleet/{queue-faults,shutdown,broker-outage}.test.ts',
      'test/fleet/{poison,storage-faults,clock-and-disk}.test.ts',
      'test/fleet/**',
      'test/deploy/compose-run.test.ts',
    ],
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
    files: [
      'test/services/**',
      'src/adapters/rabbitmq/{rabbitmq,outages}.test.ts',
      'src/adapters/{s3,rabbitmq,redis}/**',
    ],
  },
  {
    name: 'browser',
    share: 0.5,
    files: ['test/browser/whole.test.ts', 'test/browser/**', 'test/golden/webgpu.test.ts'],
  },
  {
    name: 'engine',
    share: 1,
    computes: true,
    files: [
      'test/golden/{parity,single-file,engine,packshot-mini}.test.ts',
      'test/models/**',
      'src/diffusion/checkpoint/fuzz.test.ts',
      'src/diffusion/models/**',
      'src/cli/**',
      'test/golden/**',
      'src/diffusion/{engine,image-to-image,together}.test.ts',
    ],
  },
  { name: 'plain', share: 0.5, quick: true, together: true, files: ['**'] },
]
