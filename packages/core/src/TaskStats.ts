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
 * @category models
 * @since 0.1.0
 */
export interface TaskStats extends Readonly<Record<TaskState | "submitted" | "workers" | "capacity", number>> {
  readonly manager: "running" | "paused" | "draining" | "stopped"
}

/**
 * What a shutdown leaves: nothing is pending any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface ShutdownReport {
  readonly stats: TaskStats
  /** Every task that failed or was aborted during shutdown. */
  readonly unfinished: ReadonlyArray<TaskInfo>
  /** One Cause for all of them: the first 8, the last 8, and how many in between. None when all went well. */
  readonly cause: Option.Option<Cause.Cause<unknown>>
}
