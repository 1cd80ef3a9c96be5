import assert from 'node:assert/strict'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import {
  type Content,
  readContent,
  type Tensors,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
} from '../../../test/golden/parity/variants.ts'
import { CheckpointError } from '../errors.ts'
import { readFacts } from './facts.ts'
import { openModel } from './model.ts'

const number = tensorOf(Float32Array.of(1), [1], 'F32')

/** The tiny single file, silent about what it predicts, with files beside it. @returns its path */
async function model(
  t: TestContext,
  beside: Readonly<Record<string, string>>,
  change: (content: Content, tensors: Tensors) => Content | undefined = () => undefined,
): Promise<string> {
  const content = await readContent(tinyCheckpoint)
  const { prediction_type: _, ...stated } = JSON.parse(content.metadata['packshot.architecture'] as string)
  const metadata = { ...content.metadata, 'packshot.architecture': JSON.stringify(stated) }
  const silent = { ...content, metadata }
  const folder = tempFolder(t)
  const path = join(folder, 'my fruit.safetensors')
  writeSafetensors(path, change(silent, content.tensors) ?? silent)
  for (const [name, text] of Object.entries(beside)) await writeFile(join(folder, name), text)
  return path
}

const yaml = (parameterization: string) => ({
  'my fruit.yaml': `model:\n  params:\n    # parameterization: "eps"\n    ${parameterization}\n    linear_start: 0.00085\n`,
})
const withKey = (_: Content, tensors: Tensors) => void tensors.set('v_pred', number)
const withModelSpec = (value: string) => (content: Content) => ({
  ...content,
  metadata: { ...content.metadata, 'modelspec.prediction_type': value },
})

const withBoth = (content: Content, tensors: Tensors) => {
  withKey(content, tensors)
  return withModelSpec('epsilon')(content)
}

const stated: Record<string, [Record<string, string>, Parameters<typeof model>[2], string]> = {
  'nobody says anything': [{}, undefined, 'epsilon'],
  "LDM's config beside it": [yaml('parameterization: "v"'), undefined, 'v_prediction'],
  'without quotes and with a comment': [yaml('parameterization: v # velocity'), undefined, 'v_prediction'],
  "LDM's other word": [yaml("parameterization: 'eps'"), undefined, 'epsilon'],
  'a commented statement is none': [{ 'my fruit.yaml': '# parameterization: "v"\n' }, undefined, 'epsilon'],
  'a key in the file': [{}, withKey, 'v_prediction'],
  'metadata of the file': [{}, withModelSpec('v'), 'v_prediction'],
  'metadata in capitals': [{}, withModelSpec('V_Prediction'), 'v_prediction'],
  'two that agree': [yaml('parameterization: v'), withKey, 'v_prediction'],
  "Packshot's own file": [
    { 'my fruit.json': '{"prediction_type": "v_prediction"}' },
    undefined,
    'v_prediction',
  ],
  "Packshot's own file against the others": [
    { ...yaml('parameterization: v'), 'my fruit.json': '{"prediction_type": "epsilon"}' },
    withKey,
    'epsilon',
  ],
}
for (const [who, [beside, change, prediction]] of Object.entries(stated)) {
  test(`what a model predicts: ${who}`, async (t) => {
    const { architecture } = await openModel(await model(t, beside, change))
    assert.equal(architecture.noise.prediction_type, prediction)
  })
}

const contradictions: Record<string, [Record<string, string>, Parameters<typeof model>[2], RegExp]> = {
  'two statements that differ': [
    yaml('parameterization: eps'),
    withKey,
    /"v_pred" in the file says that it predicts v_prediction, but parameterization in my fruit\.yaml says epsilon; decide it with "prediction_type" in my fruit\.json/,
  ],
  'metadata against a key': [{}, withBoth, /predicts epsilon, but "v_pred" in the file says v_prediction/],
  'a kind that does not exist here': [
    yaml('parameterization: "x0"'),
    undefined,
    /says parameterization "x0"/,
  ],
  'metadata of a kind that does not exist here': [{}, withModelSpec('sample'), /predicts "sample"/],
  'a wrong word in the own file': [
    { 'my fruit.json': '{"prediction_type": "v"}' },
    undefined,
    /"prediction_type" is "v"/,
  ],
}
for (const [what, [beside, change, reason]] of Object.entries(contradictions)) {
  test(`refused, and said to whoever asks for the model: ${what}`, async (t) => {
    const path = await model(t, beside, change)
    await assert.rejects(openModel(path), (error: unknown) => {
      assert.ok(error instanceof CheckpointError)
      assert.match(error.reason, reason)
      assert.doesNotMatch(error.reason, /\/tmp|\.safetensors/)
      return true
    })
  })
}

const notes: Record<string, [string, string[]]> = {
  "AUTOMATIC1111's notes": [
    '{"description": "", "notes": "CFG 5", "sd version": "SD1", "vae": "Automatic", "preferred weight": 0}',
    ['"notes", "sd version", "vae", "preferred weight" are not Packshot\'s, and are passed over'],
  ],
  'a description of several lines': [
    '{"description": "a\\nb", "steps": 9}',
    [
      '"description" is "a\\nb" (3 characters); it must be one line of text, 1 to 500 characters long; it is passed over',
    ],
  ],
  'steps that are no number': [
    '{"steps": "9"}',
    ['"steps" is "9"; it must be a whole number from 1 to 100; it is passed over'],
  ],
  'no JSON': ['{"steps": 9', ['the file is not JSON; it is passed over']],
  'a list': ['[]', ['the file is not a JSON object; it is passed over']],
}
for (const [what, [text, remarks]] of Object.entries(notes)) {
  test(`what others write beside a model is no order, but remarked on: ${what}`, async (t) => {
    const path = await model(t, { 'my fruit.json': text })
    const facts = await readFacts(path)
    assert.ok(!(facts.model instanceof Error), String(facts.model))
    const beside = path.replace('.safetensors', '.json')
    assert.deepEqual(
      facts.remarks,
      remarks.map((remark) => `${beside}: ${remark}`),
    )
  })
}

test("a model folder's own file is Packshot's alone: there a mistake is refused", async (t) => {
  const folder = join(tempFolder(t), 'mine')
  await cp(join(import.meta.dirname, '../../../test/golden/tiny-sd'), folder, { recursive: true })
  await writeFile(join(folder, 'packshot.json'), '{"steps": "9"}')
  const { model } = await readFacts(folder)
  assert.match(String(model), /"steps" is "9"/)
  await writeFile(join(folder, 'packshot.json'), '{"prediction_type": "v_prediction"}')
  assert.equal((await openModel(folder)).architecture.noise.prediction_type, 'v_prediction')
})
