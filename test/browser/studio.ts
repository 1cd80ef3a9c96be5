import { createHash } from 'node:crypto'
import pino from 'pino'
import { memoryRateLimiter } from '../../src/adapters/memory/rate-limiter.ts'
import { pictureReader } from '../../src/adapters/pictures/picture-reader.ts'
import { thumbnailer } from '../../src/adapters/pictures/thumbnails.ts'
import { buildHttp, type HttpDeps } from '../../src/http/app.ts'
import type { Services } from '../../src/http/services.ts'
import { anonymousCaller, type Caller, type Credentials } from '../../src/jobs/caller.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { defaultLimits } from '../../src/jobs/fields.ts'
import type { ModelInfo, Offer } from '../../src/jobs/offer.ts'
import type { ImageStore } from '../../src/jobs/ports.ts'
import type { Preview } from '../../src/jobs/previews.ts'
import { invalidRequest, resolveRequest } from '../../src/jobs/request/resolve.ts'
import {
  acceptGranted,
  checkUploadGrant,
  type GrantedUpload,
  grantFollowing,
  grantUpload,
  openFollowing,
  type SentForGrant,
} from '../../src/jobs/serving/grants.ts'
import { isFinal, type JobView } from '../../src/jobs/serving/job-view.ts'
import type { KeptPictures } from '../../src/jobs/serving/kept.ts'
import { withNotes } from '../../src/jobs/serving/notes.ts'
import type { PictureFile } from '../../src/jobs/serving/picture.ts'
import type { SubmitOptions } from '../../src/jobs/serving/submit.ts'
import type { Thumbnail, ThumbnailSide } from '../../src/jobs/serving/thumbnail.ts'
import { acceptUpload, findUpload, uploadFaults } from '../../src/jobs/serving/upload.ts'
import { createWorkspaces } from '../../src/jobs/serving/workspace.ts'
import { testIds } from '../contract/jobs.ts'
import { memoryShelves } from '../kit/shelves.ts'
import { keepingLog } from '../quiet-log.ts'
import { standInOffer } from '../stand-in/engine.ts'
import { ballPng } from './png.ts'

const model: ModelInfo = {
  name: 'packshot-mini',
  width: 256,
  height: 256,
  steps: 20,
  guidance_scale: 5,
  size_multiple: 16,
  family: 'sd1',
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
}

type Change = Partial<
  Pick<JobView, 'status' | 'progress' | 'preview' | 'position' | 'eta_seconds' | 'poll_after_ms' | 'error'>
>

/**
 * The service under a test's control: a job keeps its state until the test advances it, so that every state of the
 * page can be examined and nothing depends on time. Requests are validated as in the real one.
 */
export class Studio implements Services {
  readonly limits = defaultLimits
  /** Set to refuse every request with it. */
  refusal: AppError | undefined
  /** When the card of a new job polls again. A long time keeps it still while a test aims at its buttons. */
  pollAfterMs = 100
  readonly #jobs = new Map<string, JobView>()
  #nextSeed = 7

  /** The model's own description, and the words that it knows. */
  about: Partial<ModelInfo> = {}

  /** What the installation has beside its models. */
  more: Partial<Offer> = {}

  /** The job that was asked to stop with what is done. */
  stopped: string | undefined

  /** Models beside the default. */
  otherModels: ModelInfo[] = []

  offer(): Offer {
    return { ...standInOffer, ...this.more, models: [{ ...model, ...this.about }, ...this.otherModels] }
  }

  /** Uploads are kept as in the real one, and in memory. */
  readonly uploads = new Map<string, Uint8Array>()
  readonly uploadLimits = { bytes: 2_000_000, pixels: 4e6, longest: 3000, kept: 512 * 512 }
  readonly #uploadDeps = {
    ids: testIds,
    images: {
      putUpload: async (id: string, bytes: Uint8Array) => void this.uploads.set(id, bytes),
      getUpload: async (id: string) => this.uploads.get(id),
      openUpload: async (id: string) => {
        const body = this.uploads.get(id)
        return body === undefined ? undefined : { bytes: body.byteLength, body }
      },
      getUploadHead: async (id: string) => this.uploads.get(id),
    } as Pick<ImageStore, 'putUpload' | 'getUpload' | 'openUpload' | 'getUploadHead'> as ImageStore,
    limiter: memoryRateLimiter(),
    space: { take: async () => {} },
    pictures: pictureReader(),
    uploadLimits: this.uploadLimits,
    ttlSeconds: 3600,
    now: () => new Date(),
  }

  async upload(body: Uint8Array, options: { type: string; caller: Caller }) {
    return acceptUpload(this.#uploadDeps, body, options)
  }

  async uploaded(id: string) {
    return findUpload(this.#uploadDeps, id)
  }

  async webhookLog(): Promise<never> {
    throw new AppError('not_found', 'Nothing was sent for this job.')
  }

  async resendWebhook(): Promise<never> {
    throw new AppError('invalid_request', 'The job has no webhook.')
  }

  async webhookSecret() {
    return 'whsec_'
  }

  async count() {}

  async policies() {
    return []
  }

  async remove(id: string) {
    return this.cancel(id)
  }

  async removeUpload(id: string) {
    this.uploads.delete(id)
  }

  caller({ address }: Credentials) {
    return anonymousCaller(address)
  }

  followingGrant(id: string, caller: Caller) {
    return grantFollowing(this.#uploadDeps, id, caller)
  }

  followingGranted(grant: string, client: Caller) {
    return openFollowing(this.#uploadDeps, grant, client)
  }

  async uploadGrant(caller: Caller) {
    return grantUpload(this.#uploadDeps, caller)
  }

  checkUploadGrant(granted: GrantedUpload) {
    checkUploadGrant(this.#uploadDeps, granted)
  }

  async uploadGranted(sent: SentForGrant, body: Uint8Array) {
    return acceptGranted(this.#uploadDeps, sent, body)
  }

  /** The clock of the workspaces. */
  now = () => new Date()

  readonly workspaces = createWorkspaces({
    ids: testIds,
    status: memoryShelves(),
    workspaceLimits: { jobs: 300, looks: 40, seconds: 86_400 },
    requests: memoryRateLimiter(),
    now: () => this.now(),
    log: keepingLog(),
    view: (id) => this.view(id),
  })

  /** Keeps nothing for good: what does is tested with the real core. */
  readonly kept: KeptPictures = {
    limit: 0,
    may: () => false,
    keep: keepsNothing,
    list: keepsNothing,
    ids: keepsNothing,
    view: keepsNothing,
    file: keepsNothing,
    fileOrAddress: keepsNothing,
    thumbnail: keepsNothing,
    remove: keepsNothing,
  }

  readonly #notes = new Map<string, string>()

  async note({ account }: Caller, name: string, text: string) {
    this.#notes.set(`${account}:${name}`, text)
  }

  async noted({ account }: Caller, name: string) {
    return this.#notes.get(`${account}:${name}`)
  }

  async load() {
    return { waiting: 0, workers: 1, secondsPerUnit: undefined }
  }

  async busy() {
    const of = (status: string) => [...this.#jobs.values()].filter((job) => job.status === status).length
    return { running: of('running'), waiting: of('queued') }
  }

  async untilFinal(id: string) {
    return this.view(id)
  }

  /** As the real one: the job as it is, then after each change, until it is final. */
  async *follow(id: string, _caller: Caller, { signal }: { readonly signal: AbortSignal }) {
    for (;;) {
      const view = await this.view(id)
      yield view
      if (isFinal(view) || signal.aborted) return
      await this.#changed(signal)
    }
  }

  #waiting: (() => void)[] = []

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  #set(id: string, view: JobView): void {
    this.#jobs.set(id, view)
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  async preview(): Promise<Preview | undefined> {
    return undefined
  }

  async list() {
    return { jobs: [...this.#jobs.values()].reverse() }
  }

  ready(): boolean {
    return true
  }

  /** As the real one: the picture as it was drawn becomes an upload, and nothing is drawn of it. */
  async refinish(id: string, body: unknown, { caller }: SubmitOptions) {
    const { index = 0, ...asked } = body as { index?: number; finish?: unknown }
    const drawn = (await this.view(id)).images[index]?.original === undefined
    const { open, job } = await (drawn ? this.image(id, index) : this.original(id, index))
    const file = (await open()).body as Uint8Array
    const { id: init_image } = await this.upload(file, { type: 'image/png', caller })
    return this.submit({ ...asked, prompt: job.request?.prompt, strength: 0, init_image })
  }

  async original(id: string, index: number): Promise<PictureFile> {
    const { image, job } = await this.image(id, index)
    if (image.original === undefined) throw new AppError('not_found', 'There is no original here.')
    const body = ballPng(job.request?.width ?? 1, job.request?.height ?? 1)
    return { open: async () => ({ bytes: body.length, body }), image, job, isOriginal: true }
  }

  async imageOrAddress(id: string, index: number) {
    return this.image(id, index)
  }

  readonly #thumbnails = thumbnailer({ atOnce: 2 })

  async thumbnail(id: string, index: number, side: ThumbnailSide): Promise<Thumbnail> {
    const { open, ...picture } = await this.image(id, index)
    const make = () => this.#thumbnails(side, async () => (await open()).body as Uint8Array)
    return { ...picture, side, make }
  }

  async linkedThumbnail(link: string, side: ThumbnailSide) {
    const { id, index } = testIds.pictures.open(link)
    return this.thumbnail(id, index, side)
  }

  async linkedImage(link: string) {
    const { id, index } = testIds.pictures.open(link)
    return this.image(id, index)
  }

  async linkedFile(link: string) {
    return this.linkedImage(link)
  }

  async submit(body: unknown): Promise<JobView> {
    if (this.refusal !== undefined) throw this.refusal
    const { request } = resolveRequest(body, this.offer(), this.limits, this.#nextSeed++)
    const faults = await uploadFaults(this.#uploadDeps, request)
    if (faults.length > 0) throw invalidRequest(faults)
    const id = createHash('sha256').update(`job ${this.#nextSeed}`).digest('base64url').slice(0, 22)
    const view = withNotes(
      {
        id,
        status: 'queued',
        request,
        position: 2,
        eta_seconds: 9,
        poll_after_ms: this.pollAfterMs,
        images: [],
        created_at: '2026-01-01T00:00:00.000Z',
        expires_at: '2099-01-02T00:00:00.000Z',
        links: { self: `/v1/jobs/${id}` },
      },
      this.offer(),
    )
    this.#jobs.set(id, view)
    return view
  }

  async view(id: string): Promise<JobView> {
    const view = this.#jobs.get(id)
    if (view === undefined) throw new AppError('not_found', `There is no job ${id}.`)
    return view
  }

  async cancel(id: string, _caller?: Caller, { keep = false } = {}): Promise<JobView> {
    const view = await this.view(id)
    if (keep) this.stopped = id
    if (view.status === 'queued') this.move({ status: 'canceled' }, id)
    return this.view(id)
  }

  async image(id: string, index: number): Promise<PictureFile> {
    const job = await this.view(id)
    const image = job.images[index]
    if (image === undefined) throw new AppError('not_ready', 'This picture is not finished.')
    const body = ballPng(image.width, image.height)
    return { open: async () => ({ bytes: body.length, body }), image, job }
  }

  get newest(): JobView {
    const view = [...this.#jobs.values()].at(-1)
    if (view === undefined) throw new Error('no job was submitted')
    return view
  }

  get submitted(): number {
    return this.#jobs.size
  }

  move(change: Change, id: string = this.newest.id): void {
    const { poll_after_ms, eta_seconds, position, progress, ...view } = this.#jobs.get(id) ?? this.newest
    const moving = change.status === 'queued' || change.status === 'running'
    const waiting = moving
      ? { poll_after_ms: poll_after_ms ?? this.pollAfterMs }
      : { finished_at: '2026-01-01T00:00:03.400Z' }
    this.#set(id, { ...view, ...waiting, started_at: '2026-01-01T00:00:01.000Z', ...change })
  }

  forget(id: string): void {
    this.#jobs.delete(id)
  }

  /** @param done how many of its pictures; absent: all */
  finish(id: string = this.newest.id, done?: number): void {
    this.move({ status: 'succeeded' }, id)
    const view = this.#jobs.get(id) ?? this.newest
    const { seed = 0, count: all = 1, finish } = view.request ?? {}
    const count = done ?? all
    const { width = 256, height = 256 } = finish ?? view.request ?? {}
    const images = Array.from({ length: count }, (_, index) => ({
      url: `/v1/jobs/${id}/images/${index}`,
      link: `/v1/pictures/${testIds.pictures.issue(id, index)}`,
      width,
      height,
      seed: seed + index,
      sha256: '0'.repeat(64),
      bytes: 1,
      ...(finish && { original: `/v1/jobs/${id}/images/${index}/original` }),
    }))
    this.#set(id, withNotes({ ...view, images }, this.offer()))
  }
}

async function keepsNothing(): Promise<never> {
  throw new AppError('forbidden', 'Nothing is kept here.')
}

/** API and page over this service, ready to be injected into. */
export function buildStudio(studio: Studio, options: Pick<HttpDeps, 'allowedHosts'> = {}) {
  return buildHttp({ services: studio, log: pino({ level: 'silent' }), ...options })
}

/** The same, listening on a free port. Closing it ends open connections too. */
export async function openStudio(studio: Studio): Promise<{ url: string; close(): Promise<void> }> {
  const app = await buildStudio(studio)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return {
    url,
    close: () => {
      app.server.closeAllConnections()
      return app.close()
    },
  }
}
