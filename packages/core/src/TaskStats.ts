/**
 * The numbers of a manager, at one instant and at its end.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Option from "effect/Option"
import type { TaskInfo, TaskState } from "./TaskInfo.ts"

/**
 * How many tasks are where. At every instant `submitted` is the sum of the six states; `completed`, `failed` and
 * `aborted` count since the manager was made.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.run(Effect.void)
 *   yield* tasks.submit(Effect.void, { delay: "1 hour" })
 *   const { completed, delayed, manager, submitted } = yield* tasks.stats
 *   console.log(submitted, completed, delayed, manager) // 2 1 1 running
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer({ gracePeriod: 0 })))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskStats extends Readonly<Record<TaskState | "submitted" | "workers" | "capacity", number>> {
  readonly manager: "running" | "paused" | "draining" | "stopped"
}

/**
 * What a shutdown leaves: nothing is pending any more.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Cause, Effect, Option } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.submit(Effect.never, { name: "endless" })
 *   const { cause, stats, unfinished } = yield* tasks.shutdown({ gracePeriod: 0 })
 *   console.log(unfinished.map(({ name, reason }) => [name, reason])) // [ [ 'endless', 'shutdown' ] ]
 *   console.log(Cause.pretty(Option.getOrThrow(cause)))
 *   // TaskAbortedError: endless was aborted (shutdown) after 0 attempts
 *   console.log(stats.aborted) // 1
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface ShutdownReport {
  /** As they stand at the end: nothing is waiting, delayed or running. */
  readonly stats: TaskStats
  /** Every task that failed or was aborted during shutdown. */
  readonly unfinished: ReadonlyArray<TaskInfo>
  /** One Cause for all of them: the first 8, the last 8, and how many in between. None when all went well. */
  readonly cause: Option.Option<Cause.Cause<unknown>>
}
