/** `node test/kit/together.ts FILE...`: several test files in one process. */
for (const file of process.argv.slice(2)) await import(file)
