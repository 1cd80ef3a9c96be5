import type { TinyVae } from './checkpoint/tiny-vae-file.ts'
import { Weights } from './checkpoint/weights.ts'
import { saidToAll } from './errors.ts'
import type { LoraPart } from './lora/names.ts'
import { type AppliedLora, planBytes, planLoras } from './lora/plan.ts'
import type { LatentSize, ModelSessions } from './model-sessions.ts'
import { tokenEmbeddingKey } from './models/clip-text.ts'
import { timestepEmbedding, type UnetConfig, type UnetShape } from './models/unet.ts'
import type { TextStates } from './prompt/encode.ts'
import type { Feed } from './runtime/session.ts'
import { readRows, type StoredTensor } from './safetensors/safetensors.ts'
import { type UnetCall, UnetCalls } from './unet-calls.ts'

/**
 * The networks of a model with some LoRAs, as functions: what one computes does not depend on what was called before, nor
 * on what is called meanwhile. Calls that come at once wait for one another.
 */
export interface Networks {
  /** Rows of the token embedding table. @returns [ids.length, width] */
  lookUp(ids: readonly number[]): Promise<Float32Array>
  /** @param embeddings [1, tokens, width] @returns states [1, tokens, width] */
  encodeText(embeddings: Float32Array, clipSkip: number): Promise<Float32Array>
  /**
   * One call of the UNet on the same sample for every row of text states. Several that wait may go in one run.
   * @param sample [1, in_channels, height, width] @returns [rows, out_channels, height, width]
   */
  predict(sample: Float32Array, timestep: number, text: TextStates, size: LatentSize): Promise<Float32Array>
  /**
   * @param latent [1, channels, height, width] as sampled @returns [1, 3, height * scale, width * scale], -1 to 1
   * @throws CheckpointError if the result is not finite, in float32 either
   */
  decode(latent: Float32Array, size: LatentSize): Promise<Float32Array>
  /** The same by a tiny VAE. @throws CheckpointError if the result is not finite */
  decodeTiny(tiny: TinyVae, latent: Float32Array, size: LatentSize): Promise<Float32Array>
  /**
   * @param picture [1, 3, height, width] in pixels, -1 to 1
   * @returns moments [1, 2 * channels, height / scale, width / scale]
   * @throws CheckpointError if the VAE has no encoder, or its result is not finite, in float32 either
   */
  encode(picture: Float32Array, height: number, width: number): Promise<Float32Array>
}

/** @throws CheckpointError, at the first call, if one of the LoRAs does not fit the model */
export function networksFor(sessions: ModelSessions, loras: readonly AppliedLora[]): Networks {
  const { text, architecture } = sessions.model
  const { turns } = sessions
  /** A half of the VAE whose values overflow in half precision is computed again in float32. */
  const finite = async (run: () => Promise<Float32Array>): Promise<Float32Array> => {
    const result = await turns.take(run)
    if (result.every(Number.isFinite)) return result
    if (sessions.widenVae()) return finite(run)
    throw saidToAll('the VAE gave no finite numbers: its weights are damaged')
  }
  const plan = (part: LoraPart) =>
    once(async () => {
      await sessions.makeRoom(planBytes(loras, part))
      return planLoras(loras, part, sessions.model[part])
    })
  const plans = { text: plan('text'), unet: plan('unet') }
  const calls = new UnetCalls({
    turns,
    settled: async () => {
      if (sessions.together > 1) await sessions.beginnings.idle()
    },
    leastRows: sessions.leastRows,
    rowsTogether: async (like) =>
      sessions.together > 1
        ? sessions.rowsTogether(shapeOf([like], sessions.samples), await plans.unet())
        : 0,
    async run(going) {
      const shape = shapeOf(going, sessions.samples)
      const plan = await plans.unet()
      const session = await sessions.unet(shape, plan)
      return ofEach(
        going,
        await session.run({ ...unetFeeds(going, shape, architecture.unet), ...plan.feeds }),
      )
    },
    onWarning: (message) => sessions.warn(message),
  })
  return {
    lookUp: (ids) =>
      readRows(text, text.tensors.get(tokenEmbeddingKey(new Weights(text))) as StoredTensor, ids),

    encodeText(embeddings, clipSkip) {
      const { hidden_size: width, max_position_embeddings: tokens } = architecture.text
      return turns.take(async () => {
        const plan = await plans.text()
        const session = await sessions.text(clipSkip, plan)
        return session.run({
          embeddings: { data: embeddings, dims: [1, tokens, width] },
          ...plan.feeds,
        })
      })
    },

    predict(sample, timestep, text, size) {
      const rows = text.states.length / (text.tokens * architecture.unet.cross_attention_dim)
      return calls.predict({ sample, timestep, text, size, rows })
    },

    decode(latent, size) {
      const { vae } = architecture
      const data = latent.map((value) => value / vae.scaling_factor)
      const dims = [1, vae.latent_channels, size.height, size.width]
      return finite(async () => (await sessions.decoder(size)).run({ latent: { data, dims } }))
    },

    async decodeTiny(tiny, latent, size) {
      const picture = await turns.take(async () => {
        const session = await sessions.tinyDecoder(tiny, size)
        return session.run(tinyFeeds(tiny, latent, size))
      })
      if (picture.every(Number.isFinite)) return picture
      throw saidToAll('the tiny VAE gave no finite numbers: its weights are damaged')
    },

    encode(picture, height, width) {
      const dims = [1, architecture.vae.out_channels, height, width]
      return finite(async () =>
        (await sessions.encoder(height, width)).run({ picture: { data: picture, dims } }),
      )
    },
  }
}

export function tinyFeeds({ sizes }: TinyVae, data: Float32Array, { height, width }: LatentSize) {
  return { latent: { data, dims: [1, sizes.channels, height, width] } }
}

/** Makes it at the first call, and again if that failed. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make().catch((thrown: unknown) => {
      made = undefined
      throw thrown
    })
    return made
  }
}

/** The rows of several calls in one batch, those of each behind one another. */
function unetFeeds(
  calls: readonly UnetCall[],
  { batch, pictures = batch, height, width, tokens, masked }: UnetShape,
  unet: UnetConfig,
): Record<string, Feed> {
  const first = unet.block_out_channels[0] as number
  const sample = new Float32Array(pictures * unet.in_channels * height * width)
  const time = new Float32Array(batch * first)
  const text = new Float32Array(batch * tokens * unet.cross_attention_dim)
  const mask = new Int32Array(masked ? batch * tokens : 0)
  const samples = calls.flatMap((call) =>
    new Array<Float32Array>((call.rows * pictures) / batch).fill(call.sample),
  )
  for (const [i, each] of samples.entries()) sample.set(each, i * each.length)
  let row = 0
  for (const call of calls) {
    const sinusoid = timestepEmbedding(call.timestep, first, unet)
    text.set(call.text.states, row * tokens * unet.cross_attention_dim)
    if (call.text.mask) mask.set(call.text.mask, row * tokens)
    for (const end = row + call.rows; row < end; row++) time.set(sinusoid, row * first)
  }
  return {
    sample: { data: sample, dims: [pictures, unet.in_channels, height, width] },
    time: { data: time, dims: [batch, first] },
    text: { data: text, dims: [batch, tokens, unet.cross_attention_dim] },
    ...(masked && { mask: { data: mask, dims: [batch, tokens] } }),
  }
}

/** The part of the batch that belongs to each call. */
function ofEach(calls: readonly UnetCall[], batch: Float32Array): Float32Array[] {
  const all = calls.reduce((sum, { rows }) => sum + rows, 0)
  let row = 0
  return calls.map(({ rows }) => {
    const begin = row
    row += rows
    return rows === all ? batch : batch.slice((begin * batch.length) / all, (row * batch.length) / all)
  })
}

/** Of calls that fit together. */
function shapeOf(calls: readonly UnetCall[], samples: 'of pictures' | 'of rows'): UnetShape {
  const { size, text, rows } = calls[0] as UnetCall
  const batch = calls.reduce((sum, { rows }) => sum + rows, 0)
  const pictures =
    samples === 'of pictures' && calls.every((call) => call.rows === rows) ? calls.length : batch
  return { ...size, batch, pictures, tokens: text.tokens, masked: text.mask !== undefined }
}
