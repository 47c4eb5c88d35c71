/**
 * A task as seen from outside: one record for `list`, `get`, events, reports and the running task itself.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type { AbortReason } from "./TaskError.ts"

/**
 * Where a task is. Waiting: in the queue for its first start. Delayed: a retry or a delayed start, until it starts.
 * Running: on a worker. The others are ends, and a task has exactly one.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const later = yield* tasks.submit(Effect.void, { delay: "1 hour" })
 *   console.log(yield* later.state) // delayed
 *   yield* tasks.pause
 *   const waits = yield* tasks.submit(Effect.void)
 *   console.log(yield* waits.state) // waiting
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer({ gracePeriod: 0 })))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type TaskState = "waiting" | "delayed" | "running" | "completed" | "failed" | "aborted"

/**
 * What is known of one task at one moment.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Cause, Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(Effect.fail("no such mailbox"), { name: "send-mail", key: "order-17" })
 *   yield* handle.await
 *   const [info] = yield* tasks.list({ state: "failed" })
 *   console.log(info?.name, info?.key, info?.attempts) // send-mail order-17 1
 *   console.log(Cause.pretty(info?.cause ?? Cause.empty)) // Error: attempt 1: no such mailbox
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskInfo {
  /** A sequence number of the manager, as text: `"1"`, `"2"`, … */
  readonly id: string
  readonly name: string
  readonly state: TaskState
  /** Attempts started; inside a task: the number of this attempt, from 1. */
  readonly attempts: number
  readonly submittedAt: DateTime.Utc
  /** When a delayed task is due. */
  readonly dueAt?: DateTime.Utc | undefined
  readonly key?: string | undefined
  readonly group?: string | undefined
  /** Why an aborted task did not complete. */
  readonly reason?: AbortReason | undefined
  /** Engine tasks only: the encoded payload. */
  readonly payload?: unknown
  /** The failed attempts' reasons, in order, each with its attempt number: the first 8, the last 8, how many between. */
  readonly cause?: Cause.Cause<unknown> | undefined
}

/**
 * Something that happened to a task. `seq` counts up by one: a gap tells a slow reader what it missed.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect, Fiber, Stream } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const reader = yield* tasks.events.pipe(
 *     Stream.runForEach(({ _tag, seq, task }) => Effect.sync(() => console.log(seq, _tag, task.name))),
 *     Effect.forkChild({ startImmediately: true })
 *   )
 *   yield* tasks.run(Effect.void, { name: "warm-cache" })
 *   yield* tasks.shutdown()
 *   yield* Fiber.join(reader) // 1 Submitted warm-cache, 2 Started warm-cache, 3 Completed warm-cache
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskEvent {
  readonly seq: number
  readonly at: DateTime.Utc
  readonly _tag: "Submitted" | "Started" | "Retrying" | "Completed" | "Failed" | "Aborted"
  readonly task: TaskInfo
}

/**
 * The running task, from inside: which task and which attempt this is.
 *
 * The manager provides it, so it never shows in the `R` that `submit` asks for.
 *
 * ```ts
 * import { CurrentTask, TaskManager } from "@effect-tasks/core"
 * import { Effect, Schedule } from "effect"
 *
 * const attempt = Effect.gen(function*() {
 *   const task = yield* CurrentTask
 *   return task.attempts < 3 ? yield* Effect.fail("not yet") : `${task.name}, attempt ${task.attempts}`
 * })
 *
 * const program = TaskManager.run(attempt, { name: "warm-cache", retry: Schedule.recurs(5) })
 * console.log(await Effect.runPromise(Effect.provide(program, TaskManager.layer()))) // warm-cache, attempt 3
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class CurrentTask
  extends /*#__PURE__*/ Context.Service<CurrentTask, TaskInfo>()("@effect-tasks/core/CurrentTask")
{}
