import { type Html, html } from './html.ts'

/** A studio set: paper on a roll, a soft box, three products. Colours come from the style sheet. */
export function stillLife(): Html {
  return html`<svg class="still-life" viewBox="0 0 360 232" width="360" height="232" aria-hidden="true" focusable="false">
<path class="sl-stand" d="M76 26v186M284 26v186M66 26h228"/>
<path class="sl-paper" d="M88 28h184v112c0 34 22 56 52 66H36c30-10 52-32 52-66z"/>
<path class="sl-fold" d="M88 140c0 34-22 56-52 66h288c-30-10-52-32-52-66-26 15-56 22-92 22s-66-7-92-22z"/>
<path class="sl-beam" d="m262 44 38 34-78 116H96z"/>
<ellipse class="sl-shadow" cx="136" cy="186" rx="30" ry="6"/><ellipse class="sl-shadow" cx="192" cy="188" rx="52" ry="8"/><ellipse class="sl-shadow" cx="238" cy="194" rx="26" ry="5"/>
<path class="sl-bottle" d="M128 84h18v22c0 9 13 13 13 30v44a6 6 0 0 1-6 6h-32a6 6 0 0 1-6-6v-44c0-17 13-21 13-30z"/><path class="sl-cork" d="M127 76h20v10h-20z"/><path class="sl-label" d="M115 142h44v26h-44z"/>
<path class="sl-front" d="m192 112-34 12v50l34 14z"/><path class="sl-side" d="m192 112 34 12v50l-34 14z"/><path class="sl-top" d="m192 100 34 13v11l-34 14-34-14v-11z"/>
<circle class="sl-fruit" cx="236" cy="172" r="22"/><path class="sl-stem" d="M236 151c0-6 2-9 6-11"/>
<path class="sl-stand" d="m290 62 22 148"/><path class="sl-lamp" d="m256 42 34-16 20 44-38 18z"/>
</svg>`
}
