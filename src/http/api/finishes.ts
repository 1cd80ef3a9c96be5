import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { imageFormats } from '../../jobs/fields.ts'
import { Finish, finishPresets } from '../../jobs/finish.ts'

const { background, fill, width, height, margin, shadow, max_bytes } = Finish.properties

const FinishView = Type.Object({
  name: Type.String({ description: 'For `finish.preset`.' }),
  title: Type.String(),
  background,
  fill: Type.Optional(fill),
  width,
  height,
  margin: Type.Optional(margin),
  shadow,
  format: Type.Enum(imageFormats, { description: 'Of the file, if the request names none.' }),
  max_bytes: Type.Optional(max_bytes),
  source: Type.String({ description: 'Where its rule comes from.' }),
})

/** GET /v1/finishes: the presets of the field `finish`. */
export function finishRoutes(app: FastifyInstance): void {
  const schema = {
    summary: 'How pictures can be finished for shops: the presets of `finish`',
    response: { 200: Type.Object({ finishes: Type.Array(FinishView) }) },
  }
  app.get('/v1/finishes', { schema }, async () => ({
    finishes: Object.entries(finishPresets).map(([name, preset]) => ({ name, ...preset })),
  }))
}
