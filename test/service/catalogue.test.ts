import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { suite, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { ownOptions } from '../kit/own-environment.ts'
import { waitFor } from '../kit/waiting.ts'
import { filesOfZip } from '../kit/zip.ts'
import { freePort } from '../services/free-port.ts'
import { startServer } from './server-process.ts'

/** `npm run catalogue` against the whole program. */

const entry = fileURLToPath(new URL('../../src/cli/catalogue.ts', import.meta.url))

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function catalogue(
  t: TestContext,
  server: string,
  ...args: string[]
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...ownOptions(), entry, ...args, '--server', server], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  lastFirst(t).after(() => child.kill('SIGKILL'))
  const said = Promise.all([buffer(child.stdout), buffer(child.stderr)])
  const status = new Promise<number | null>((done) => child.once('close', done))
  const ended = Promise.all([status, said]).then(([code, [stdout, stderr]]) => ({
    status: code,
    stdout: String(stdout),
    stderr: String(stderr),
  }))
  return { child, ended }
}

suite('npm run catalogue', () => {
  test('fills its folder though the server is killed, and again says the same without another picture', async (t) => {
    const [folder, data] = [tempFolder(t), tempFolder(t)]
    const [list, out] = [join(folder, 'products.csv'), join(folder, 'out')]
    writeFileSync(
      list,
      `sku,title\n${Array.from({ length: 12 }, (_, n) => `P-${n},apple ${n} 20ms\n`).join('')}`,
    )
    const port = await freePort()
    const env = { PACKSHOT_DATA_DIR: data, PORT: String(port), TEST_TELL: '1' }
    const first = startServer(t, env)
    const address = await first.address
    const args = [
      list,
      '--out',
      out,
      '--template',
      '{title} on white',
      '--name',
      '{sku}-{variant}',
      '--variants',
      '2',
    ]
    const running = catalogue(t, address, ...args)
    await waitFor(async () => first.output().split('engine made').length > 4)
    first.process.kill('SIGKILL')
    await first.ended
    const second = startServer(t, env)
    await second.address
    const { status, stdout, stderr } = await running.ended
    assert.equal(status, 0, stderr)
    assert.match(stdout, /^24 of 24 pictures are in /)
    const names = Array.from({ length: 12 }, (_, n) => [`P-${n}-1.png`, `P-${n}-2.png`]).flat()
    const files = readdirSync(out).filter((name) => !name.startsWith('.'))
    assert.deepEqual(files.sort(), [...names, 'manifest.csv'].sort())
    const lines = readFileSync(join(out, 'manifest.csv'), 'utf8').trim().split('\r\n')
    assert.equal(lines.length, 25)

    const made = () => [first, second].map(({ output }) => output().split('engine made').length - 1)
    const before = made()
    const again = await catalogue(t, address, ...args).ended
    assert.deepEqual([again.status, made()], [0, before])

    const { id } = JSON.parse(readFileSync(join(out, '.packshot-catalogue.json'), 'utf8'))
    const answer = await fetch(`${address}/v1/catalogues/${id}/pictures.zip`)
    assert.deepEqual(
      [answer.headers.get('content-type'), answer.headers.get('content-disposition')?.slice(0, 31)],
      ['application/zip', 'attachment; filename="pictures-'],
    )
    const zip = filesOfZip(Buffer.from(await answer.arrayBuffer()))
    assert.deepEqual([...zip.keys()], [...names, 'manifest.csv'])
    for (const name of names) assert.deepEqual(zip.get(name), readFileSync(join(out, name)))
  })

  test('names rows that are refused, or that fail, and ends with 1', async (t) => {
    const [folder, data] = [tempFolder(t), tempFolder(t)]
    const server = startServer(t, { PACKSHOT_DATA_DIR: data })
    const address = await server.address
    const list = join(folder, 'products.csv')
    writeFileSync(list, 'prompt,steps\nan apple,4\na pear,1000\n')
    const template = join(folder, 'template.json')
    writeFileSync(template, JSON.stringify({ prompt: '{prompt}', steps: '{steps}' }))
    const args = [list, '--out', join(folder, 'out'), '--template', template]
    const refused = await catalogue(t, address, ...args).ended
    assert.equal(refused.status, 1)
    assert.match(
      refused.stderr,
      /nothing was made:\nsteps: Row 2: steps must be a whole number from 1 to 100/,
    )

    writeFileSync(list, 'prompt,steps\nan apple,4\na memory,4\n')
    const failed = await catalogue(t, address, ...args).ended
    assert.equal(failed.status, 1)
    assert.match(failed.stdout, /^1 of 2 pictures/)
    assert.match(failed.stderr, /^row 2, 2\.png: /)

    const nobody = await catalogue(t, `http://127.0.0.1:1`, '--help').ended
    assert.match(nobody.stderr, /^Usage: npm run catalogue/)
  })

  test('answers what a list is refused for, row by row', async (t) => {
    const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) })
    const address = await server.address
    const send = (body: object, type = 'application/json') =>
      fetch(`${address}/v1/catalogues`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: JSON.stringify(body),
      })
    const refused = await send({
      csv: 'sku,prompt\nA,""\n',
      template: { prompt: '{prompt} ' },
      name: '../{row}',
    })
    const { error } = (await refused.json()) as {
      error: { faults: { row: number; param: string }[]; fault_count: number }
    }
    assert.deepEqual(
      [refused.status, error.faults.map(({ row, param }) => [row, param]), error.fault_count],
      [
        400,
        [
          [1, 'prompt'],
          [1, 'name'],
        ],
        2,
      ],
    )
    assert.equal((await send({ csv: `prompt\n${'x'.repeat(17 * 2 ** 20)}` })).status, 413)
    assert.equal(
      (await send({ csv: `prompt\n${'a red apple\n'.repeat(20_000)}`, template: { prompt: '' } })).status,
      400,
    )
    assert.equal((await send({}, 'text/csv')).status, 415)
    const accepted = await send({ csv: 'prompt\na red apple\n' })
    assert.equal(accepted.status, 202)
    const { links } = (await accepted.json()) as { links: Record<string, string> }
    assert.equal(accepted.headers.get('location'), links.self)
    for (const [path, status] of [
      [`${links.rows}?status=odd`, 400],
      [`${links.rows}?cursor=x`, 400],
      [`${links.rows}?limit=1000`, 400],
      [`${links.rows}?status=waiting&limit=1`, 200],
      ['/v1/catalogues/none', 404],
      ['/v1/catalogues', 200],
      [links.manifest, 200],
    ] as const) {
      assert.equal((await fetch(address + path)).status, status, path)
    }
    for (const name of ['pause', 'resume', 'cancel']) {
      assert.equal((await fetch(`${address}${links.self}/${name}`, { method: 'POST' })).status, 200)
    }
    assert.equal((await fetch(`${address}${links.self}`, { method: 'DELETE' })).status, 204)
    assert.equal((await fetch(`${address}${links.self}`)).status, 410)
  })
})
