import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { embedded } from '../../../test/jobs/embedded.ts'
import { anonymousCaller } from '../caller.ts'
import { AppError, type Fault } from '../errors.ts'
import { runDocuments } from './documents.ts'

/** Every bad list and what is said about it. Nothing is stored of any of them. */

const options = { caller: anonymousCaller('192.0.2.1'), base: 'http://localhost' }
const template = { prompt: '{title} on white' }

interface Refused {
  readonly faults: readonly Fault[]
  readonly count: number
  readonly message: string
}

async function refused(t: TestContext, body: unknown): Promise<Refused> {
  const parts = embedded(t)
  const thrown = await parts.catalogues.create(body, options).then(
    () => assert.fail('it was accepted'),
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof AppError && thrown.code === 'invalid_request', String(thrown))
  assert.deepEqual([await parts.images.allRuns(), await parts.images.openRuns()], [[], []])
  return { faults: thrown.faults, count: thrown.faultCount, message: thrown.message }
}

async function accepted(t: TestContext, body: unknown) {
  const parts = embedded(t)
  const { id, rows } = await parts.catalogues.create(body, options)
  const items = await runDocuments(parts.images).items(id, 0)
  return {
    rows,
    items,
    prompts: items.map(({ request }) => request.prompt),
    names: items.map(({ name }) => name),
  }
}

suite('the list of a catalogue run', () => {
  test('is read with a byte order mark, quotes, any line end, and commas, semicolons or tabs', async (t) => {
    for (const csv of [
      'sku,title\nA,"an apple, ""red"""\nB,a pear\n',
      '\ufeffsku,title\r\nA,"an apple, ""red"""\r\nB,a pear',
      'sku;title\rA;an apple, "red"\rB;a pear\r'.replaceAll('an apple, "red"', '"an apple, ""red"""'),
      '"sku"\t"title"\n\n\nA\t"an apple, ""red"""\n\t\nB\ta pear\n\n',
    ]) {
      const { prompts, rows } = await accepted(t, { csv, template })
      assert.deepEqual(
        [rows, prompts],
        [2, ['an apple, "red" on white', 'a pear on white']],
        JSON.stringify(csv),
      )
    }
  })

  test('may be finished, each row in its own way, and its files have the format of the finish', async (t) => {
    const finish = { preset: '{for}', fill: '{fill}', background: '{ground}' }
    const csv = 'title,for,fill,ground\nan apple,amazon_main,90,#ffffff\na pear,cutout,75,transparent\n'
    const { items, names } = await accepted(t, { csv, template: { ...template, finish }, name: '{title}' })
    assert.deepEqual(names, ['an apple.jpg', 'a pear.png'])
    assert.deepEqual(
      items.map(({ request }) => [request.finish?.preset, request.finish?.fill, request.finish?.background]),
      [
        ['amazon_main', 90, '#ffffff'],
        ['cutout', 75, 'transparent'],
      ],
    )
  })

  test('may be objects, as a list or in lines', async (t) => {
    const rows = [
      { title: 'an apple', steps: 3 },
      { title: 'a pear', steps: null },
    ]
    const jsonl = `\ufeff${rows.map((row) => JSON.stringify(row)).join('\r\n\r\n')}\n`
    for (const list of [{ rows }, { jsonl }]) {
      const { items } = await accepted(t, { ...list, template: { ...template, steps: '{steps}' } })
      assert.deepEqual(
        items.map(({ request }) => [request.prompt, request.steps]),
        [
          ['an apple on white', 3],
          ['a pear on white', 4],
        ],
      )
    }
  })

  test('fills every field of a job, LoRAs too, and a seed of its own', async (t) => {
    const { items } = await accepted(t, {
      csv: 'what,how,seed,file\nan apple,0.5,7,jpeg\na pear,,,png\n',
      template: {
        prompt: '{{{what}}} {variant}',
        seed: '{seed}',
        format: '{file}',
        loras: [{ name: 'detail', strength: '{how}' }].filter(() => false),
        negative_prompt: 'blurry {row}',
      },
      variants: 2,
    })
    assert.deepEqual(
      items
        .slice(0, 2)
        .map(({ name, request: { prompt, seed, negative_prompt } }) => [name, prompt, seed, negative_prompt]),
      [
        ['1-1.jpg', '{an apple} 1', 7, 'blurry 1'],
        ['1-2.jpg', '{an apple} 2', 7, 'blurry 1'],
      ],
    )
    assert.notEqual(items[2]?.request.seed, items[3]?.request.seed)
  })

  test('two variants of one prompt and one seed differ', async (t) => {
    const { items } = await accepted(t, {
      csv: 'title\nan apple',
      template: { ...template, seed: 7 },
      variants: 3,
    })
    assert.deepEqual(
      items.map(({ request }) => request.seed),
      [7, 8, 9],
    )
  })

  test('makes each row once in each set, whose fields are laid over those of the template', async (t) => {
    const csv = 'sku,title\nA-1,a mug\nB-2,a pear\n'
    const sets = [
      { name: 'white', template: { finish: { background: '#ffffff' }, steps: 7 } },
      { name: 'wood', template: { prompt: '{title} on wood, {set}', format: 'jpeg' } },
    ]
    const { items, prompts } = await accepted(t, {
      csv,
      template,
      sets,
      name: '{sku}_{set}_{seed}',
      variants: 2,
    })
    assert.deepEqual(prompts.slice(0, 4), [
      'a mug on white',
      'a mug on white',
      'a mug on wood, wood',
      'a mug on wood, wood',
    ])
    assert.deepEqual(
      items.map(
        ({ name, request }) =>
          name ===
          `${name.slice(0, 3)}_${request.format === 'png' ? 'white' : 'wood'}_${request.seed}.${request.format === 'png' ? 'png' : 'jpg'}`,
      ),
      items.map(() => true),
    )
    assert.equal(new Set(items.map(({ request }) => request.seed)).size, 8)
    assert.deepEqual([items[0]?.request.steps, items[0]?.request.finish?.background], [7, '#ffffff'])
    assert.equal(items[2]?.request.finish, undefined)
    // a set of its own template needs no column of the default one; names differ by themselves
    const bare = await accepted(t, {
      csv,
      sets,
      template: { prompt: '{title}', seed: 5 },
      name: '{sku}',
      variants: 2,
    })
    assert.deepEqual(bare.names.slice(0, 4), [
      'A-1-white-1.png',
      'A-1-white-2.png',
      'A-1-wood-1.jpg',
      'A-1-wood-2.jpg',
    ])
    assert.deepEqual(
      bare.items.slice(0, 4).map(({ request }) => request.seed),
      [5, 6, 5, 6],
    )
  })

  test('sets that are none are refused; what is wrong in all of them is said once', async (t) => {
    const csv = 'title\na mug\n'
    const ask = async (sets: unknown) => (await refused(t, { csv, template, sets })).message
    assert.match(await ask([]), /sets must be a list of 1 to 16 sets, but had 0/)
    assert.match(await ask('white'), /sets must be a list/)
    assert.match(await ask([{ name: ' ' }]), /name of a set must be text of 1 to 60 characters/)
    assert.match(await ask([{ name: 'a' }, { name: 'a' }]), /Two sets have the name "a"/)
    assert.match(await ask([{ name: 'a', templates: {} }]), /no field "templates"/)
    assert.match(await ask([{ name: 'a', template: [] }]), /sets\[0\]\.template must be an object/)
    const two = [{ name: 'a' }, { name: 'b', template: { steps: 5 } }]
    const { faults } = await refused(t, { csv, template: { prompt: '{titel}' }, sets: two })
    assert.equal(faults.length, 1)
    const slash = await refused(t, { csv, template, sets: [{ name: 'a/b' }], name: '{set}' })
    assert.match(slash.message, /must not contain a slash/)
    const many = Array.from({ length: 16 }, (_, n) => ({ name: `set ${n}` }))
    const rows = Array.from({ length: 100 }, () => ({ title: 'a mug' }))
    const large = await refused(t, { rows, template, sets: many, variants: 2 })
    assert.match(large.message, /3200 pictures \(100 rows, 16 sets, 2 variants\)/)
  })

  test('is refused whole, with each fault by its row and field', async (t) => {
    const csv = 'sku,title,steps\nA,an apple,4\nB,,4\nC,a pear,1000\nA,a fig,4\n../x,a plum,four\n'
    const { faults, count, message } = await refused(t, {
      csv,
      template: { ...template, prompt: '{title}', steps: '{steps}' },
      name: '{sku}',
    })
    assert.deepEqual(
      faults.map(({ row, param }) => [row, param]),
      [
        [2, 'prompt'],
        [3, 'steps'],
        [4, 'name'],
        [5, 'steps'],
        [5, 'name'],
      ],
    )
    assert.equal(count, 5)
    assert.match(message, /^Row 2: prompt .* And 2 more\.$/)
    assert.match(faults[2]?.message ?? '', /Row 4: The file name "A" is that of row 1 too/)
    assert.match(faults[4]?.message ?? '', /The file name "..\/x" must not contain a slash/)
  })

  test('with a thousand faults shows the first hundred and counts the rest', async (t) => {
    const rows = Array.from({ length: 1000 }, () => ({ title: '' }))
    const { faults, count } = await refused(t, { rows, template: { prompt: '{title}' } })
    assert.deepEqual([faults.length, count], [100, 1000])
  })

  test('has no file names that some system cannot have, or that are one name to it', async (t) => {
    for (const name of [
      'CON',
      'nul.txt',
      'COM1',
      'lpt¹',
      'a/b',
      'a\\b',
      '..',
      '.hidden',
      'end.',
      ' x',
      'a:b',
      'a*',
      'tab\there',
      'bell\u0007',
      'right\u202eleft',
      '',
      ' ',
      `${'x'.repeat(201)}`,
      'half \ud800',
    ]) {
      const { faults } = await refused(t, { rows: [{ title: 'an apple', name }], template, name: '{name}' })
      assert.deepEqual([faults[0]?.row, faults[0]?.param], [1, 'name'], JSON.stringify(name))
    }
    for (const [one, other] of [
      ['a', 'A'],
      ['caf\u00e9', 'cafe\u0301'],
    ]) {
      const rows = [one, other].map((name) => ({ title: 'an apple', name }))
      assert.equal((await refused(t, { rows, template, name: '{name}' })).faults[0]?.row, 2)
    }
    const { names } = await accepted(t, {
      rows: ['Stuhl „Möwe“', 'console', '写真', 'a.b', '-x'].map((name) => ({ title: 'a chair', name })),
      template,
      name: '{name}',
    })
    assert.deepEqual(names, ['Stuhl „Möwe“.png', 'console.png', '写真.png', 'a.b.png', '-x.png'])
  })

  test('a CSV that is none is refused with its line', async (t) => {
    for (const [csv, said] of [
      ['', /The list is empty/],
      ['title\n', /no rows/],
      ['title\n"an apple', /quote is opened and not closed: see line \d/],
      ['title\n"an "apple"\n', /After a closing quote a separator must follow: see line 2/],
      ['title\nan "apple"\n', /quote is in the middle of a cell: see line 2/],
      ['title,\nan apple,1\n', /Column 2 has no name/],
      ['title,sku,title\na,b,c\n', /Columns 1 and 3 have the same name, "title"/],
      ['title,{x}\na,b\n', /Column 2 has a name with braces/],
      [`title${','.repeat(1_000_000)}\n`, /A row has more than 65536 characters/],
      [`title\n${'x,'.repeat(50_000)}`, /A row has more than 65536 characters/],
      [`${'c,'.repeat(101)}title\n`, /at most 100 columns/],
      [`${'c'.repeat(101)},title\n1,2`, /Column 1 has a name of more than 100 characters/],
      [`title\n${'an apple\n'.repeat(1001)}`, /at most 1000 rows/],
    ] as const) {
      const { message, faults } = await refused(t, { csv, template })
      assert.match(message, said)
      assert.ok(message.length < 400 && faults.length > 0)
    }
    const { faults } = await refused(t, { csv: 'sku,title\nA,an apple\nB,a pear, green\nC\n', template })
    assert.deepEqual(
      faults.map(({ row, message }) => [row, /has (\d) cells where the header has 2/.exec(message)?.[1]]),
      [
        [2, '3'],
        [3, '1'],
      ],
    )
  })

  test('a body that is no request is refused with its field', async (t) => {
    const csv = 'title\nan apple\n'
    for (const [body, param] of [
      [undefined, 'body'],
      [[], 'body'],
      ['title', 'body'],
      [{}, 'csv'],
      [{ csv, rows: [] }, 'csv'],
      [{ csv: 7 }, 'csv'],
      [{ rows: 'title' }, 'rows'],
      [{ rows: [] }, 'csv'],
      [{ rows: [1] }, 'rows'],
      [{ rows: [{ title: { of: 'it' } }], template }, 'title'],
      [{ jsonl: '{"title": "an apple"}\n{"title"' }, 'jsonl'],
      [{ csv }, 'template'],
      [{ csv, template: [] }, 'template'],
      [{ csv, template: { prompt: '{titel}' } }, 'prompt'],
      [{ csv, template: { prompt: '{title' } }, 'prompt'],
      [{ csv, template: { ...template, count: 2 } }, 'count'],
      [{ csv, template: { ...template, priority: 'interactive' } }, 'priority'],
      [{ csv, template: { ...template, color: 'red' } }, 'color'],
      [{ csv, template: { ...template, model: 'sdxl' } }, 'model'],
      [{ csv, template: { ...template, init_image: 'none' } }, 'init_image'],
      [{ csv, template, variants: 0 }, 'variants'],
      [{ csv, template, variants: '2' }, 'variants'],
      [{ csv, template, variants: 9 }, 'variants'],
      [{ csv: `title\n${'an apple\n'.repeat(600)}`, template, variants: 4 }, 'variants'],
      [{ csv, template, name: 7 }, 'name'],
      [{ csv, template, name: '{sku}' }, 'name'],
      [{ csv, template, webhook: 'http://10.0.0.1/hook' }, 'webhook'],
      [{ csv, template, webhook: 7 }, 'webhook'],
      [{ csv, template: { ...template, webhook: 'https://shop.test' } }, 'webhook'],
      [{ csv, template, format: 'png' }, '"format"'],
    ] as const) {
      const { faults } = await refused(t, body)
      assert.equal(faults[0]?.param, param, JSON.stringify(body))
    }
  })

  test('does not keep the event loop while it is checked', async (t) => {
    const parts = embedded(t)
    const csv = `title\n${'a red apple, on a table\n'.replace(',', '').repeat(1000)}`
    let turns = 0
    const timer = setInterval(() => {
      turns += 1
    }, 1)
    await parts.catalogues.create({ csv, template, variants: 2, name: '{row}-{variant}' }, options)
    clearInterval(timer)
    assert.ok(turns > 2, `others had ${turns} turns`)
  })
})
