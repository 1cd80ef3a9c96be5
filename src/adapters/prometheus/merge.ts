/**
 * One exposition of several: the samples of a metric must be together, and it may have one HELP and one TYPE. The series
 * of the texts must differ, as those of two roles do.
 */
export function mergeTexts(texts: readonly string[]): string {
  const families = new Map<string, { readonly head: string[]; readonly samples: string[] }>()
  for (const text of texts) {
    let current: { readonly head: string[]; readonly samples: string[] } = { head: [], samples: [] }
    let isKnown = false
    for (const line of text.split('\n')) {
      const [, name] = /^# HELP (\S+)/.exec(line) ?? []
      if (name !== undefined) {
        isKnown = families.has(name)
        current = families.get(name) ?? { head: [], samples: [] }
        families.set(name, current)
      }
      if (line.startsWith('#')) {
        if (!isKnown) current.head.push(line)
      } else if (line !== '') current.samples.push(line)
    }
  }
  const parts = [...families.values()].filter(({ samples }) => samples.length > 0)
  return parts.map(({ head, samples }) => `${[...head, ...samples].join('\n')}\n`).join('\n')
}
