import { cpSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * RabbitMQ as it is installed, without the sixty plugins that a test does not enable: it looks through all of them at each
 * start, which is half of what a start costs.
 * @param script `rabbitmq-server`, or a link to it
 * @param folder is made, with links to what is installed
 * @param wanted applications, whose dependencies are found
 * @returns the script to start; the given one where RabbitMQ is laid out in another way
 */
export function leanRabbitmq(script: string, folder: string, wanted: readonly string[]): string {
  const home = dirname(dirname(realpathSync(script)))
  const plugins = join(home, 'plugins')
  const installed = new Map(readdirSync(plugins).map((name) => [name.replace(/-\d[^-]*$/, ''), name]))
  const needed = new Set(wanted)
  for (const name of needed) {
    const place = installed.get(name)
    // those of Erlang itself are elsewhere
    if (place !== undefined) for (const each of dependencies(join(plugins, place), name)) needed.add(each)
  }
  if (wanted.some((name) => !installed.has(name)) || needed.size === wanted.length) return script
  mkdirSync(join(folder, 'plugins'), { recursive: true })
  for (const name of needed) {
    const place = installed.get(name)
    if (place !== undefined) symlinkSync(join(plugins, place), join(folder, 'plugins', place))
  }
  // by where they are, the scripts find the plugins
  cpSync(join(home, 'sbin'), join(folder, 'sbin'), { recursive: true, dereference: true })
  return join(folder, 'sbin/rabbitmq-server')
}

/** From the list `applications` of its description; none for what is not in a folder. */
function dependencies(place: string, name: string): string[] {
  try {
    const text = readFileSync(join(place, 'ebin', `${name}.app`), 'utf8')
    const [, list = ''] = /\{applications,\s*\[([^\]]*)\]/.exec(text) ?? []
    return list.split(',').map((each) => each.trim())
  } catch {
    return []
  }
}
