import { get } from 'node:http'

/**
 * The health check of a container, without a shell and without loading the program: exit status 0 when the process
 * beside it answers that it is ready.
 *
 *   node scripts/health.ts [server | worker]
 *
 * A worker is asked at PACKSHOT_WORKER_PORT, a server at PORT. Without an argument it is the worker where that variable
 * is set: a container has one role.
 */
const limitMs = 4000
const { PORT, PACKSHOT_WORKER_PORT, PACKSHOT_HOST } = process.env
const role = process.argv[2] ?? (PACKSHOT_WORKER_PORT ? 'worker' : 'server')
const port = role === 'worker' ? PACKSHOT_WORKER_PORT || '' : PORT || '8080'
// an address that stands for all of them is none to connect to
const given = PACKSHOT_HOST || '127.0.0.1'
const host = given === '0.0.0.0' ? '127.0.0.1' : given === '::' ? '::1' : given

/** Sets the exit status; the sentence is kept by Docker as the output of the check. */
function end(status: number, sentence: string): never {
  console.log(sentence)
  process.exit(status)
}

if (!/^[1-9]\d{0,4}$/.test(port)) {
  const name = role === 'worker' ? 'PACKSHOT_WORKER_PORT' : 'PORT'
  end(1, `${name} must be set to the port that the ${role} listens on: "${port}" is none.`)
}
const request = get({ host, port: Number(port), path: '/healthz/ready' }, (response) => {
  response.resume()
  const { statusCode } = response
  end(statusCode === 200 ? 0 : 1, `${role}: ${statusCode === 200 ? 'ready' : `not ready (${statusCode})`}`)
})
request.on('error', (error) => end(1, `${role}: no answer from ${host} port ${port} (${error.message})`))
setTimeout(() => end(1, `${role}: no answer in ${limitMs / 1000} s`), limitMs)
