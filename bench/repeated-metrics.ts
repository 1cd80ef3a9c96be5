import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'

/**
 * Loaded with `--import .../repeated-metrics.ts?times=10` before a server: whatever it measures, of answers and of calls of
 * the services, it measures so many times. What once costs is too little to be told from how two servers of one program differ.
 */
const times = Number(new URL(import.meta.url).searchParams.get('times'))
assert.ok(Number.isInteger(times) && times > 0, 'no ?times=')

const repeated = {
  'src/http/measure.ts': [
    'measureAnswers',
    (once: string) => `(metrics) => {
      const note = ${once}(metrics)
      if (metrics === noMetrics) return note
      return (...answer) => { for (let n = 0; n < ${times}; n += 1) note(...answer) }
    }`,
  ],
  'src/main/observed/measured.ts': [
    'measuredBackends',
    (once: string) => `(backends, metrics, parksHere) => {
      let measured = ${once}(backends, metrics, parksHere)
      for (let n = 1; n < ${times} && metrics !== noMetrics; n += 1) measured = ${once}(measured.backends, metrics, parksHere)
      return measured
    }`,
  ],
} as const

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    const found = Object.entries(repeated).find(([file]) => url.endsWith(file))
    if (found === undefined) return loaded
    const [, [name, around]] = found
    const source = String(loaded.source)
    const once = source.replace(`export function ${name}`, `function ${name}Once`)
    assert.notEqual(once, source, `${url} does not export ${name} any more`)
    return { ...loaded, source: `${once}\nexport const ${name} = ${around(`${name}Once`)}\n` }
  },
})
