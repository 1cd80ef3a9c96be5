import { connect } from 'node:net'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { speaksRedis } from './answers.ts'
import { type ServiceControl, serviceFolder, startService } from './daemon.ts'
import { freePort } from './free-port.ts'
import { areOnPath, ensureInstalled } from './packages.ts'

export interface RedisService extends ServiceControl {
  readonly url: string
  readonly port: number
  /**
   * Sends one command without a client library and resolves with the raw reply, for instance `+OK\r\n`; rejects
   * with the text of an error reply. For what a test does to the server: CONFIG SET, FLUSHALL, CLIENT KILL.
   */
  cli(...words: string[]): Promise<string>
}

/**
 * A Redis of this test alone, in memory: after `kill` or `stop` its data is gone.
 *
 * `config` are lines of redis.conf, for instance `maxmemory 2mb`.
 */
export async function startRedis(
  t: Cleanup,
  options: { config?: readonly string[] } = {},
): Promise<RedisService> {
  await ensureInstalled('Redis 7 or later', () => areOnPath('redis-server'))
  const cleanup = groupOf(t)
  const folder = serviceFolder(cleanup)
  const port = await freePort()
  const config = [
    `port ${port}`,
    'bind 127.0.0.1',
    'save ""',
    'appendonly no',
    `dir ${folder}`,
    ...(options.config ?? []),
  ]
  const args = config.flatMap((line) => {
    const [key, ...values] = line.split(' ')
    return [`--${key}`, ...values.map((value) => (value === '""' ? '' : value))]
  })
  const cli = (...words: string[]) => redisCommand(port, words)
  const control = await startService(cleanup, { name: 'redis', file: 'redis-server', args, folder }, () =>
    speaksRedis(port),
  )
  return { ...control, url: `redis://127.0.0.1:${port}`, port, cli }
}

/** One command over a connection of its own; the reply ends where the server closes after QUIT. */
function redisCommand(port: number, words: readonly string[]): Promise<string> {
  const encode = (parts: readonly string[]) =>
    `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`
  return new Promise((resolve, reject) => {
    let reply = ''
    const socket = connect(port, '127.0.0.1')
    socket.setTimeout(60_000, () => socket.destroy(new Error('Redis did not answer within a minute')))
    socket.setEncoding('utf8')
    socket.on('data', (text) => {
      reply += text
    })
    socket.on('error', reject)
    socket.on('end', () => {
      const answer = reply.replace(/\+OK\r\n$/, '')
      if (answer.startsWith('-')) reject(new Error(answer.slice(1).trim()))
      else resolve(answer)
    })
    socket.write(encode(words) + encode(['QUIT']))
  })
}
