import { type AppliedLora, sameLoras } from '../lora/plan.ts'
import type { ModelSessions } from '../model-sessions.ts'
import { type Networks, networksFor } from '../networks.ts'

/** A model's UNet and VAE decoder in eight bits, made when they are first asked for. */
export class InEightBits {
  readonly #open: (() => Promise<ModelSessions>) | undefined
  #opening: Promise<ModelSessions> | undefined
  #sessions: ModelSessions | undefined
  #last: { readonly loras: readonly AppliedLora[]; readonly networks: Networks } | undefined

  /** @param open prepares the weights; absent: the model cannot be had in eight bits */
  constructor(open: (() => Promise<ModelSessions>) | undefined) {
    this.#open = open
  }

  /** Memory that they hold, approximately. */
  get bytes(): number {
    return this.#sessions?.bytes ?? 0
  }

  /** @throws CheckpointError naming a weight that is infinite or NaN */
  async sessions(): Promise<ModelSessions> {
    if (this.#open === undefined) throw new Error('this model cannot be had in eight bits')
    // several pictures may ask at the same time
    this.#opening ??= this.#open()
    try {
      this.#sessions = await this.#opening
      return this.#sessions
    } catch (thrown) {
      this.#opening = undefined
      throw thrown
    }
  }

  /** The networks of a model with these two in place of its own. @throws as `sessions` */
  async networks(exact: Networks, loras: readonly AppliedLora[]): Promise<Networks> {
    const sessions = await this.sessions()
    if (this.#last === undefined || !sameLoras(this.#last.loras, loras)) {
      const { predict, decode } = networksFor(sessions, loras)
      this.#last = { loras, networks: { ...exact, predict, decode } }
    }
    return this.#last.networks
  }

  async close(): Promise<void> {
    await this.#sessions?.close()
  }
}
