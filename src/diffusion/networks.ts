import type { TinyVae } from './checkpoint/tiny-vae-file.ts'
import { Weights } from './checkpoint/weights.ts'
import { saidToAll } from './errors.ts'
import type { LoraPart } from './lora/names.ts'
import { type AppliedLora, planBytes, planLoras } from './lora/plan.ts'
import type { LatentSize, ModelSessions } from './model-sessions.ts'
import { tokenEmbeddingKey } from './models/clip-text.ts'
import { timestepEmbedding } from './models/unet.ts'
import type { TextStates } from './prompt/encode.ts'
import { readRows, type StoredTensor } from './safetensors/safetensors.ts'

/** The networks of a model with some LoRAs, as functions: what one computes does not depend on what was called before. */
export interface Networks {
  /** Rows of the token embedding table. @returns [ids.length, width] */
  lookUp(ids: readonly number[]): Promise<Float32Array>
  /** @param embeddings [1, tokens, width] @returns states [1, tokens, width] */
  encodeText(embeddings: Float32Array, clipSkip: number): Promise<Float32Array>
  /**
   * One call of the UNet on the same sample for every row of text states.
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
  /** A half of the VAE whose values overflow in half precision is computed again in float32. */
  const finite = async (run: () => Promise<Float32Array>): Promise<Float32Array> => {
    const result = await run()
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
  return {
    lookUp: (ids) =>
      readRows(text, text.tensors.get(tokenEmbeddingKey(new Weights(text))) as StoredTensor, ids),

    async encodeText(embeddings, clipSkip) {
      const { hidden_size: width, max_position_embeddings: tokens } = architecture.text
      const plan = await plans.text()
      const session = await sessions.text(clipSkip, plan)
      return session.run({
        embeddings: { data: embeddings, dims: [1, tokens, width] },
        ...plan.feeds,
      })
    },

    async predict(sample, timestep, { states, tokens, mask }, { height, width }) {
      const { unet } = architecture
      const batch = states.length / (tokens * unet.cross_attention_dim)
      const shape = { batch, height, width, tokens, masked: mask !== undefined }
      const plan = await plans.unet()
      const session = await sessions.unet(shape, plan)
      const first = unet.block_out_channels[0] as number
      return session.run({
        sample: { data: repeat(sample, batch), dims: [batch, unet.in_channels, height, width] },
        time: { data: repeat(timestepEmbedding(timestep, first, unet), batch), dims: [batch, first] },
        text: { data: states, dims: [batch, tokens, unet.cross_attention_dim] },
        ...(mask && { mask: { data: mask, dims: [batch, tokens] } }),
        ...plan.feeds,
      })
    },

    decode(latent, size) {
      const { vae } = architecture
      const data = latent.map((value) => value / vae.scaling_factor)
      const dims = [1, vae.latent_channels, size.height, size.width]
      return finite(async () => (await sessions.decoder(size)).run({ latent: { data, dims } }))
    },

    async decodeTiny(tiny, latent, size) {
      const session = await sessions.tinyDecoder(tiny, size)
      const picture = await session.run(tinyFeeds(tiny, latent, size))
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

function repeat(values: Float32Array, times: number): Float32Array {
  const out = new Float32Array(values.length * times)
  for (let i = 0; i < times; i++) out.set(values, i * values.length)
  return out
}
