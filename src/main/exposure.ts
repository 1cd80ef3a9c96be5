import type { Config } from '../config.ts'
import type { Log } from '../jobs/log.ts'

/** Warns when everybody who reaches this machine can use the service, and says what to set. */
export function warnIfOpen({ host, port, trustedProxies, jobsPerMinute }: Config, log: Log): void {
  if (isLoopback(host) || trustedProxies !== undefined) return
  const limit = jobsPerMinute === 0 ? ' PACKSHOT_JOBS_PER_MINUTE limits each client.' : ''
  log.warn(
    { host, port },
    `Packshot is open to the network without a login: everybody who reaches ${host} port ${port} can make jobs, upload pictures and see the models. Put a proxy with TLS and access control in front and name it in PACKSHOT_TRUSTED_PROXIES, or set PACKSHOT_HOST=127.0.0.1.${limit}`,
  )
}

function isLoopback(host: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d{1,3}){1,3}|\[?::1\]?|::ffff:127(\.\d{1,3}){3})$/i.test(host)
}
