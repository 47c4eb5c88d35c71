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
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const handle = yield* TaskManager.submit(Effect.succeed(42), { name: "answer" })
 *   console.log(handle.id, handle.name) // 1 answer
 *   console.log(yield* handle.join, yield* handle.state) // 42 completed
 *   console.log(yield* handle.cancel) // false: it has ended
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskHandle<out A, out E = never, out X = never> {
  /** In process a sequence number of the manager, as text: `"1"`, `"2"`, … */
  readonly id: string
  /** The option `name` of the submit; `"task"` when it gave none. */
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
  /** Where the task is at this instant. */
  readonly state: Effect.Effect<TaskState, X>
}

/**
 * How a task ended.
 *
 * ```ts
 * import { TaskManager, type TaskOutcome } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const describe = (outcome: TaskOutcome<string, "down">): string => {
 *   switch (outcome._tag) {
 *     case "Completed":
 *       return `${outcome.value}, attempt ${outcome.attempts}`
 *     case "Failed":
 *     case "Aborted":
 *       return outcome.error.message
 *   }
 * }
 *
 * const program = Effect.gen(function*() {
 *   const task: Effect.Effect<string, "down"> = Effect.succeed("sent")
 *   return describe(yield* (yield* TaskManager.submit(task)).await)
 * })
 * console.log(await Effect.runPromise(Effect.provide(program, TaskManager.layer()))) // sent, attempt 1
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type TaskOutcome<A, E> =
  | { readonly _tag: "Completed"; readonly value: A; readonly attempts: number }
  | { readonly _tag: "Failed"; readonly error: TaskFailedError<E> }
  | { readonly _tag: "Aborted"; readonly error: TaskAbortedError }
