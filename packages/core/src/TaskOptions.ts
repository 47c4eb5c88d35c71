/**
 * What a submit may say beyond the Effect it hands over.
 *
 * One rule keeps it small: an option exists only for what the Effect cannot say itself. There is no `timeout`
 * (`Effect.timeout(task, …)`), no `at` (compute `delay`) and no retry of defects (`Effect.catchDefect`).
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"

/**
 * When a failed attempt is followed by another: a `Schedule`, or Effect's own retry options.
 *
 * It behaves as `Effect.retry` does, time for time, and no worker is held meanwhile. Only typed failures are retried.
 * `times` counts the retries, so `times: 3` runs the task at most 4 times; absent, there is no limit. Without a
 * `schedule`: exponential from 500 ms, factor 1.5, at most 60 s, jittered by ±20 %. A schedule that fails ends the
 * task: `join` keeps the last `E`, and the schedule's error is a `Die` in the report.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect, Schedule } from "effect"
 *
 * let calls = 0
 * const flaky = Effect.suspend(() => ++calls < 3 ? Effect.fail({ _tag: "Busy" as const }) : Effect.succeed(calls))
 * const program = TaskManager.run(flaky, {
 *   retry: { times: 5, schedule: Schedule.exponential("10 millis"), while: (error) => error._tag === "Busy" }
 * })
 * console.log(await Effect.runPromise(Effect.provide(program, TaskManager.layer()))) // 3
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export type Retry<E> = Schedule.Schedule<unknown, E, unknown> | {
  readonly times?: number | undefined
  readonly schedule?: Schedule.Schedule<unknown, E, unknown> | undefined
  readonly while?: ((error: E) => boolean | Effect.Effect<boolean>) | undefined
  readonly until?: ((error: E) => boolean | Effect.Effect<boolean>) | undefined
}

/**
 * When and in which order a task starts, and how long it may take.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.pause
 *   const note = (line: string) => Effect.sync(() => console.log(line))
 *   yield* tasks.submit(note("second"))
 *   yield* tasks.submit(note("first"), { priority: 60 }) // as if it had come a minute earlier
 *   yield* tasks.submit(note("third"), { delay: "20 millis", timeToLive: "1 minute" })
 *   yield* tasks.resume
 *   yield* tasks.awaitIdle // first, second, third
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer({ workers: 1 })))
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export interface SubmitOptions {
  /** Starts the task no sooner than this after admission. It takes a place of `maxDelayed`, none of `capacity`. */
  readonly delay?: Duration.Input | undefined
  /**
   * A head start in seconds, negative for a handicap: tasks start by admission time minus priority, so 5 overtakes
   * whatever waits for less than 5 s and nothing waits for ever. Default 0.
   */
  readonly priority?: number | undefined
  /**
   * Aborted (`expired`) when the first attempt has not started in this time, from admission or, if delayed, from the
   * due time. Default: no limit.
   */
  readonly timeToStart?: Duration.Input | undefined
  /**
   * Aborted (`expired`) when the task has not ended in this time from admission, waits and retries included; the
   * running attempt is interrupted. Default: no limit.
   */
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * All options of `submit`, `trySubmit`, `run` and `schedule`. `E` is the task's error, `R` what `onFailed` needs.
 *
 * ```ts
 * import { TaskManager, type TaskOptions } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * let runs = 0
 * const rebuild = Effect.sync(() => void runs++)
 * const once: TaskOptions = { name: "rebuild-index", key: "index", group: "disk", retry: { times: 3 } }
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   yield* tasks.pause
 *   const a = yield* tasks.submit(rebuild, once)
 *   const b = yield* tasks.submit(rebuild, once)
 *   console.log(a.id === b.id) // true: the second joined the first
 *   yield* tasks.resume
 *   yield* tasks.awaitIdle
 *   console.log(runs) // 1
 * })
 *
 * await Effect.runPromise(Effect.provide(program, TaskManager.layer()))
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export interface TaskOptions<E = unknown, R = never> extends SubmitOptions {
  /** Label of logs, spans and metrics; keys and groups are per name. Keep the number of names small. Default "task". */
  readonly name?: string | undefined
  /** Default: one attempt. */
  readonly retry?: Retry<E> | undefined
  /** Heads the report of a task that failed for good; built only then. */
  readonly error?: (() => unknown) | undefined
  /**
   * Runs on the worker once the task failed for good, before it settles. Cancel, expiry and shutdown interrupt it; the
   * outcome stays Failed, and a defect of it joins the logged Cause.
   */
  readonly onFailed?: ((cause: Cause.Cause<E>) => Effect.Effect<unknown, never, R>) | undefined
  /** A second submit under a held key joins the first, even when the queue is full. */
  readonly key?: string | undefined
  /** How long the key is held. "start": a submit during the run runs once more after it. Default "end". */
  readonly keyUntil?: "start" | "end" | undefined
  /** One at a time, in order, backoff included; other groups go on. */
  readonly group?: string | undefined
}
