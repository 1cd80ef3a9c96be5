import { join } from 'node:path'
import { env, InferenceSession, type InferenceSession as Ort, Tensor } from 'onnxruntime-node'
import { usableCores } from './threads.ts'

/** Where graphs run: ONNX Runtime's execution providers, by their names there. */
export type Provider = 'cpu' | 'webgpu' | 'cuda'

/**
 * `fast`: weights are packed into private memory for the kernels. `packed`: packed once and mapped from files, so that a
 * model is ready in a second or two, computes as fast, and processes share the memory. `dense`: float32 weights stay
 * mapped from their file, one for all sizes of pictures, for some speed (docs/performance.md).
 */
export const profiles = ['fast', 'packed', 'dense'] as const
export type Profile = (typeof profiles)[number]

/** Of ONNX Runtime. */
export const runtimeVersion: string = env.versions.node ?? env.versions.common

export interface SessionOptions {
  readonly provider: Provider
  /** Only the CPU knows the difference. */
  readonly profile?: Profile | undefined
  /** Threads of one operator; when not given, one for each core that this process may use. */
  readonly threads?: number | undefined
}

/**
 * Weights of fewer bytes stay in the graph. ONNX Runtime begins those from 1 MiB on (`align_threshold` of its
 * `ModelSavingOptions`) at a page of the file and all others anywhere: its kernels read packed weights with instructions that
 * need an aligned address, and the process ends with a segmentation fault where a mapped one is at another.
 */
export const leastMapped = 2 ** 20

/** A tensor that goes in: float32 or int32, row-major. */
export interface Feed {
  readonly data: Float32Array | Int32Array
  readonly dims: readonly number[]
}

/**
 * One graph, ready to run. The only file, with provider.ts, that knows ONNX Runtime. `run` blocks its thread while it
 * computes (the binding calls the library synchronously), so it belongs into a thread of its own.
 */
export class Session {
  readonly #session: Ort
  readonly #output: string

  private constructor(session: Ort) {
    this.#session = session
    this.#output = session.outputNames[0] as string
  }

  /**
   * @param graph a serialized ModelProto whose weights are external data
   * @param folder where the weights lie; ONNX Runtime refuses paths that leave it
   */
  static async create(graph: Uint8Array, folder: string, options: SessionOptions): Promise<Session> {
    const mapped = options.provider === 'cpu' && options.profile === 'dense'
    return new Session(
      await InferenceSession.create(
        graph,
        settings(options, {
          // 'all' would lay weights of convolutions out anew, which is a copy
          level: mapped ? 'extended' : 'all',
          model_external_initializers_file_folder_path: folder,
          ...(mapped && { disable_prepacking: '1' }),
        }),
      ),
    )
  }

  /**
   * Writes the graph as it is optimized for this processor, with packed weights in a file of its own, for `fromPacked`.
   * Holds the weights in memory twice meanwhile. Without a weight that is large enough there is no such file.
   * @param graph, folder as for `create` @param target an existing folder, and names of files in it
   */
  static async pack(
    graph: Uint8Array,
    folder: string,
    target: { readonly folder: string; readonly graph: string; readonly weights: string },
    options: SessionOptions,
  ): Promise<void> {
    const session = await InferenceSession.create(graph, {
      ...settings(options, {
        level: 'all',
        model_external_initializers_file_folder_path: folder,
        save_external_prepacked_constant_initializers: '1',
        optimized_model_external_initializers_file_name: target.weights,
        optimized_model_external_initializers_min_size_in_bytes: String(leastMapped),
      }),
      optimizedModelFilePath: join(target.folder, target.graph),
    })
    await session.release()
  }

  /** @param graph, folder as `pack` wrote them, on this processor, with this version of ONNX Runtime */
  static async fromPacked(graph: Uint8Array, folder: string, options: SessionOptions): Promise<Session> {
    const level = 'disabled'
    const made = settings(options, { level, model_external_initializers_file_folder_path: folder })
    return new Session(await InferenceSession.create(graph, made))
  }

  /**
   * A graph that has its weights in itself, of a file. Its own shapes may be open.
   * @param path of a file that was checked: ONNX Runtime would follow references to others
   */
  static async fromFile(path: string, { provider, threads }: SessionOptions): Promise<Session> {
    const session = await InferenceSession.create(path, {
      executionProviders: [provider],
      // a plan for each size of picture would never be given back
      enableMemPattern: false,
      enableCpuMemArena: false,
      intraOpNumThreads: threads ?? usableCores(),
      logSeverityLevel: 3,
      extra: { session: { set_denormal_as_zero: '1' } },
    })
    return new Session(session)
  }

  /** @returns the graph's first output */
  async run(feeds: Readonly<Record<string, Feed>>): Promise<Float32Array> {
    const tensors: Record<string, Tensor> = {}
    for (const [name, { data, dims }] of Object.entries(feeds)) {
      tensors[name] =
        data instanceof Int32Array ? new Tensor('int32', data, dims) : new Tensor('float32', data, dims)
    }
    const result = await this.#session.run(tensors, [this.#output])
    return result[this.#output]!.data as Float32Array
  }

  async release(): Promise<void> {
    await this.#session.release()
  }
}

/** @param extra keys of ONNX Runtime's configuration, without `session.` */
function settings(
  { provider, threads }: SessionOptions,
  { level, ...extra }: { level: 'all' | 'extended' | 'disabled' } & Readonly<Record<string, string>>,
): Ort.SessionOptions {
  return {
    executionProviders: [provider],
    graphOptimizationLevel: level,
    // a plan of all allocations would be a second copy of the arena, and computes no faster
    enableMemPattern: false,
    intraOpNumThreads: threads ?? usableCores(),
    // 3 = errors; the warnings are about unused initializers after constant folding
    logSeverityLevel: 3,
    extra: { session: { set_denormal_as_zero: '1', ...extra } },
  }
}
