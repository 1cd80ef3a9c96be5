import { CheckpointError } from '../errors.ts'
import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import { add, attention, layerNorm, linear } from './layers.ts'

/** transformers' CLIPTextModel, by the keys of `text_encoder/config.json`. */
export interface ClipTextConfig {
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_attention_heads: number
  readonly num_hidden_layers: number
  readonly max_position_embeddings: number
  readonly hidden_act: 'quick_gelu' | 'gelu'
  readonly layer_norm_eps: number
}

/** Recent transformers write the keys without the class's own prefix. */
function prefix(weights: WeightSource): string {
  return weights.has('text_model.final_layer_norm.weight') ? 'text_model.' : ''
}

/** The token embedding table [vocabulary, hidden]; it is looked up outside of the graph. */
export function tokenEmbeddingKey(weights: WeightSource): string {
  return `${prefix(weights)}embeddings.token_embedding.weight`
}

/**
 * Input `embeddings` [B, tokens, hidden]: token embeddings rather than token ids, so that the vectors of a
 * textual inversion can stand among them. Output `hidden` [B, tokens, hidden]: the states after a layer and the
 * final layer norm, which SD 1.x conditions on.
 *
 * @param skip which layer the states come from, counted from the end: 1 is the last one, as AUTOMATIC1111's
 * `Clip skip` counts (diffusers' `clip_skip` is one less)
 * @throws CheckpointError if there is no such layer
 */
export function clipTextGraph(
  config: ClipTextConfig,
  weights: WeightSource,
  batch: number,
  { skip = 1, ...options }: GraphOptions & { readonly skip?: number } = {},
): Uint8Array {
  const { hidden_size: width, max_position_embeddings: tokens, layer_norm_eps: epsilon } = config
  const layers = config.num_hidden_layers
  if (!Number.isInteger(skip) || skip < 1 || skip > layers) {
    throw new CheckpointError(
      `${weights.fileName}: clip skip ${skip}; the text encoder has ${layers} layers, so it must be 1 to ${layers}`,
    )
  }
  const g = new Graph('clip-text', weights, options)
  const root = prefix(weights)
  const embeddings = g.input('embeddings', [batch, tokens, width])
  const positions = g.weight(`${root}embeddings.position_embedding.weight`, [tokens, width])
  const start = g.reshape(add(g, embeddings, positions), [batch * tokens, width])
  let x = start
  for (let layer = 0; layer <= layers - skip; layer++) {
    x = encoderLayer(g, `${root}encoder.layers.${layer}`, x, config, batch)
  }
  x = layerNorm(g, `${root}final_layer_norm`, x, epsilon)
  g.output('hidden', g.reshape(x, [batch, tokens, width]))
  // the layers that are left out are checked like the others, in a graph that nobody runs
  const unused = g.aside('clip-text-unused')
  for (let layer = layers - skip + 1; layer < layers; layer++) {
    encoderLayer(unused, `${root}encoder.layers.${layer}`, start, config, batch)
  }
  weights.take(tokenEmbeddingKey(weights), weights.shape(tokenEmbeddingKey(weights)))
  weights.assertAllTaken(['text_model.embeddings.position_ids', 'embeddings.position_ids'])
  return g.serialize()
}

function encoderLayer(g: Graph, key: string, x: Value, config: ClipTextConfig, batch: number): Value {
  const { hidden_size: width, layer_norm_eps: epsilon } = config
  const normal = layerNorm(g, `${key}.layer_norm1`, x, epsilon)
  const project = (name: string) => linear(g, `${key}.self_attn.${name}_proj`, normal, width)
  const mixed = attention(g, project('q'), project('k'), project('v'), {
    batch,
    heads: config.num_attention_heads,
    causal: true,
  })
  const attended = add(g, x, linear(g, `${key}.self_attn.out_proj`, mixed, width))
  const inner = linear(
    g,
    `${key}.mlp.fc1`,
    layerNorm(g, `${key}.layer_norm2`, attended, epsilon),
    config.intermediate_size,
  )
  const active =
    config.hidden_act === 'quick_gelu'
      ? g.op('QuickGelu', [inner], inner.dims, { alpha: { float: 1.702 } }, 'com.microsoft')
      : g.op('Gelu', [inner], inner.dims)
  return add(g, attended, linear(g, `${key}.mlp.fc2`, active, width))
}
