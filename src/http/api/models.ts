import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Services } from '../services.ts'

const Model = Type.Object({
  name: Type.String(),
  width: Type.Integer({ description: 'The size when none is asked for.' }),
  height: Type.Integer(),
  steps: Type.Integer(),
  guidance_scale: Type.Number(),
  size_multiple: Type.Integer({ description: 'Width and height must be multiples of this.' }),
  samplers: Type.Array(Type.String(), { description: 'The first is the default.' }),
  schedules: Type.Array(Type.String(), { description: 'The first is the default.' }),
})

const Limits = Type.Object({
  prompt_characters: Type.Integer(),
  prompt_bytes: Type.Integer(),
  min_size: Type.Integer(),
  max_size: Type.Integer(),
  max_steps: Type.Integer(),
  max_guidance_scale: Type.Number(),
  max_seed: Type.Integer(),
  max_count: Type.Integer(),
})

/** GET /v1/models: what can be asked for. The first model is the default. */
export function modelRoutes(app: FastifyInstance, services: Services): void {
  const response = { 200: Type.Object({ models: Type.Array(Model), limits: Limits }) }
  app.get(
    '/v1/models',
    { schema: { summary: 'Models, their defaults, and the limits', response } },
    async () => {
      const { limits } = services
      return {
        models: [...services.models()],
        limits: {
          prompt_characters: limits.promptCharacters,
          prompt_bytes: limits.promptBytes,
          min_size: limits.minSize,
          max_size: limits.maxSize,
          max_steps: limits.maxSteps,
          max_guidance_scale: limits.maxGuidanceScale,
          max_seed: limits.maxSeed,
          max_count: limits.maxCount,
        },
      }
    },
  )
}
