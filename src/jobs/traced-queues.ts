import { changedDelivery } from './changed-delivery.ts'
import type { Task } from './job.ts'
import type { Delivery, EventQueue, TaskQueue, WebhookPost, WebhookQueue } from './ports.ts'
import {
  activeTraceparent,
  contextOf,
  isTraceparent,
  jobLabel,
  type SpanStart,
  type TraceSpan,
  traced,
} from './tracing.ts'

/**
 * Queues whose messages carry the trace of their sender, so that a job has one from its request to its webhook. Names
 * and attributes by OpenTelemetry's conventions for messaging, which are in development.
 */

/** What keeps the messages: `rabbitmq` or `sqlite`. */
type System = string

export function tracedTasks(queue: TaskQueue, system: System): TaskQueue {
  return {
    ...queue,
    publish: (task, options) =>
      send(system, 'tasks', task.id, task.trace, taskAttributes(task), (trace) =>
        queue.publish(withTrace(task, trace), options),
      ),
    consume: (handler) =>
      queue.consume((delivery, more) => {
        const { attempt, losses, message } = delivery
        const counts = { 'packshot.attempt': attempt, 'packshot.losses': losses }
        return processed(system, 'tasks', carriedBy(message), counts, (span) =>
          handler(recorded(delivery, span), more),
        )
      }),
    consumeDead: (handler) =>
      queue.consumeDead((dead) =>
        processed(system, 'dead tasks', carriedBy(dead.message), {}, () => handler(dead)),
      ),
  }
}

export function tracedEvents(events: EventQueue, system: System): EventQueue {
  return {
    ...events,
    publish: (event) =>
      send(system, 'events', event.id, event.trace, { 'packshot.status': event.status }, (trace) =>
        events.publish(withTrace(event, trace)),
      ),
    consume: (handler) =>
      events.consume((event) => processed(system, 'events', carriedBy(event), {}, () => handler(event))),
  }
}

export function tracedWebhooks(queue: WebhookQueue, system: System): WebhookQueue {
  return {
    ...queue,
    publish: (delivery) =>
      send(system, 'webhooks', delivery.log, delivery.trace, {}, (trace) =>
        queue.publish(withTrace(delivery, trace)),
      ),
    consume: (handler, options) =>
      queue.consume((delivery) => {
        const { log: id, trace, failures } = delivery
        const counts = { 'packshot.failures': failures }
        return processed(system, 'webhooks', { id, trace }, counts, () => handler(delivery))
      }, options),
  }
}

/** The receiver gets the trace, too: it may continue it. */
export function tracedPost(post: WebhookPost): WebhookPost {
  return (url, request) =>
    traced(
      'POST webhook',
      { kind: 'client', attributes: { 'http.request.method': 'POST' } },
      async (span) => {
        const traceparent = activeTraceparent()
        const headers = { ...request.headers, ...(traceparent === undefined ? {} : { traceparent }) }
        const answer = await post(url, { ...request, headers })
        span.setAttribute('http.response.status_code', answer.status)
        return answer
      },
    )
}

type Values = NonNullable<SpanStart['attributes']>

function taskAttributes({ request, priority = 'interactive', units }: Task): Values {
  return {
    'packshot.class': priority,
    'gen_ai.request.model': request.model,
    ...(units === undefined ? {} : { 'packshot.units': units }),
  }
}

/** @param carried the trace of a message whose sender has none: a client's own */
function send<T>(
  system: System,
  queue: string,
  id: string,
  carried: string | undefined,
  attributes: Values,
  publish: (trace: string | undefined) => Promise<T>,
): Promise<T> {
  const start: SpanStart = {
    kind: 'producer',
    attributes: { ...messaging(system, queue, 'send', id), ...attributes },
    ...(activeTraceparent() === undefined && carried !== undefined ? { from: contextOf(carried) } : {}),
  }
  return traced(`send ${queue}`, start, () => publish(activeTraceparent() ?? carried))
}

function processed<T>(
  system: System,
  queue: string,
  { id, trace }: Carried,
  attributes: Values,
  action: (span: TraceSpan) => Promise<T>,
): Promise<T> {
  const start: SpanStart = {
    kind: 'consumer',
    linked: true,
    attributes: { ...messaging(system, queue, 'process', id), ...attributes },
    from: contextOf(trace, id),
  }
  return traced(`process ${queue}`, start, action)
}

function messaging(system: System, queue: string, operation: string, id: string | undefined): Values {
  const job = jobLabel(id)
  return {
    'messaging.system': system,
    'messaging.destination.name': queue,
    'messaging.operation.name': operation,
    'messaging.operation.type': operation,
    ...(job === undefined ? {} : { 'packshot.job': job }),
  }
}

interface Carried {
  readonly id: string | undefined
  readonly trace: string | undefined
}

/** A message may be anything. */
function carriedBy(message: unknown): Carried {
  if (typeof message !== 'object' || message === null) return { id: undefined, trace: undefined }
  const { id, trace } = message as Record<string, unknown>
  return { id: typeof id === 'string' ? id : undefined, trace: isTraceparent(trace) ? trace : undefined }
}

function withTrace<T extends { trace?: string }>(message: T, trace: string | undefined): T {
  return trace === undefined ? message : { ...message, trace }
}

function recorded(delivery: Delivery, span: TraceSpan): Delivery {
  const outcome = (name: string) => span.setAttribute('packshot.outcome', name)
  return changedDelivery(delivery, {
    ack() {
      outcome('done')
      return delivery.ack()
    },
    retry(delayMs) {
      outcome('retried')
      return delivery.retry(delayMs)
    },
    giveBack(delayMs) {
      outcome('returned')
      return delivery.giveBack(delayMs)
    },
    dead(reason) {
      outcome('parked')
      return delivery.dead(reason)
    },
  })
}
