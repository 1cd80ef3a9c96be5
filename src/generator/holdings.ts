import { BroadcastChannel } from 'node:worker_threads'

/** What a worker has in memory, for `/healthz/ready`. */
export interface Holdings {
  /** The most recently used first. */
  readonly models: readonly string[]
  readonly provider: string
  readonly profile: string
}

/** What the inference thread tells its process beside answers to jobs. */
export type ThreadNews =
  | { readonly type: 'holdings'; readonly holdings: Holdings }
  /** For the log. */
  | { readonly type: 'warning'; readonly message: string }

/** Reaches every thread of one process, and no other process. */
const channelName = 'packshot-inference'

export function newsToProcess(): (news: ThreadNews) => void {
  const channel = new BroadcastChannel(channelName)
  channel.unref()
  return (news) => channel.postMessage(news)
}

/** @returns what ends the listening */
export function newsFromThread(listen: (news: ThreadNews) => void): () => void {
  const channel = new BroadcastChannel(channelName)
  channel.onmessage = (event: unknown) => listen((event as { data: ThreadNews }).data)
  channel.unref()
  return () => channel.close()
}
