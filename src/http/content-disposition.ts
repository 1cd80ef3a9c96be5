const longestWords = 48

/**
 * The name parameters of a content-disposition header for a picture: the prompt's first words and the seed. The
 * plain form is ASCII only; a second one (RFC 6266) keeps letters of other scripts.
 */
export function fileName(prompt: string, seed: number, extension: string): string {
  const words = prompt.toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, '-')
  const cut = [...words].slice(0, longestWords).join('')
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
