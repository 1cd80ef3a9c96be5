/** A pause between nothing and `ms`: spreads clients that failed together. */
export function jitter(ms: number): number {
  return Math.random() * ms
}
