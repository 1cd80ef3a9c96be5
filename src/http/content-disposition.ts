const longestWords = 48

/** The name of a picture in a ZIP, without its extension. */
export function zipName(prompt: string, seed: number): string {
  return `${wordsOf(prompt).replace(/^-+|-+$/g, '') || 'packshot'}-${seed}`
}

function wordsOf(prompt: string): string {
  const words = prompt.toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, '-')
  return [...words].slice(0, longestWords).join('')
}

/**
 * The name parameters of a content-disposition header for a picture: the prompt's first words and the seed. The
 * plain form is ASCII only; a second one (RFC 6266) keeps letters of other scripts.
 */
export function fileName(prompt: string, seed: number, extension: string): string {
  const cut = wordsOf(prompt)
  const name = (text: string) => `${text.replace(/^-+|-+$/g, '') || 'packshot'}-${seed}.${extension}`
  const full = name(cut)
  const plain = name(
    cut
      .normalize('NFD')
      .replace(/\p{M}/gu, '')
      .replace(/[^a-z0-9]+/g, '-'),
  )
  return full === plain
    ? `filename="${plain}"`
    : `filename="${plain}"; filename*=UTF-8''${encodeURIComponent(full)}`
}
