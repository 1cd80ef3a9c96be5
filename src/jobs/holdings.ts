/** What a worker has in memory, for `/healthz/ready`. */
export interface Holdings {
  /** Names, the most recently used first. */
  readonly models: readonly string[]
  readonly provider: string
  readonly profile: string
}
