import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { someTask } from '../../../test/contract/jobs.ts'
import { ownEnvironment } from '../../../test/kit/own-environment.ts'

test('no line of the log has a whole id: whoever reads the log cannot use it', () => {
  const { id } = someTask()
  const program = `
    import { createLogger } from ${JSON.stringify(new URL('./logger.ts', import.meta.url).href)}
    const log = createLogger({ logLevel: 'info' }, 'server')
    const id = ${JSON.stringify(id)}
    log.info({ job: id }, 'job accepted')
    log.error({ err: new Error('no manifest of ' + id), url: '/v1/jobs/' + id + '/images/0?x=' + id }, id)
    log.child({ trace: id }).warn({ event: JSON.stringify({ id }) }, 'an event')
  `
  const args = ['--input-type=module', '--eval', program]
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', env: ownEnvironment() })
  assert.equal(output.trim().split('\n').length, 3)
  assert.ok(!output.includes(id.slice(26)), output)
  assert.equal(JSON.parse(output.split('\n')[0] ?? '').job, id.slice(0, 26))
  assert.equal(output.split(id.slice(0, 26)).length, 1 + 8)
})
