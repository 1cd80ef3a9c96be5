import { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node'
import { ProviderError } from '../errors.ts'
import { type Attention, Graph, type Precision } from '../graph/graph.ts'
import { withoutWeights } from '../graph/without-weights.ts'
import { attentionProbe, probeFeeds, probeLimit } from '../models/attention-probe.ts'
import { type Provider, Session } from './session.ts'

/** A provider that was tried on this machine. */
export interface Device {
  readonly provider: Provider
  /** What it computes in: half precision where the device has it, so that weights stay as small as they are stored. */
  readonly precision: Precision
  readonly attention: Attention
  /** Why those that were wanted more are not used, a sentence each. */
  readonly passedOver: readonly string[]
}

const remedies: Readonly<Record<Provider, string>> = {
  cpu: 'onnxruntime-node is damaged: install the packages again.',
  webgpu: 'It needs a GPU with a Vulkan, Metal or Direct3D 12 driver that this process may use.',
  cuda: "It needs an NVIDIA GPU, CUDA 12 with cuDNN 9, and ONNX Runtime's CUDA libraries (docs/operating.md says how to install them).",
}

/**
 * The first of the wanted providers that computes a small graph rightly here, tried in their order.
 * @throws ProviderError with a sentence for each, when none does
 */
export async function findDevice(wanted: readonly Provider[]): Promise<Device> {
  const passedOver: string[] = []
  for (const provider of wanted) {
    const fault = await faultOf(provider, 'float32')
    if (fault === undefined) {
      const half = provider !== 'cpu' && (await faultOf(provider, 'float16')) === undefined
      const precision = half ? 'float16' : 'float32'
      return { provider, precision, attention: await attentionOf(provider, precision), passedOver }
    }
    passedOver.push(`The provider ${provider} cannot be used here: ${fault}. ${remedies[provider]}`)
  }
  throw new ProviderError(passedOver.join(' '))
}

/** Undefined when the provider computes x * x of a small tensor. */
async function faultOf(provider: Provider, precision: Precision): Promise<string | undefined> {
  if (!listSupportedBackends().some(({ name }) => name === provider)) {
    return 'this build of ONNX Runtime does not have it'
  }
  try {
    const session = await InferenceSession.create(probeGraph(precision), {
      executionProviders: [provider],
      intraOpNumThreads: 1,
      // what falls back to the CPU would prove nothing
      extra: { session: { disable_cpu_ep_fallback: provider === 'cpu' ? '0' : '1' } },
      logSeverityLevel: 4,
    })
    const values = Float32Array.of(1, 2, 3, 4)
    const { y } = await session.run({ x: new Tensor('float32', values, [4]) })
    await session.release()
    const right = values.every((value, i) => y?.data[i] === value * value)
    return right ? undefined : 'it computes wrong numbers'
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    // ONNX Runtime puts the source line and the condition that failed before what it has to say
    const [line = message] = message.replace(/^.*? was (?:true|false)\. /, '').split('\n', 1)
    return line.slice(0, 200)
  }
}

/** Whether the fused kernel is right here: on some devices that of WebGPU is wrong, and says nothing. */
async function attentionOf(provider: Provider, precision: Precision): Promise<Attention> {
  if (provider === 'cpu') return 'fused'
  const session = await Session.create(attentionProbe(precision), '', { provider })
  const differences = await session.run(probeFeeds())
  await session.release()
  // written so that NaN counts as wrong
  return differences.every((difference) => Math.abs(difference) < probeLimit) ? 'fused' : 'plain'
}

/** x * x for four numbers. */
function probeGraph(precision: Precision): Uint8Array {
  const g = new Graph('probe', withoutWeights(precision))
  const x = g.input('x', [4])
  g.output('y', g.op('Mul', [x, x], x.dims))
  return g.serialize()
}
