import type { CatalogueView, ItemPage } from '../../src/jobs/catalogue/view.ts'
import { sha256Of } from '../fleet/truth.ts'
import type { Random } from '../kit/random.ts'
import { filesOfZip } from '../kit/zip.ts'
import { ask, rest, type World } from './client.ts'
import { between } from './schedule.ts'

/** A catalogue run while everything dies: each picture once, the ZIP whole, its end told. */
export interface SeenRun {
  /** The ids of its jobs; empty if it was not followed to its end. */
  readonly jobs: readonly string[]
  /** The id of the message about its end. */
  readonly event: string | undefined
  refusals: number
  lostConnections: number
}

const pausesMs = [500, 1500] as const

/** Never rejects. */
export async function followCatalogue(
  world: World,
  random: Random,
  { rows, key, webhook }: { readonly rows: number; readonly key: string; readonly webhook: string },
): Promise<SeenRun> {
  const counts = { refusals: 0, lostConnections: 0 }
  const json = async (path: string, init: RequestInit = { method: 'GET' }, wanted = 200) =>
    JSON.parse(Buffer.from((await ask(world, random, counts, path, init, wanted)).bytes).toString())
  try {
    const body = JSON.stringify({
      rows: Array.from({ length: rows }, (_, row) => ({ sku: `P-${row}`, prompt: `product ${row}, 30ms` })),
      variants: 2,
      name: '{sku}-{variant}',
      webhook,
    })
    const headers = { 'content-type': 'application/json', 'idempotency-key': key }
    const { id, links }: CatalogueView = await json('/v1/catalogues', { method: 'POST', headers, body }, 202)
    let view: CatalogueView
    do {
      await rest(world, between(random, ...pausesMs))
      view = await json(links.self)
      if (view.id !== id) world.fault(`run ${id} was asked for, ${view.id} was answered`)
    } while (view.status !== 'finished')
    world.ended()
    await world.healed
    const { succeeded, failed, canceled } = view.counts
    if (succeeded !== 2 * rows || failed + canceled > 0) {
      world.fault(`run ${id} ended with ${JSON.stringify(view.counts)}: ${JSON.stringify(view.failures)}`)
    }
    const list: ItemPage = await json(`${links.rows}?limit=200`)
    const { bytes } = await ask(world, random, counts, links.pictures, { method: 'GET' }, 200)
    const zip = filesOfZip(Buffer.from(bytes))
    const expected = [...list.rows.map(({ file }) => file), 'manifest.csv']
    if ([...zip.keys()].join() !== expected.join())
      world.fault(`the ZIP of ${id} has ${[...zip.keys()].join()}`)
    for (const { file, sha256 } of list.rows) {
      if (sha256Of(zip.get(file) ?? Buffer.alloc(0)) !== sha256)
        world.fault(`${file} in the ZIP of ${id} differs`)
    }
    const jobs = list.rows.flatMap(({ job }) => job ?? [])
    return { jobs, event: `evt_${id.slice(0, 26)}_finished_0`, ...counts }
  } catch (thrown) {
    if (!world.over.aborted) world.fault(`the client of the catalogue failed: ${(thrown as Error).stack}`)
    else world.fault('the catalogue run did not end')
    return { jobs: [], event: undefined, ...counts }
  }
}
