import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

/**
 * Packages of hundreds of small files, of which Node loads each in a third of a millisecond: 0.25 s of processor time
 * in each of the several hundred processes of a test run. For these processes they are merged into a file each.
 */
const merged = ['typebox', 'typebox/value', '@redis/client'] as const

const modules = join(import.meta.dirname, '../../node_modules')

/**
 * Answers the file that a process imports first (`node --import`) to load the merged files in place of the packages;
 * made once for each version of them. Whatever else is imported is the real thing.
 */
export async function mergedPackages(): Promise<string> {
  const names = [
    ...new Set([...merged, 'esbuild'].map((each) => each.replace(/^(@[^/]+\/)?([^/]+).*/, '$1$2'))),
  ]
  const versions = names.map((name) => {
    const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'))
    return `${name.replace('/', '+')}-${version}`
  })
  const folder = join(modules, '.cache/merged', versions.join('_'))
  const entry = join(folder, 'register.mjs')
  if (existsSync(entry)) return entry
  const fresh = `${folder}.${randomUUID()}`
  mkdirSync(fresh, { recursive: true })
  await merge(fresh)
  writeFileSync(join(fresh, 'register.mjs'), registration())
  try {
    renameSync(fresh, folder)
  } catch (thrown) {
    // another run was faster
    if (!existsSync(entry)) throw thrown
    rmSync(fresh, { recursive: true })
  }
  return entry
}

const fileOf = (specifier: string) => `${specifier.replaceAll('/', '+')}.mjs`

async function merge(outdir: string): Promise<void> {
  const texts = new Map<string, string>()
  for (const specifier of merged) {
    // named one by one: which names a CommonJS package has is known only once it is loaded
    const names = Object.keys(await import(specifier)).filter((name) => name !== 'module.exports')
    texts.set(fileOf(specifier), `export { ${names.join(', ')} } from '${specifier}'`)
  }
  await build({
    entryPoints: [...texts.keys()].map((name) => ({ in: name, out: name.replace(/\.mjs$/, '') })),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // what two of them share is there once
    splitting: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'silent',
    banner: {
      js: "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)",
    },
    plugins: [
      {
        name: 'entries',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /\.mjs$/ }, ({ path, kind }) =>
            kind === 'entry-point' ? { path, namespace: 'entries' } : undefined,
          )
          onLoad({ filter: /./, namespace: 'entries' }, ({ path }) => ({
            contents: texts.get(path) ?? '',
            resolveDir: modules,
          }))
        },
      },
    ],
  })
}

/** In plain JavaScript without imports of its own: it is a cost of every process. */
function registration(): string {
  const files = Object.fromEntries(merged.map((each) => [each, `./${fileOf(each)}`]))
  return `import { registerHooks } from 'node:module'
const files = ${JSON.stringify(files)}
registerHooks({
  resolve(specifier, context, next) {
    const file = files[specifier]
    if (file === undefined) return next(specifier, context)
    return { url: new URL(file, import.meta.url).href, format: 'module', shortCircuit: true }
  },
})
`
}
