import fastJsonStringify from 'fast-json-stringify'

type Serializer = (answer: unknown) => string

const serializers = new WeakMap<object, Serializer>()

/**
 * Writes an answer as its schema says, which leaves out what the schema does not name: as Fastify's own compiler does,
 * but made once for each schema. Most routes answer with the same few.
 */
export function serializerOf(schema: object): Serializer {
  const found = serializers.get(schema)
  if (found !== undefined) return found
  const made: Serializer = fastJsonStringify(schema)
  serializers.set(schema, made)
  return made
}
