import { pathToFileURL } from 'node:url'

/** `node test/kit/together.ts FILE...`: several test files in one process. */
for (const file of process.argv.slice(2)) await import(pathToFileURL(file).href)
