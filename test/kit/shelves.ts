import type { ShelfItem, StatusStore } from '../../src/jobs/ports.ts'

/** Lists of small texts in memory, which never expire. */
export function memoryShelves(): Pick<StatusStore, 'shelve' | 'shelved' | 'unshelve'> {
  const lists = new Map<string, ShelfItem[]>()
  const others = (list: string, ids: readonly string[]) =>
    (lists.get(list) ?? []).filter(({ id }) => !ids.includes(id))
  return {
    async shelve(list, item, { most }) {
      const items = [item, ...others(list, [item.id])].sort((one, other) => other.at - one.at)
      lists.set(list, items.slice(0, most))
    },
    async shelved(list) {
      return lists.get(list) ?? []
    },
    async unshelve(list, ids) {
      lists.set(list, others(list, ids))
    },
  }
}
