import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { stretched } from '../kit/waiting.ts'
import { speaksAmqp } from './answers.ts'
import { runTool, type ServiceControl, serviceFolder, startDaemon, startService } from './daemon.ts'
import { freePort } from './free-port.ts'
import { leanRabbitmq } from './lean-rabbitmq.ts'
import { areOnPath, ensureInstalled } from './packages.ts'

/**
 * What deploy/compose.yaml sets too, in milliseconds. Letters that were on their way while the broker started are sent
 * again only after this time; three minutes, the default of RabbitMQ, are longer than tests wait.
 */
export const letterTimeoutMs = 10_000

/**
 * How often each quorum queue brings the node's statistics up to date, in milliseconds: what metrics and `info` tell, not
 * what a client is told. By default every 5 s, which for the queues of ten fleets costs 3 % of a core.
 */
const tickMs = 60_000

/** The scripts themselves: those of /usr/sbin change the user and refuse any other than root and rabbitmq. */
const binaries = '/usr/lib/rabbitmq/bin'

const rabbitmqIsInstalled = () =>
  existsSync(join(binaries, 'rabbitmq-server')) && areOnPath('epmd', 'erl_call')

export interface RabbitmqService extends ServiceControl {
  /** With the user `guest` and the virtual host `/`. */
  readonly url: string
  readonly port: number
  /** Where `/metrics` is answered, with the option `metrics`. */
  readonly metricsPort: number | undefined
  /** Evaluates an Erlang expression in this node and resolves with its value as text; what rabbitmqctl does at a hundredth of its cost. */
  evaluate(expression: string): Promise<string>
  /** Lets queues that are declared from now on bring the statistics that `evaluate` reads up to date each second. */
  keepStatistics(): Promise<unknown>
  /** Makes the node believe that its disk is nearly full, or ends that. */
  setShortOfDisk(isShort: boolean): Promise<void>
}

/**
 * A line of its config by which silence is noticed in 4 seconds rather than 20: the shorter time of the two sides
 * counts. Longer where processes may stand still for as long.
 */
export function shortHeartbeat(): string {
  return `heartbeat = ${stretched(2)}`
}

/**
 * A RabbitMQ node of this test alone, without plugins but, with `metrics`, that of Prometheus. Its data is on disk: what was confirmed on a durable queue is
 * there again after `kill` and `start`. Once it accepts connections, the leader of a quorum queue may still be
 * missing for a moment.
 *
 * `config` are lines of rabbitmq.conf, for instance `consumer_timeout = 5000` (milliseconds; 3.10 looks at it once a
 * minute unless `channel_tick_interval` is set by `evaluate`) or `disk_free_limit.absolute = 1MB`.
 */
export async function startRabbitmq(
  t: Cleanup,
  options: { config?: readonly string[]; metrics?: boolean } = {},
): Promise<RabbitmqService> {
  await ensureInstalled('RabbitMQ 3.10 or later', rabbitmqIsInstalled)
  const cleanup = groupOf(t)
  const folder = serviceFolder(cleanup)
  const [port, epmdPort, distributionPort] = [await freePort(), await freePort(), await freePort()]
  const metricsPort = options.metrics === true ? await freePort() : undefined
  const env = nodeEnvironment(folder, epmdPort, distributionPort, {
    dead_letter_worker_publisher_confirm_timeout: letterTimeoutMs,
    ...(metricsPort === undefined && { quorum_tick_interval: tickMs }),
  })
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    'log.file = false',
    'log.console = true',
    ...(metricsPort === undefined
      ? []
      : ['prometheus.tcp.ip = 127.0.0.1', `prometheus.tcp.port = ${metricsPort}`]),
    ...(options.config ?? []),
  ]
  writeFileSync(join(folder, 'rabbitmq.conf'), `${config.join('\n')}\n`)
  writeFileSync(join(folder, 'enabled_plugins'), metricsPort ? '[rabbitmq_prometheus].\n' : '[].\n')
  mkdirSync(env.HOME)
  writeFileSync(join(env.HOME, '.erlang.cookie'), randomBytes(16).toString('hex'), { mode: 0o400 })

  const plugins = ['rabbit', ...(metricsPort === undefined ? [] : ['rabbitmq_prometheus'])]
  const server = leanRabbitmq(join(binaries, 'rabbitmq-server'), join(folder, 'server'), plugins)

  // our own, in the foreground: one that Erlang starts is a daemon that outlives every test
  startDaemon(cleanup, { name: 'epmd', file: 'epmd', args: [], env, folder })
  const control = await startService(cleanup, { name: 'rabbitmq', file: server, args: [], env, folder }, () =>
    speaksAmqp(port),
  )
  const args = ['-r', '-sname', env.RABBITMQ_NODENAME, '-e']
  const call = { name: 'erl_call', file: 'erl_call', args, env, folder }
  const evaluate = async (expression: string) => {
    const told = (await runTool(call, 60_000, `${expression}.\n`)).trim()
    const value = /^\{ok, (.*)\}$/s.exec(told)?.[1]
    if (value === undefined) throw new Error(`RabbitMQ evaluated ${expression} to ${told}`)
    return value
  }
  return {
    ...control,
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    metricsPort,
    evaluate,
    keepStatistics: () => evaluate('application:set_env(rabbit, quorum_tick_interval, 1000)'),
    async setShortOfDisk(isShort) {
      const limit = isShort ? '1000000GB' : '50MB'
      await evaluate(`ok = rabbit_disk_monitor:set_disk_free_limit("${limit}")`)
    },
  }
}

/** @param settings of the application `rabbit`: those that are no lines of rabbitmq.conf */
function nodeEnvironment(
  folder: string,
  epmdPort: number,
  distributionPort: number,
  settings: Readonly<Record<string, number>>,
) {
  const given = Object.entries(settings).map(([name, value]) => ` -rabbit ${name} ${value}`)
  return {
    HOME: join(folder, 'home'),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_AFLAGS: '-start_epmd false',
    RABBITMQ_NODENAME: 'packshot@localhost',
    RABBITMQ_BASE: folder,
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'advanced.config'),
    // a file that is not there, so that the settings of the machine's own RabbitMQ are not read
    RABBITMQ_CONF_ENV_FILE: join(folder, 'rabbitmq-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_DIST_PORT: String(distributionPort),
    // "input" makes the script exec Erlang instead of waiting for it as a child: the process id is the server's
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_START_ARGS: '-noinput',
    // two schedulers cost a tenth more of the processor: they wake and wait for each other
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}${given.join('')}`,
  }
}
