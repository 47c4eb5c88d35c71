/**
 * What can be asked of tasks by id: the same verbs for a manager's tasks and for an engine's.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { TaskInfo, TaskState } from "./TaskInfo.ts"

/**
 * Which tasks to list. They come ascending by id, `limit` at a time (default 100), from the one after `after`.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.pause
 *   for (const group of ["a", "b", "a"]) yield* tasks.submit(Effect.void, { name: "webhook", group })
 *   const ids = (page: ReadonlyArray<{ readonly id: string }>) => page.map(({ id }) => id)
 *   console.log(ids(yield* tasks.list({ group: "a" }))) // [ '1', '3' ]
 *   console.log(ids(yield* tasks.list({ after: "1", limit: 1 }))) // [ '2' ]
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layerTest()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskFilter {
  readonly state?: TaskState | undefined
  readonly name?: string | undefined
  readonly group?: string | undefined
  readonly after?: string | undefined
  readonly limit?: number | undefined
}

/**
 * The verbs. `X` is the engine's error; for a manager's own tasks it is `never`.
 *
 * In process, what can be found are the tasks that have not settled and the last `keepFailed` failed ones.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * let down = true
 * const deliver = Effect.suspend(() => down ? Effect.fail("503") : Effect.void)
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(deliver, { name: "webhook" })
 *   yield* handle.await
 *   down = false
 *   for (const failed of yield* tasks.list({ state: "failed" })) yield* tasks.retry(failed.id)
 *   yield* tasks.awaitIdle
 *   console.log((yield* tasks.stats).completed, (yield* tasks.get(handle.id))._tag) // 1 None
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Tasks<X = never> {
  /** Ascending by id; a `limit` below 1 and an `after` that is no id are bugs: it dies. */
  readonly list: (filter?: TaskFilter) => Effect.Effect<ReadonlyArray<TaskInfo>, X>
  /** None when there is no such task, or it has ended and is not kept. */
  readonly get: (id: string) => Effect.Effect<Option.Option<TaskInfo>, X>
  /** As `TaskHandle.cancel`; false when there is no such task. */
  readonly cancel: (id: string) => Effect.Effect<boolean, X>
  /**
   * Runs a failed task again with a fresh budget, without its delay: in process a new submit, whose id it gives. None
   * when there is no such failed task, no room, or the manager has stopped.
   */
  readonly retry: (id: string) => Effect.Effect<Option.Option<string>, X>
}
