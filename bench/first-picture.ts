import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makePicture, npmStart } from './npm-start.ts'

/**
 * How long a user waits on the first start of Packshot: from `npm start` to the address, and then to the first and the
 * second picture, polled as the API advises (`poll_after_ms`).
 *
 *   node bench/first-picture.ts (part of `npm run bench`)
 */

const folder = await mkdtemp(join(tmpdir(), 'packshot-bench-'))
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(2)} s`
try {
  const began = performance.now()
  await using started = npmStart({ PACKSHOT_DATA_DIR: folder })
  const address = await started.address
  console.log(`npm start to the printed address  ${seconds(began)}`)
  const apple = { prompt: 'a red apple' }
  await makePicture(address, apple)
  console.log(`npm start to the first picture    ${seconds(began)}`)
  const second = performance.now()
  const { polls } = await makePicture(address, apple)
  console.log(`the next picture                  ${seconds(second)}, ${polls} status requests`)
} finally {
  await rm(folder, { recursive: true })
}
