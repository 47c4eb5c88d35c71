// What must not compile is the test: oxlint sees no assertion in it.
/* oxlint-disable vitest/expect-expect */
// @effect-diagnostics floatingEffect:off missingEffectError:off missingEffectContext:off
import { TaskManager } from "@effect-tasks/core"
import type {
  TaskEvent,
  TaskFailedError,
  TaskInfo,
  TaskManagerOptions,
  TaskManagerService,
  TaskOptions,
  TaskStats
} from "@effect-tasks/core"
import * as TaskManagerConfig from "@effect-tasks/core/TaskManagerConfig"
import { Config, Context, Effect, type Layer, Schedule, type Scope, type Stream } from "effect"
import { expectTypeOf, test } from "vitest"

class Db extends Context.Service<Db, { readonly q: Effect.Effect<number> }>()("app/Db") {}
class Mail extends TaskManager.Named<Mail>()("app/Mail") {}

declare const tasks: TaskManagerService
declare const task: Effect.Effect<number, { readonly _tag: "Busy" }>

test("an option that does not exist is an error", () => {
  // @ts-expect-error `Effect.timeout(task, …)` is the way
  tasks.submit(task, { timeout: "1 second" })
  // @ts-expect-error compute `delay`
  tasks.submit(task, { at: new Date() })
  // @ts-expect-error misspelt
  tasks.submit(task, { retries: 3 })
  // @ts-expect-error misspelt
  tasks.submit(task, { retry: { time: 3 } })
  // @ts-expect-error misspelt
  TaskManager.layer({ concurrency: 4 })
  // @ts-expect-error misspelt
  TaskManager.layerTest({ paused: true })
  // @ts-expect-error misspelt
  tasks.list({ status: "failed" })
})

test("an option of the wrong type is an error", () => {
  // @ts-expect-error a name is a string
  tasks.submit(task, { name: 1 })
  // @ts-expect-error a key is a string
  tasks.submit(task, { key: { id: 1 } })
  // @ts-expect-error "start" or "end"
  tasks.submit(task, { key: "k", keyUntil: "done" })
  // @ts-expect-error a priority is a number
  tasks.submit(task, { priority: "high" })
  // @ts-expect-error a duration names its unit
  tasks.submit(task, { delay: "soon" })
  // @ts-expect-error a number alone is no retry
  tasks.submit(task, { retry: 3 })
  // @ts-expect-error the error has no code
  tasks.submit(task, { retry: { while: (error) => error.code === 1 } })
  // @ts-expect-error a predicate gives a boolean
  tasks.submit(task, { retry: { while: () => "yes" } })
  // @ts-expect-error a predicate cannot fail
  tasks.submit(task, { retry: { while: () => Effect.fail("no") } })
  // @ts-expect-error a predicate can need nothing
  tasks.submit(task, { retry: { while: () => Effect.as(Db, true) } })
  // @ts-expect-error the schedule is for another error
  tasks.submit(task, { retry: Schedule.recurs(3).pipe(Schedule.setInputType<string>()) })
  // @ts-expect-error the hook cannot fail
  tasks.submit(task, { onFailed: () => Effect.fail("no") })
  // @ts-expect-error the hook gives an Effect
  tasks.submit(task, { onFailed: () => undefined })
  // @ts-expect-error lazy
  tasks.submit(task, { error: "failed" })
  // @ts-expect-error a task is an Effect, not a function that gives one
  tasks.submit(() => task)
  // @ts-expect-error a task is an Effect
  tasks.submit(Promise.resolve(1))
  // @ts-expect-error a schedule is not optional
  tasks.schedule(task)
  // @ts-expect-error no such state
  tasks.list({ state: "done" })
  // @ts-expect-error an id is a string
  tasks.cancel(1)
  // @ts-expect-error a rate has a window
  TaskManager.layer({ rate: { limit: 10 } })
  // @ts-expect-error a number of workers
  TaskManager.layer({ workers: "4" })
})

test("what a task or its hook needs has to be provided", () => {
  // @ts-expect-error Db is missing
  const run: Effect.Effect<unknown, unknown> = tasks.run(Db)
  // @ts-expect-error Db is missing
  const submit: Effect.Effect<unknown, unknown> = tasks.submit(task, { onFailed: () => Db })
  // @ts-expect-error the manager is missing
  const named: Effect.Effect<unknown, unknown> = Mail.submit(task)
  // @ts-expect-error the other manager is not enough
  const other: Effect.Effect<unknown, unknown, TaskManager> = Mail.submit(task)
  return [run, submit, named, other]
})

test("options can be kept apart from the submit, for one error or for any", () => {
  const forAny: TaskOptions = { name: "a", retry: { times: 3 }, priority: 1, delay: "1 second" }
  const forBusy: TaskOptions<{ readonly _tag: "Busy" }> = { retry: { while: (error) => error._tag === "Busy" } }
  tasks.submit(task, forAny)
  tasks.submit(task, forBusy)
  tasks.submit(task, { ...forAny, ...forBusy, group: "g" })
  // @ts-expect-error made for another error
  tasks.submit(Effect.fail("x"), forBusy)
})

test("optional fields may be undefined, so that options can be passed on", () => {
  const layerOf = (workers?: number) => TaskManager.layer({ workers, gracePeriod: undefined })
  expectTypeOf(layerOf(1)).toEqualTypeOf<Layer.Layer<TaskManager>>()
  const list = (name?: string) => tasks.list({ name, after: undefined, limit: undefined })
  expectTypeOf(list()).toEqualTypeOf<Effect.Effect<ReadonlyArray<TaskInfo>>>()
})

test("layers provide their manager, and nothing else", () => {
  expectTypeOf(TaskManager.layer()).toEqualTypeOf<Layer.Layer<TaskManager>>()
  expectTypeOf(Mail.layer({ workers: 1 })).toEqualTypeOf<Layer.Layer<Mail>>()
  expectTypeOf(Mail.layerTest()).toEqualTypeOf<Layer.Layer<Mail>>()
  expectTypeOf(Mail.make()).toEqualTypeOf<Effect.Effect<TaskManagerService, never, Scope.Scope>>()
  expectTypeOf<typeof Mail.key>().toEqualTypeOf<"app/Mail">()
  expectTypeOf<TaskManager["Service"]>().toEqualTypeOf<TaskManagerService>()
  // @ts-expect-error not the same manager
  const wrong: Layer.Layer<TaskManager> = Mail.layer()
  return wrong
})

test("configuration is typed, with its error", () => {
  const layer = TaskManagerConfig.layer(Mail, {
    workers: Config.Int("WORKERS"),
    rate: { limit: Config.Int("LIMIT"), window: Config.Duration("WINDOW") },
    gracePeriod: Config.Duration("GRACE").pipe(Config.withDefault("10 seconds"))
  })
  expectTypeOf(layer).toEqualTypeOf<Layer.Layer<Mail, Config.ConfigError>>()
  // @ts-expect-error a string is no number of workers
  TaskManagerConfig.layer(Mail, { workers: Config.String("WORKERS") })
  // @ts-expect-error no such option
  TaskManagerConfig.layer(Mail, { threads: Config.Int("THREADS") })
})

test("records are read-only", () => {
  const info = {} as TaskInfo
  const stats = {} as TaskStats
  const options = {} as TaskManagerOptions
  // @ts-expect-error read-only
  info.state = "waiting"
  // @ts-expect-error read-only
  stats.waiting = 1
  // @ts-expect-error read-only
  options.workers = 1
})

test("events, stats and failures have the fields that are promised", () => {
  expectTypeOf(tasks.events).toEqualTypeOf<Stream.Stream<TaskEvent>>()
  expectTypeOf<TaskEvent["_tag"]>().toEqualTypeOf<
    "Submitted" | "Started" | "Retrying" | "Completed" | "Failed" | "Aborted"
  >()
  expectTypeOf<keyof TaskStats>().toEqualTypeOf<
    | "submitted"
    | "waiting"
    | "delayed"
    | "running"
    | "completed"
    | "failed"
    | "aborted"
    | "workers"
    | "capacity"
    | "manager"
  >()
  expectTypeOf<Pick<TaskFailedError, "id" | "task" | "attempts" | "message">>().toEqualTypeOf<{
    readonly id: string
    readonly task: string
    readonly attempts: number
    readonly message: string
  }>()
})
