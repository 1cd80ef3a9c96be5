/** All who ask while one is made get that one, and those who ask soon afterwards get it again; what failed is not kept. */
export function keptFor<T>(ms: number, make: () => Promise<T>): () => Promise<T> {
  let current: Promise<T> | undefined
  return () => {
    if (current !== undefined) return current
    const made = make()
    current = made
    const forget = () => {
      current = undefined
    }
    made.then(() => setTimeout(forget, ms).unref(), forget)
    return made
  }
}
