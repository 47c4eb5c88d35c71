/**
 * A bounded queue, a fixed set of worker fibers, and Schedule-based retries, as one service.
 *
 *     submit → wait for room → waiting → running → completed | failed | aborted
 *                                 ↑          ↓
 *                                 └─ delayed ┘  (backoff: no worker, no fiber, no timer of its own)
 *
 * Promised: at most `workers` tasks run and `capacity` wait; every accepted task ends exactly once; a task ends with its
 * finalizers; closing the scope drains, then interrupts, and reports what did not complete. Not promised: durability.
 * The state machine is `internal/kernel.ts`, what becomes of an attempt `internal/attempt.ts`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { workerLoop } from "./internal/attempt.ts"
import { graceMillis, type ManagerConfig, resolveConfig } from "./internal/config.ts"
import { Events } from "./internal/events.ts"
import { Kernel } from "./internal/kernel.ts"
import { cancelById, get, list, retryById } from "./internal/listing.ts"
import { logDelayedFull, logSlowFinalizers } from "./internal/log.ts"
import { Metrics } from "./internal/metrics.ts"
import { recurring } from "./internal/recurring.ts"
import { awaitIdle, Shutdown } from "./internal/shutdown.ts"
import { run, submit, trySubmit } from "./internal/submission.ts"
import { submitterOf } from "./internal/submitter.ts"
import type { QueueFullError, TaskAbortedError, TaskManagerStoppedError } from "./TaskError.ts"
import type { TaskHandle } from "./TaskHandle.ts"
import type { CurrentTask, TaskEvent } from "./TaskInfo.ts"
import type { TaskManagerOptions } from "./TaskManagerOptions.ts"
import type { TaskOptions } from "./TaskOptions.ts"
import type { Tasks } from "./Tasks.ts"
import type { ShutdownReport, TaskStats } from "./TaskStats.ts"

/** What a task may need that its submitter does not have to provide. */
type Services<R> = Exclude<R, Scope.Scope | CurrentTask>

/**
 * The four ways to hand over a task; as methods of the service and as statics of the class, which then need it.
 *
 * A task sees the submitter's services, log annotations and span, a `Scope` of its own for each attempt, and
 * {@link CurrentTask}.
 *
 * ```ts
 * import { QueueFullError, TaskManager } from "@effect-tasks/core"
 * import { Effect, Schedule } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(Effect.succeed("later")) // TaskHandle<string>
 *   const now = yield* tasks.run(Effect.succeed("now"))
 *   console.log(yield* handle.join, now) // later now
 *
 *   yield* tasks.schedule(Effect.void, Schedule.cron("0 3 * * *", "UTC"), { name: "report" })
 *
 *   yield* tasks.pause // fill the queue: capacity 1
 *   yield* tasks.submit(Effect.void)
 *   const refused = yield* Effect.flip(tasks.trySubmit(Effect.void))
 *   console.log(refused instanceof QueueFullError) // true
 * })
 *
 * const layer = TaskManager.layer({ capacity: 1, gracePeriod: 0 })
 * await Effect.runPromise(Effect.scoped(Effect.provide(program, layer)))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Submitter<Self = never> {
  /**
   * Waits for room, then gives a handle; the task itself runs later.
   *
   * Interrupting the wait leaves nothing behind, so `Effect.timeout(submit(…))` is an admission timeout.
   *
   * - Errors: `TaskManagerStoppedError`, also for a submit that waits when the shutdown begins.
   * - Dies on an option out of range, naming it.
   */
  submit<A, E, R, R2 = never>(
    task: Effect.Effect<A, E, R>,
    options?: TaskOptions<NoInfer<E>, R2>
  ): Effect.Effect<TaskHandle<A, E>, TaskManagerStoppedError, Services<R | R2> | Self>
  /** As `submit`, but fails with `QueueFullError` where that would wait. */
  trySubmit<A, E, R, R2 = never>(
    task: Effect.Effect<A, E, R>,
    options?: TaskOptions<NoInfer<E>, R2>
  ): Effect.Effect<TaskHandle<A, E>, TaskManagerStoppedError | QueueFullError, Services<R | R2> | Self>
  /**
   * Submits, waits for the end, and gives the result.
   *
   * Interrupting the caller cancels the task unless another caller holds it by its key.
   *
   * - Errors: the last attempt's `E`; `TaskAbortedError`; `TaskManagerStoppedError`.
   */
  run<A, E, R, R2 = never>(
    task: Effect.Effect<A, E, R>,
    options?: TaskOptions<NoInfer<E>, R2>
  ): Effect.Effect<A, E | TaskAbortedError | TaskManagerStoppedError, Services<R | R2> | Self>
  /**
   * Submits at each step of the schedule, as `Effect.schedule` does: not at once, until the scope closes or the manager
   * stops. An occurrence is skipped while the last one is still in or suspended.
   *
   * A schedule that fails at its first step dies here.
   */
  schedule<A, E, R, R2 = never>(
    task: Effect.Effect<A, E, R>,
    schedule: Schedule.Schedule<unknown, unknown, unknown>,
    options?: TaskOptions<NoInfer<E>, R2>
  ): Effect.Effect<void, never, Services<R | R2> | Self | Scope.Scope>
}

/**
 * A running manager.
 *
 * ```ts
 * import { TaskManager, type TaskManagerService } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * const drain = (tasks: TaskManagerService) =>
 *   Effect.gen(function*() {
 *     yield* tasks.submit(Effect.sleep("20 millis"), { name: "short" })
 *     yield* tasks.submit(Effect.never, { name: "endless" })
 *     const { stats, unfinished } = yield* tasks.shutdown({ gracePeriod: "100 millis" })
 *     console.log(stats.completed, unfinished.map(({ name, reason }) => `${name}: ${reason}`)) // 1 [ 'endless: shutdown' ]
 *     console.log(yield* tasks.isStopped) // true
 *   })
 *
 * await Effect.runPromise(Effect.provide(TaskManager.use(drain), TaskManager.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskManagerService extends Submitter, Tasks {
  /** Starts nothing more until `resume`; what runs goes on, and submits are still taken while there is room. */
  readonly pause: Effect.Effect<void>
  /** Goes on after a `pause`. */
  readonly resume: Effect.Effect<void>
  /** Waits until nothing is waiting, delayed, running or suspended; at once when that is so. */
  readonly awaitIdle: Effect.Effect<void>
  /** The numbers of this instant. */
  readonly stats: Effect.Effect<TaskStats>
  /** True only after everything has ended. */
  readonly isStopped: Effect.Effect<boolean>
  /** What happens from now on; ends when the manager has stopped. Costs nothing while nobody listens. */
  readonly events: Stream.Stream<TaskEvent>
  /**
   * Takes nothing new, lets tasks go on for the grace period, interrupts the rest, waits for all finalizers, and
   * reports. A second call waits for the same report and may only shorten the grace period.
   */
  readonly shutdown: (
    options?: { readonly gracePeriod?: Duration.Input | undefined }
  ) => Effect.Effect<ShutdownReport>
}

/**
 * A manager's class: the service key, its layers, and the submits as statics.
 *
 * ```ts
 * import { type ManagerClass, TaskManager } from "@effect-tasks/core"
 * import { Effect } from "effect"
 *
 * class Mail extends TaskManager.Named<Mail>()("app/Mail") {}
 *
 * const workersOf = <Self, Id extends string>(manager: ManagerClass<Self, Id>) =>
 *   manager.use((tasks) => Effect.map(tasks.stats, (stats) => stats.workers))
 *
 * console.log(await Effect.runPromise(Effect.provide(workersOf(Mail), Mail.layer({ workers: 2 })))) // 2
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface ManagerClass<Self, Id extends string>
  extends Context.ServiceClass<Self, Id, TaskManagerService>, Submitter<Self>
{
  /** A manager that shuts down when the scope closes. */
  readonly make: (options?: TaskManagerOptions) => Effect.Effect<TaskManagerService, never, Scope.Scope>
  /** Without options always the same Layer value, so that it is built once. */
  readonly layer: (options?: TaskManagerOptions) => Layer.Layer<Self>
  /**
   * For tests of your services: starts paused, capacity 10,000, grace period 0; `list` tells what was submitted,
   * `resume` and `awaitIdle` run it.
   */
  readonly layerTest: (options?: TaskManagerOptions) => Layer.Layer<Self>
}

const managerClass = <Self>() => <const Id extends string>(id: Id): ManagerClass<Self, Id> => {
  const key = Context.Service<Self, TaskManagerService>()(id)
  const make = (options: TaskManagerOptions = {}) => Effect.suspend(() => makeManager(id, options))
  const layerOf = (options: TaskManagerOptions) => Layer.effect(key, make(options))
  const layer = layerOf({})
  const statics: Submitter<Self> & Pick<ManagerClass<Self, Id>, "make" | "layer" | "layerTest"> = {
    submit: (task, options) => key.use((tasks) => tasks.submit(task, options)),
    trySubmit: (task, options) => key.use((tasks) => tasks.trySubmit(task, options)),
    run: (task, options) => key.use((tasks) => tasks.run(task, options)),
    schedule: (task, schedule, options) => key.use((tasks) => tasks.schedule(task, schedule, options)),
    make,
    layer: (options) => options === undefined ? layer : layerOf(options),
    layerTest: ({ capacity = 10_000, gracePeriod = 0, ...options } = {}) =>
      Layer.effect(key, Effect.tap(make({ ...options, capacity, gracePeriod }), (tasks) => tasks.pause))
  }
  return Object.assign(key, statics)
}

/**
 * The default manager. `TaskManager.Named` makes others.
 *
 * ```ts
 * import { TaskManager } from "@effect-tasks/core"
 * import { Effect, Layer } from "effect"
 *
 * class Mail extends TaskManager.Named<Mail>()("app/Mail") {}
 *
 * const program = Effect.gen(function*() {
 *   const tasks = yield* TaskManager
 *   const handle = yield* tasks.submit(Effect.succeed("warm"), { name: "warm-cache" })
 *   const sent = yield* Mail.run(Effect.succeed("sent"), { name: "send-mail" })
 *   console.log(yield* handle.join, sent) // warm sent
 * })
 *
 * const layer = Layer.merge(TaskManager.layer({ workers: 8, capacity: 100 }), Mail.layer())
 * await Effect.runPromise(Effect.provide(program, layer))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class TaskManager extends managerClass<TaskManager>()("@effect-tasks/core/TaskManager") {
  /** `class Mail extends TaskManager.Named<Mail>()("app/Mail") {}`: the id labels its metrics, logs and spans. */
  static readonly Named: <Self>() => <const Id extends string>(id: Id) => ManagerClass<Self, Id> = managerClass
}

// --- internals ---

const makeManager = (
  id: string,
  options: TaskManagerOptions
): Effect.Effect<TaskManagerService, never, Scope.Scope> =>
  Effect.uninterruptible(Effect.gen(function*() {
    const config = resolveConfig(options)
    const { context } = yield* Effect.withFiber((fiber) => Effect.succeed(submitterOf(fiber)))
    const events = new Events()
    const metrics = new Metrics(context, id, config.capacity)
    const kernel = new Kernel(id, config, context, events, {
      named: (counters) => metrics.add(counters),
      delayedFull: () => logDelayedFull(kernel),
      finalizersSlow: (running) => logSlowFinalizers(kernel, running),
      stopped: () => {
        kernel.crew.wakeAll()
        events.end()
        shutdown.finish()
      }
    })
    const shutdown = new Shutdown(kernel)
    for (const worker of kernel.crew.workers) Effect.runForkWith(context)(workerLoop(kernel, worker))
    yield* Effect.addFinalizer(() =>
      Effect.andThen(shutdown.run(config.gracePeriod), Effect.sync(() => metrics.removeGauges()))
    )
    return serviceOf(kernel, shutdown, config)
  }))

// SAFETY (the four casts): `Submitter` types what a task needs and gives; the kernel runs it with the submitter's
// context and hands out what it gave.
const serviceOf = (kernel: Kernel, shutdown: Shutdown, config: ManagerConfig): TaskManagerService => ({
  submit: (task: any, options: any) => submit(kernel, task, options) as any,
  trySubmit: (task: any, options: any) => trySubmit(kernel, task, options) as any,
  run: (task: any, options: any) => run(kernel, task, options) as any,
  schedule: (task: any, schedule: any, options: any) => recurring(kernel, task, schedule, options) as any,
  list: (filter) => list(kernel, filter),
  get: (id) => get(kernel, id),
  cancel: (id) => cancelById(kernel, id),
  retry: (id) => retryById(kernel, id),
  pause: Effect.sync(() => kernel.pause()),
  resume: Effect.sync(() => kernel.resume()),
  awaitIdle: awaitIdle(kernel),
  stats: Effect.sync(() => kernel.stats),
  isStopped: Effect.sync(() => kernel.phase === "stopped"),
  events: kernel.events.stream,
  shutdown: (options) =>
    Effect.suspend(() =>
      shutdown.run(options?.gracePeriod === undefined ? config.gracePeriod : graceMillis(options.gracePeriod))
    )
})
