/**
 * Which methods a path has, for 405 answers: fastify answers 404 for a path that exists only with another method.
 */
declare module 'fastify' {
  interface FastifyInstance {
    /** Every route, once the app is built. */
    readonly knownRoutes: KnownRoutes
  }
}

export interface KnownRoutes {
  add(pattern: string, methods: string | readonly string[]): void
  /** Each route as `GET /v1/jobs/:id`. */
  all(): readonly string[]
  /** The methods of every route that matches the path; empty if no route does. */
  methodsOf(path: string): readonly string[]
}

export function knownRoutes(): KnownRoutes {
  const routes = new Map<string, Set<string>>()
  return {
    add(pattern, methods) {
      const known = routes.get(pattern) ?? new Set()
      for (const method of [methods].flat()) known.add(method)
      routes.set(pattern, known)
    },
    all: () =>
      [...routes].flatMap(([pattern, methods]) => [...methods].map((method) => `${method} ${pattern}`)),
    methodsOf(path) {
      const fitting = [...routes].filter(([pattern]) => fits(pattern.split('/'), path.split('/')))
      return [...new Set(fitting.flatMap(([, methods]) => [...methods]))].sort()
    },
  }
}

function fits(pattern: readonly string[], path: readonly string[]): boolean {
  if (pattern.at(-1) === '*')
    return path.length >= pattern.length && fits(pattern.slice(0, -1), path.slice(0, pattern.length - 1))
  return (
    pattern.length === path.length &&
    pattern.every((part, i) => (part.startsWith(':') ? path[i] !== '' : part === path[i]))
  )
}
