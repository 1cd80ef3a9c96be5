/** What the models folder must know of the engine; `main/` passes it in. Faults are errors whose message names file and reason. */
export interface Inspect {
  /** Reads as little as tells what a `.safetensors` file or a model folder is. Rejects for a damaged file. */
  identify(path: string): Promise<Identity>
  /** Opens a model as for making pictures, and checks all of it but the numbers. */
  checkModel(path: string): Promise<void>
  /** Reads every number of a file: rejects when one is infinite or not a number. */
  checkFinite(path: string): Promise<void>
}

export interface Identity {
  readonly kind: 'checkpoint' | 'vae' | 'lora' | 'embedding' | 'other'
  /** Such as `sd1`. */
  readonly family: string
  /** For a sentence that begins with "this is". */
  readonly description: string
  /** Of most of the numbers, such as `F16`. */
  readonly dtype: string
  readonly parameters: number
}

/** What this engine makes pictures with. */
export const ownFamily = 'sd1'
