/** Ten kinds that are unlike one another: round, with a hole, with a handle, of glass, of metal, white, with thin parts. */
const kinds = [
  'a red apple',
  'a pink doughnut',
  'a blue mug',
  'a bottle of orange juice',
  'a green wine bottle',
  'a silver soda can',
  'a milk carton',
  'a white teapot',
  'a pair of cherries',
  'a cupcake',
]
const grounds = ['on white', 'on a dark background', 'on light blue paper', 'on a wooden table', 'on marble']

/** So many prompts: the kinds in turn, and for each kind the grounds in turn. */
export function drawnPrompts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const ground = grounds[Math.floor(i / kinds.length) % grounds.length]
    return `${kinds[i % kinds.length]} ${ground}`
  })
}
