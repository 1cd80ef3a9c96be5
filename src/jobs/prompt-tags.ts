/** What AUTOMATIC1111 takes out of a prompt before it draws the rest: comments, and tags in angle brackets. */

/** A name, a colon and anything: `<segment:blue box:0.5>` (its `re_extra_net`). */
const tag = /<\w+:[^>]+>/g

/** The prompt as it is drawn: tags that nobody here knows are left out, as AUTOMATIC1111 does. */
export function withoutTags(prompt: string): string {
  return prompt.replaceAll(tag, '')
}

/** The tags of a prompt, each once. */
export function tagsIn(prompt: string): string[] {
  return [...new Set(prompt.match(tag) ?? [])]
}

/** Whatever follows a `#` on its line is a comment (its `strip_comments`). */
export function withoutComments(prompt: string): string {
  return prompt.replaceAll(/#[^\n\r\u2028\u2029]*/gu, '')
}
