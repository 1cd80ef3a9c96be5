import type { StoredTensor } from '../safetensors/safetensors.ts'

/** How files of upscalers are recognised by their keys. */

type Tensors = ReadonlyMap<string, StoredTensor>

/** What trainers write around the weights; the averaged ones are those that are used. */
const wrappers = ['params_ema.', 'params.', 'module.', 'generator.']

/** The weights without the prefix that all of them have; of two sets the averaged one. */
export function withoutWrapper(tensors: Tensors): Tensors {
  const wrapper = wrappers.find((prefix) => [...tensors.keys()].some((key) => key.startsWith(prefix)))
  if (wrapper === undefined) return tensors
  const inside = [...tensors].filter(([key]) => wrapper !== 'params_ema.' || !key.startsWith('params.'))
  return new Map(
    inside.map(([key, tensor]) => [key.startsWith(wrapper) ? key.slice(wrapper.length) : key, tensor]),
  )
}

/** Networks that enlarge pictures and cannot be used here; the first match counts. */
const others: readonly (readonly [string, RegExp])[] = [
  ['HAT', /^layers\.\d+\.residual_group\.overlap_attn\./],
  ['DAT', /^(before_RG\.|layers\.\d+\.blocks\.\d+\.attn\.attns\.)/],
  ['Swin2SR', /^layers\.\d+\.residual_group\.blocks\.\d+\.attn\.logit_scale$/],
  ['SRFormer', /^layers\.\d+\.residual_group\.blocks\.\d+\.attn\.aligned_relative_position_index$/],
  ['SwinIR', /^layers\.\d+\.residual_group\.blocks\.\d+\.attn\./],
  ['OmniSR', /^residual_layer\.\d+\.residual_layer\./],
  ['SPAN', /^block_1\.c1_r\./],
  ['PLKSR', /^feats\.\d+\.(channel_mixer|lk)\./],
  ['Real-CUGAN', /^unet1\.conv1\./],
  ['SCUNet', /^m_down1\.\d+\./],
  ['GFPGAN or CodeFormer (faces)', /^(stylegan_decoder|position_emb|fuse_convs_dict)\b/],
  ['EDSR or RCAN', /^(head\.0\.(weight|bias)|sub_mean\.weight)$/],
  ['ESRGAN+', /\.RDB1\.conv1x1\.weight$/],
]

/** A layer of RRDBNet by each of its names. */
const dense = ['body.0.rdb1.conv1', 'model.1.sub.0.RDB1.conv1.0', 'RRDB_trunk.0.RDB1.conv1']

/** Why a file of an upscaler cannot be used, or that it can; undefined for any other file. */
export function upscalerKind(
  tensors: Tensors,
): { readonly name: string; readonly usable: boolean } | undefined {
  const inner = withoutWrapper(tensors)
  const keys = [...inner.keys()]
  const other = others.find(([, pattern]) => keys.some((key) => pattern.test(key)))
  if (other !== undefined) return { name: other[0], usable: false }
  if (dense.some((layer) => inner.has(`${layer}.weight`))) return { name: 'RRDBNet', usable: true }
  const flat = keys.every((key) => /^body\.\d+\.(weight|bias)$/.test(key))
  if (flat && inner.get('body.0.weight')?.shape.length === 4) return { name: 'SRVGG', usable: true }
  return undefined
}
