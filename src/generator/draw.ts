import { fitRaster } from '../adapters/pictures/resize.ts'
import type { Picture, PictureRequest, RunOptions } from '../diffusion/request.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { firstSteps, hiresSteps } from '../jobs/pictures.ts'

interface Drawing {
  /** One picture of the engine. */
  readonly generate: (request: PictureRequest, options: RunOptions) => Promise<Picture>
  /** With the upscaler of a name. */
  readonly enlarge: (picture: Picture, upscaler: string) => Promise<Picture>
}

/**
 * A picture as it is drawn: once at the size of the request, and with `hires` a second time from the first picture, enlarged.
 * The same as two jobs, the second of which starts from the file of the first.
 * @param options its `onStep` counts the steps of both
 */
export async function draw(
  asked: PictureRequest,
  request: ResolvedRequest,
  { generate, enlarge }: Drawing,
  options: RunOptions,
): Promise<Picture> {
  const { hires } = request
  if (hires === undefined) return generate(asked, options)
  const [first, second] = [firstSteps(request), hiresSteps(request)]
  const part = (before: number, steps: number): RunOptions => {
    const { onStep, previews, ...others } = options
    const count = Math.round(((previews?.count ?? 0) * steps) / (first + second))
    return {
      ...others,
      onStep: (step, all) => onStep?.(before + Math.ceil((step / all) * steps), first + second),
      ...(previews !== undefined && { previews: { ...previews, count } }),
    }
  }
  const { width, height, steps, strength, upscaler } = hires
  const small = await generate(asked, part(0, first))
  const large = upscaler === undefined ? small : await enlarge(small, upscaler)
  const image = { ...(await fitRaster(large, width, height)), strength }
  return generate({ ...asked, width, height, steps, image }, part(first, second))
}
