import { type Random, randomOf } from '../kit/random.ts'

/**
 * What a chaos run does, worked out from its seed before anything starts. The same seed gives the same schedule of
 * jobs and faults. How processes and sockets meet it differs from run to run: a seed repeats the plan, not the timing.
 */

/**
 * `cards`: how often a kind is in a deck; faults are dealt from shuffled decks, so that a short run meets every kind.
 * `ms`: how long it lasts, from and to.
 */
const faultKinds = {
  'kill worker process': { cards: 3, ms: [0, 0] },
  'kill worker supervisor': { cards: 2, ms: [0, 0] },
  'terminate worker': { cards: 2, ms: [0, 0] },
  'freeze worker': { cards: 2, ms: [1000, 3000] },
  'kill server': { cards: 2, ms: [0, 0] },
  'terminate server': { cards: 2, ms: [0, 0] },
  'freeze server': { cards: 1, ms: [500, 2000] },
  'cut broker': { cards: 2, ms: [0, 0] },
  'black hole broker': { cards: 2, ms: [1000, 4000] },
  'slow broker': { cards: 1, ms: [1000, 3000] },
  'thin broker': { cards: 1, ms: [1000, 3000] },
  'kill broker': { cards: 0.5, ms: [0, 1000] },
  'restart broker': { cards: 0.5, ms: [0, 0] },
  'cut redis': { cards: 1, ms: [0, 0] },
  'kill redis': { cards: 1, ms: [0, 2000] },
  'flush redis': { cards: 2, ms: [0, 0] },
  'black hole redis': { cards: 1, ms: [1000, 3000] },
  'cut storage': { cards: 1, ms: [0, 0] },
  'cut upload': { cards: 1, ms: [0, 0] },
  'storage busy': { cards: 1, ms: [1000, 3000] },
  'kill storage': { cards: 1, ms: [0, 1000] },
  'black hole storage': { cards: 1, ms: [1000, 3000] },
  'cut network': { cards: 1, ms: [0, 0] },
} as const
export type FaultKind = keyof typeof faultKinds

export interface PlannedFault {
  /** Milliseconds after the start. */
  readonly at: number
  readonly kind: FaultKind
  /** Which of the workers or servers, for those kinds that have one: to be taken modulo their number. */
  readonly victim: number
  readonly ms: number
}

export interface PlannedJob {
  /** Milliseconds after the start. */
  readonly at: number
  readonly key: string
  readonly request: {
    readonly prompt: string
    readonly seed: number
    readonly count: number
    readonly priority: 'interactive' | 'batch'
  }
  /** A client that leaves comes back when all faults are over. */
  readonly leaves: boolean
  readonly cancelAfterMs: number | undefined
  /** Sends the request to two servers at once, under its one key. */
  readonly twice: boolean
}

export interface Plan {
  readonly seed: number
  readonly seconds: number
  readonly faults: readonly PlannedFault[]
  readonly jobs: readonly PlannedJob[]
  /** A catalogue run of so many rows, sent at `at`, with two pictures of each. */
  readonly catalogue: { readonly at: number; readonly rows: number; readonly key: string }
}

export function between(random: Random, from: number, to: number): number {
  return Math.floor(from + random() * (to - from + 1))
}

/** Faults about once a second for `seconds`, and jobs all the while. */
export function planOf(seed: number, seconds: number, jobs: number): Plan {
  return {
    seed,
    seconds,
    faults: plannedFaults(randomOf(seed), seconds),
    jobs: plannedJobs(randomOf(seed + 1), seed, seconds, jobs),
    catalogue: {
      at: 1000 * Math.floor(seconds / 6),
      rows: Math.ceil(jobs / 6),
      key: `chaos-seed-${seed}-catalogue`,
    },
  }
}

function plannedFaults(random: Random, seconds: number): PlannedFault[] {
  const faults: PlannedFault[] = []
  let deck: FaultKind[] = []
  for (let at = 1000; at < seconds * 1000; at += between(random, 500, 1500)) {
    if (deck.length === 0) deck = shuffledDeck(random)
    const kind = deck.pop() as FaultKind
    const [from, to] = faultKinds[kind].ms
    faults.push({ at, kind, victim: between(random, 0, 5), ms: between(random, from, to) })
  }
  return faults
}

/** A kind with half a card is in every second deck on average. */
function shuffledDeck(random: Random): FaultKind[] {
  const kinds = Object.entries(faultKinds) as [FaultKind, { cards: number }][]
  const cards = kinds.flatMap(([kind, { cards }]) => {
    const rest = random() < cards % 1 ? 1 : 0
    return Array<FaultKind>(Math.floor(cards) + rest).fill(kind)
  })
  for (let last = cards.length - 1; last > 0; last -= 1) {
    const other = between(random, 0, last)
    const moved = cards[last] as FaultKind
    cards[last] = cards[other] as FaultKind
    cards[other] = moved
  }
  return cards
}

/** Each job is 100 to 400 ms of work, or twice that. */
function plannedJobs(random: Random, seed: number, seconds: number, count: number): PlannedJob[] {
  const chance = (share: number) => random() < share
  return Array.from({ length: count }, (_, number) => ({
    at: between(random, 0, seconds * 1000),
    key: `chaos-seed-${seed}-request-${number}`,
    request: {
      prompt: `job ${number}, ${between(random, 25, 100)}ms`,
      seed: between(random, 0, 2 ** 31),
      count: chance(0.25) ? 2 : 1,
      priority: chance(0.3) ? 'batch' : 'interactive',
    },
    leaves: chance(0.15),
    cancelAfterMs: chance(0.08) ? between(random, 0, 1500) : undefined,
    twice: chance(0.1),
  }))
}
