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
 * @category models
 * @since 0.1.0
 */
export interface Tasks<X = never> {
  readonly list: (filter?: TaskFilter) => Effect.Effect<ReadonlyArray<TaskInfo>, X>
  readonly get: (id: string) => Effect.Effect<Option.Option<TaskInfo>, X>
  /** As `TaskHandle.cancel`; false when there is no such task. */
  readonly cancel: (id: string) => Effect.Effect<boolean, X>
  /**
   * Runs a failed task again with a fresh budget, without its delay: in process a new submit, whose id it gives. None
   * when there is no such failed task, no room, or the manager has stopped.
   */
  readonly retry: (id: string) => Effect.Effect<Option.Option<string>, X>
}
