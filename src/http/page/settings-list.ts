import type { Finish } from '../../jobs/finish.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import type { CardOptions } from './card.ts'
import { marginText, sizeText } from './form-finish.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import { secondsTaken } from './words.ts'

/** Everything that decided the pictures of a job, to read. */
export function settingsList(view: JobView, { models }: Pick<CardOptions, 'models'>): Html | false {
  const { request } = view
  if (request === undefined || view.status !== 'succeeded') return false
  const taken = secondsTaken(view)
  const loras = request.loras?.map(({ name, strength }) => `${name} ${strength}`).join(', ')
  const model = models?.find(({ name }) => name === request.model)
  const seed = html`<a class="seed-link" href="${againAddress(view.id, request, request.seed, request.count, model)}" data-fill title="Fill in the form with this seed: it makes the same picture">${request.seed}</a>`
  const rows: [string, Html | string | number | undefined | false][] = [
    ['Model', request.model],
    ['Words', request.prompt],
    ['Avoid', request.negative_prompt],
    ['Seed', seed],
    ['Drawn at', `${request.width} × ${request.height}`],
    ['Steps', request.steps],
    ['Guidance', request.guidance_scale],
    ['Sampler', `${request.sampler}, ${request.schedule}`],
    ['LoRAs', loras],
    ['VAE', request.vae],
    ['CLIP skip', request.clip_skip],
    ['Pace', request.pace],
    ['Precision', request.precision],
    ['Eta', request.eta],
    ['Guidance until', request.guidance_end !== undefined && percent(request.guidance_end)],
    ['Timesteps', request.timesteps?.join(', ')],
    ['Photo', request.init_image !== undefined && photoOf(request)],
    ['Drawn again', request.hires && `${request.hires.width} × ${request.hires.height}`],
    ['Enlarged by', request.upscaler],
    ['Decoder', request.decoder],
    ['Finish', request.finish && finishOf(request.finish)],
    ['Tries', request.gate && `up to ${request.gate.tries}`],
    ['Time', taken !== undefined && `${taken.toFixed(1)} s`],
  ]
  const shown = rows.filter(([, value]) => value !== undefined && value !== '' && value !== false)
  return html`<details class="job-settings"><summary>All settings</summary>
<dl class="facts">${shown.map(([name, value]) => html`<div><dt>${name}</dt><dd dir="auto">${value}</dd></div>`)}</dl></details>`
}

function photoOf({ keep, strength = 1 }: ResolvedRequest): string {
  if (strength === 0) return keep === undefined ? 'finished as it is' : 'cut out'
  return keep === undefined ? `changed by ${percent(strength)}` : 'product kept'
}

function finishOf({ preset, background, fill, width, height, margin, shadow, max_bytes }: Finish): string {
  const margins = marginText(margin)
  const said = [
    preset,
    `${width} × ${height}`,
    background.startsWith('#') || background === 'transparent' ? background : undefined,
    fill !== undefined && `fills ${fill} %`,
    margins !== '' && `margins ${margins} %`,
    shadow !== 'none' && `${shadow} shadow`,
    max_bytes !== undefined && `at most ${sizeText(max_bytes)}`,
  ]
  return said.filter((each) => typeof each === 'string').join(', ')
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
