/**
 * The errors that a caller of a task manager can meet besides the task's own `E`.
 *
 * They are tagged data: match them with `Effect.catchTag`. None of them wraps the task's error: `join` and `run` fail
 * with the last attempt's `E` itself, and {@link TaskFailedError} is what reports, logs and outcomes carry.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as ErrorReporter from "effect/ErrorReporter"
import { describeReason, firstLine } from "./internal/causes.ts"

/**
 * The manager has been shut down, or is being shut down: it takes nothing new.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const refused = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.shutdown()
 *   return yield* Effect.flip(tasks.submit(Effect.void))
 * })
 *
 * const error = await Effect.runPromise(Effect.provide(refused, TaskManager.layer()))
 * console.log(error.message) // the task manager has been shut down and takes no new task
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskManagerStoppedError extends Data.TaggedError("TaskManagerStoppedError") {
  override get message(): string {
    return "the task manager has been shut down and takes no new task"
  }
}

/**
 * `trySubmit` found no room; `capacity` is how many tasks may wait.
 *
 * The place that was missing may be one of the whole queue, of the task's group, or of the delayed tasks.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const full = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.submit(Effect.sleep("1 second"))
 *   yield* tasks.submit(Effect.void)
 *   return yield* Effect.flip(tasks.trySubmit(Effect.void)) // one runs, one waits
 * })
 *
 * const layer = TaskManager.layer({ workers: 1, capacity: 1, gracePeriod: 0 })
 * console.log((await Effect.runPromise(Effect.provide(full, layer))).message) // the queue is full: 1 task may wait
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class QueueFullError extends Data.TaggedError("QueueFullError")<{ readonly capacity: number }> {
  override get message(): string {
    return `the queue is full: ${this.capacity === 1 ? "1 task" : `${this.capacity} tasks`} may wait`
  }
}

/**
 * Why a task was aborted: somebody cancelled it, its `timeToStart` or `timeToLive` ran out, or the manager was shut
 * down.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const late = Effect.gen(function*() {
 *   const handle = yield* TaskManager.submit(Effect.never, { timeToLive: "10 millis" })
 *   return (yield* Effect.flip(handle.join)).reason
 * })
 *
 * console.log(await Effect.runPromise(Effect.provide(late, TaskManager.layer()))) // expired
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export type AbortReason = "cancelled" | "expired" | "shutdown"

/**
 * The task was ended before it completed: `reason` says by what, `attempts` how many had started, and `failures` holds
 * the reasons of those that failed before (empty when none did).
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const cancelled = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(Effect.never, { name: "report" })
 *   yield* handle.cancel
 *   return yield* Effect.flip(handle.join)
 * })
 *
 * const error = await Effect.runPromise(Effect.provide(cancelled, TaskManager.layer()))
 * console.log(error.reason, error.message) // cancelled report was aborted (cancelled) after 0 attempts
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskAbortedError extends Data.TaggedError("TaskAbortedError")<{
  readonly id: string
  readonly task: string
  readonly reason: AbortReason
  readonly attempts: number
  readonly failures: Cause.Cause<unknown>
}> {
  override get message(): string {
    return `${this.task} was aborted (${this.reason}) after ${attemptCount(this.attempts)}`
  }
}

/**
 * A task that failed for good, with its attempts in one `cause`: the first 8, the last 8, and how many in between.
 *
 * `error` is what the submit's `error` option gave, `duration` runs from admission to the end. It has no stack of its
 * own: where it failed stands in the reasons of `cause`.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const failed = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(Effect.fail("no such mailbox"), { name: "send-mail" })
 *   return yield* handle.await
 * })
 *
 * const outcome = await Effect.runPromise(Effect.provide(failed, TaskManager.layer()))
 * if (outcome._tag === "Failed") console.log(outcome.error.message) // send-mail failed after 1 attempt: no such mailbox
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskFailedError<E = unknown> extends Data.TaggedError("TaskFailedError")<{
  readonly id: string
  readonly task: string
  readonly attempts: number
  readonly duration: Duration.Duration
  readonly error?: unknown
  readonly cause: Cause.Cause<unknown>
}> {
  declare readonly cause: Cause.Cause<E>
  override get message(): string {
    const last = this.cause.reasons.at(-1)
    const why = this.error !== undefined ? firstLine(this.error) : last === undefined ? "" : describeReason(last)
    return `${this.task} failed after ${attemptCount(this.attempts)}: ${why}`
  }
  override get [ErrorReporter.severity](): "Error" {
    return "Error"
  }
  override get [ErrorReporter.attributes](): Record<string, unknown> {
    return { task: this.task, taskId: this.id, attempts: this.attempts }
  }
}

const attemptCount = (attempts: number): string => attempts === 1 ? "1 attempt" : `${attempts} attempts`
