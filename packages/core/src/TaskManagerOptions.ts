/**
 * What a manager is built with.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"

/**
 * The options of a manager's layer. A value out of range is a bug: the layer dies, naming the option, what was expected
 * and what came.
 *
 * ```ts
 * import { TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const polite: TaskManagerOptions = { workers: 2, capacity: 100, rate: { limit: 10, window: "1 second" } }
 * const program = TaskManager.use((tasks) => tasks.stats)
 * const stats = await Effect.runPromise(Effect.provide(program, TaskManager.layer(polite)))
 * console.log(stats.workers, stats.capacity) // 2 100
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export interface TaskManagerOptions {
  /** Tasks that run at once: a whole number from 1. Default 4. */
  readonly workers?: number | undefined
  /** Tasks that may wait: a whole number from 0, which hands over to a free worker. Default 64. */
  readonly capacity?: number | undefined
  /**
   * Tasks of one group that may wait: a whole number from 0. Default a quarter of `capacity`, rounded up: one dead
   * receiver cannot fill the queue.
   */
  readonly groupCapacity?: number | undefined
  /** At most `limit` attempts start in any `window`. Holds no worker. Default: no limit. */
  readonly rate?: { readonly limit: number; readonly window: Duration.Input } | undefined
  /**
   * Retries and delayed starts at which admission closes until there are fewer: a whole number from 1. Default 10,000.
   */
  readonly maxDelayed?: number | undefined
  /**
   * How long a shutdown lets tasks go on. Retries due within it run at their time, later ones abort at once. Default
   * 20 s: below Kubernetes' 30.
   */
  readonly gracePeriod?: Duration.Input | undefined
  /** Failed tasks kept for `list` and `retry`: a whole number from 0. Default 100. */
  readonly keepFailed?: number | undefined
}
