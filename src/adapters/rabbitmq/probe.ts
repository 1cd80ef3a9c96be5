import { connect as connectPlain } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Address } from './address.ts'

const answerMs = 5000

/**
 * Whether something other than AMQP answers at a port that is not one of AMQP's own, such as the management page at
 * 15672: the library treats the first bytes of any answer as the length of a frame, and the error that follows ends
 * the process. Also false if nothing answers. RabbitMQ logs the probe, so the usual ports are not probed.
 */
export function answersOtherwise(address: Address): Promise<boolean> {
  const { hostname: host, port, tls } = address
  if (port === 5671 || port === 5672) return Promise.resolve(false)
  const socket = tls ? connectTls({ host, port }) : connectPlain({ host, port })
  const { promise, resolve } = Promise.withResolvers<boolean>()
  socket.setTimeout(answerMs, () => resolve(false))
  socket.on('error', () => resolve(false))
  socket.on('close', () => resolve(false))
  // a method frame begins with 1, a protocol header ("another version, please") with A
  socket.on('data', (bytes) => resolve(bytes[0] !== 1 && bytes[0] !== 'A'.charCodeAt(0)))
  socket.write('AMQP\x00\x00\x09\x01')
  return promise.finally(() => socket.destroy())
}
