/** All that a Node of the tests inherits: where programs are, and the cache of compiled modules, which halves its start. */
export function ownEnvironment(): Record<string, string> {
  const { PATH = '', NODE_COMPILE_CACHE } = process.env
  return NODE_COMPILE_CACHE === undefined ? { PATH } : { PATH, NODE_COMPILE_CACHE }
}

/** How a Node of the tests is started: as this one, with its program bundled if it is; see bundles.ts. */
export function ownOptions(): string[] {
  const { TEST_BUNDLES } = process.env
  return TEST_BUNDLES === undefined ? [] : ['--import', TEST_BUNDLES]
}

/** For what computes beside other tests: threads of ONNX Runtime spin while they wait, two take up to twice the processor. */
export const oneThread = { PACKSHOT_THREADS: '1' }
