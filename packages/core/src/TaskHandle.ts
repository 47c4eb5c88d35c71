/**
 * What a caller holds of a submitted task: its result, its state, and the way to end it.
 *
 * A handle costs nothing that grows, and nobody has to keep it: a task runs, and its failure is logged, all the same.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { TaskAbortedError, TaskFailedError } from "./TaskError.ts"
import type { TaskState } from "./TaskInfo.ts"

/**
 * A submitted task. `X` is the engine's error; in process it is `never`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskHandle<out A, out E = never, out X = never> {
  readonly id: string
  readonly name: string
  /** Waits for the end and tells how it came, with the attempts' causes when the task failed. */
  readonly await: Effect.Effect<TaskOutcome<A, E>, X>
  /**
   * Waits for the end and fails as the last attempt failed, as `Fiber.join` does; with `TaskAbortedError` when the
   * task was aborted. Interrupting the wait leaves the task alone.
   */
  readonly join: Effect.Effect<A, E | TaskAbortedError | X>
  /**
   * Ends the task for everybody who holds it, and waits until its finalizers have run. True when that aborted the
   * task; false when it had ended, or ended in its own way first. From inside the task it does not wait.
   */
  readonly cancel: Effect.Effect<boolean, X>
  readonly state: Effect.Effect<TaskState, X>
}

/**
 * How a task ended.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskOutcome<A, E> =
  | { readonly _tag: "Completed"; readonly value: A; readonly attempts: number }
  | { readonly _tag: "Failed"; readonly error: TaskFailedError<E> }
  | { readonly _tag: "Aborted"; readonly error: TaskAbortedError }
