/** All that a Node of the tests inherits: where programs are, and the cache of compiled modules, which halves its start. */
export function ownEnvironment(): Record<string, string> {
  const { PATH = '', NODE_COMPILE_CACHE } = process.env
  return NODE_COMPILE_CACHE === undefined ? { PATH } : { PATH, NODE_COMPILE_CACHE }
}

/** How a Node of the tests is started: as this one, with the packages merged if they are; see merged-packages.ts. */
export function ownOptions(): string[] {
  const { TEST_PACKAGES } = process.env
  return TEST_PACKAGES === undefined ? [] : ['--import', TEST_PACKAGES]
}
