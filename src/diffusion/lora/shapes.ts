import type { StoredTensor } from '../safetensors/safetensors.ts'
import type { LoraTensors } from './keys.ts'

/** The size of what a layer of a LoRA file adds to a weight, by the shapes of its tensors. */
export interface DeltaSize {
  readonly rows: number
  /** Input channels times the pixels of a kernel. */
  readonly columns: number
  /** What alpha is divided by; undefined for a form that has none, and then alpha does not count. */
  readonly rank: number | undefined
}

/** @returns undefined if the tensors do not fit each other, or one of a form is missing */
export function deltaSize(tensors: LoraTensors): DeltaSize | undefined {
  const { down, up, mid, diff } = tensors
  if (down ?? up ?? mid) return pairSize(up, down, mid)
  const { hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b, hada_t1, hada_t2 } = tensors
  if (hada_w1_a ?? hada_w1_b ?? hada_w2_a ?? hada_w2_b ?? hada_t1 ?? hada_t2) {
    const one = factorSize(hada_w1_a, hada_w1_b, hada_t1)
    const other = factorSize(hada_w2_a, hada_w2_b, hada_t2)
    return one && other && one.rows === other.rows && one.columns === other.columns ? one : undefined
  }
  const { lokr_w1, lokr_w1_a, lokr_w1_b, lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2 } = tensors
  if (lokr_w1 ?? lokr_w1_a ?? lokr_w1_b ?? lokr_w2 ?? lokr_w2_a ?? lokr_w2_b ?? lokr_t2) {
    const outer = lokr_w1 ? whole(lokr_w1) : factorSize(lokr_w1_a, lokr_w1_b, undefined)
    const inner = lokr_w2 ? whole(lokr_w2) : factorSize(lokr_w2_a, lokr_w2_b, lokr_t2)
    if (!outer || !inner) return undefined
    const rank = inner.rank ?? outer.rank
    return { rows: outer.rows * inner.rows, columns: outer.columns * inner.columns, rank }
  }
  return diff && whole(diff)
}

function pairSize(
  up: StoredTensor | undefined,
  down: StoredTensor | undefined,
  mid: StoredTensor | undefined,
): DeltaSize | undefined {
  if (!up || !down) return undefined
  const [a, b] = [whole(up), whole(down)]
  const pixels = mid ? pixelsOf(mid, b.rows) : 1
  if (a.columns !== b.rows || b.rows === 0 || pixels === undefined) return undefined
  return { rows: a.rows, columns: b.columns * pixels, rank: b.rows }
}

/** Two factors; with a core between them ("Tucker") the first is stored as [rank, out]. */
function factorSize(
  a: StoredTensor | undefined,
  b: StoredTensor | undefined,
  core: StoredTensor | undefined,
): DeltaSize | undefined {
  if (!a || !b) return undefined
  const [left, right] = [whole(a), whole(b)]
  const [rows, rank] = core ? [left.columns, left.rows] : [left.rows, left.columns]
  const pixels = core ? pixelsOf(core, right.rows) : 1
  if (rank !== right.rows || rank === 0 || pixels === undefined) return undefined
  return { rows, columns: right.columns * pixels, rank }
}

/** Of a core [rank, rank, ...pixels]. */
function pixelsOf(core: StoredTensor, rank: number): number | undefined {
  const { rows, columns } = whole(core)
  return rows === rank && columns % rank === 0 && core.shape[1] === rank ? columns / rank : undefined
}

function whole({ shape }: StoredTensor): DeltaSize {
  const rows = shape[0] ?? 1
  return { rows, columns: shape.slice(1).reduce((product, dim) => product * dim, 1), rank: undefined }
}
