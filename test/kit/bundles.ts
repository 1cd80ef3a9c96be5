import { createHash, randomUUID } from 'node:crypto'
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'

/**
 * A process of ours loads some thousand small files, a third of a millisecond each: half of what its start costs, in
 * each of the many hundred processes of a test run. For these processes each program and each test file is bundled with
 * its packages.
 */

const root = join(import.meta.dirname, '../..')
const cache = join(root, 'node_modules/.cache/bundles')

/**
 * What processes and threads begin with. What two of a group share is a file of its own, so the programs that tests start most
 * are a group of their own: such a server loads 25 files in place of 145.
 */
const groups = {
  standIns: ['test/stand-in/*.ts', 'src/library/folder/facts-thread.ts'],
  programs: ['src/main/*.ts', 'src/generator/inference-thread.ts', 'src/cli/{catalogue,generate,models}.ts'],
  tests: ['{src,test}/**/*.test.ts'],
}

/**
 * Answers the file that a process imports first (`node --import`), so that the bundle of the program is loaded in place of
 * its own file. Made once for each state of the code. What is imported by a program that is no bundle is the real thing.
 */
export async function bundles(): Promise<string> {
  const entriesOf = Object.entries(groups).map(([name, globs]): [string, string[]] => [
    name,
    globSync(globs, { cwd: root })
      .map((file) => join(root, file))
      .sort(),
  ])
  const folder = join(cache, stateOf(entriesOf))
  const entry = join(folder, 'register.mjs')
  if (existsSync(entry)) return entry
  const fresh = `${folder}.${randomUUID()}`
  mkdirSync(fresh, { recursive: true })
  await Promise.all(entriesOf.map(([name, entries]) => bundle(entries, join(fresh, name))))
  const bundled = entriesOf.flatMap(([name, entries]) =>
    entries.map((path): [string, string] => [path, bundleOf(path, join(folder, name))]),
  )
  writeFileSync(join(fresh, 'register.mjs'), registration(bundled))
  try {
    renameSync(fresh, folder)
  } catch (thrown) {
    // another run was faster
    if (!existsSync(entry)) throw thrown
    rmSync(fresh, { recursive: true })
  }
  removeOld()
  return entry
}

/** Names the state of all files that can be part of a bundle. */
function stateOf(entries: readonly (readonly [string, readonly string[]])[]): string {
  const files = globSync(['{src,test,scripts,bench}/**/*.{ts,json}', 'package-lock.json'], {
    cwd: root,
  }).sort()
  const hash = createHash('sha256').update(JSON.stringify([root, entries]))
  for (const file of files) {
    const { size, mtimeMs } = statSync(join(root, file))
    hash.update(`${file} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}

async function bundle(entries: readonly string[], outdir: string): Promise<void> {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { outputFiles } = await build({
    write: false,
    entryPoints: [...entries],
    outbase: root,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // what two programs share is there once, and so is its state
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: true,
    sourcesContent: false,
    // with native code; and packages that few files need: `yaml` is loaded by each server, through @fastify/swagger
    external: [
      'onnxruntime-node',
      'sharp',
      ...Object.keys(devDependencies).filter((name) => name !== 'yaml'),
    ],
    logLevel: 'error',
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'\nconst require = requireOf(import.meta.url)",
    },
    plugins: [ownPlaces, builtins],
  })
  for (const file of outputFiles) {
    mkdirSync(dirname(file.path), { recursive: true })
    // of a source map the text is never made
    writeFileSync(file.path, file.path.endsWith('.mjs') ? compiledEarly(file.text) : file.contents)
  }
}

/**
 * Each package is a method in a bundle, and V8 compiles a method when it is called, in each process anew. A function in
 * parentheses is compiled with its file, and so is in the cache of compiled modules.
 */
function compiledEarly(bundle: string): string {
  const method =
    /^(var \w+ = __(?:commonJS|esm)\(\{\n {2}".*")(\(.*\) \{\n(?:(?!\}\);).*\n)*?) {2}\}\n\}\);$/gm
  return bundle.replaceAll(method, '$1: (function$2  })\n});')
}

/** A module in a bundle stays where its file is: fixtures, programs and assets are found beside it. */
const ownPlaces: Plugin = {
  name: 'own places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      if (path.includes('/node_modules/')) return undefined
      const url = JSON.stringify(pathToFileURL(path).href)
      const contents = readFileSync(path, 'utf8')
        .replaceAll('import.meta.url', url)
        .replaceAll('import.meta.dirname', JSON.stringify(dirname(path)))
        .replaceAll('import.meta.filename', JSON.stringify(path))
        .replaceAll('import.meta.main', `(process.argv[1] === ${JSON.stringify(path)})`)
        .replaceAll(
          'import.meta.resolve(',
          `((name) => name.startsWith('.') ? new URL(name, ${url}).href : import.meta.resolve(name))(`,
        )
      return { contents, loader: 'ts' }
    })
  },
}

/**
 * Modules of Node as `require` gives them. `import` reads every export when the module is loaded: those of `node:http` load
 * a client of WebSockets (25 ms of each process), those of `node:process` all flags of V8 (13 ms).
 */
const builtins: Plugin = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    const own = new Set(builtinModules)
    onResolve({ filter: /^[a-z:_/]+$/ }, ({ path, kind }) => {
      const isOwn = own.has(path.replace(/^node:/, ''))
      return isOwn && kind === 'import-statement' ? { path, namespace: 'builtin' } : undefined
    })
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
    }))
  },
}

function bundleOf(path: string, folder: string): string {
  return join(folder, path.slice(root.length + 1).replace(/\.ts$/, '.mjs'))
}

/** In plain JavaScript without packages: it is a cost of every process. */
function registration(bundled: readonly (readonly [string, string])[]): string {
  const files = bundled.map((each) => each.map((path) => pathToFileURL(path).href))
  return `import { registerHooks } from 'node:module'
const bundles = ${JSON.stringify(Object.fromEntries(files))}
registerHooks({
  resolve(specifier, context, next) {
    // a test file is imported by no other, but by what runs several in one process
    const begins = context.parentURL === undefined || specifier.endsWith('.test.ts')
    const url = begins ? bundles[specifier] : undefined
    return url === undefined ? next(specifier, context) : { url, format: 'module', shortCircuit: true }
  },
})
`
}

/** Of states that have not been used for long; a run of another checkout may use one now. */
function removeOld(): void {
  const dayMs = 86_400_000
  for (const name of readdirSync(cache)) {
    const path = join(cache, name)
    if (Date.now() - statSync(path).mtimeMs > dayMs) rmSync(path, { recursive: true, force: true })
  }
}
