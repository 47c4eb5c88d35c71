import { TaskManager, type TaskOutcome } from "@effect-tasks/core"
import * as TaskManagerConfig from "@effect-tasks/core/TaskManagerConfig"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Logger,
  Metric,
  Schedule,
  Stream,
  Tracer
} from "effect"
import { TestClock } from "effect/testing"

class Tenant extends Context.Service<Tenant, string>()("test/Tenant") {}

/** When the attempts start under the manager, and under `Effect.retry` beside it. */
const retryTimes = (retry: Schedule.Schedule<unknown, unknown, unknown>) =>
  Effect.gen(function*() {
    const times: { readonly manager: Array<number>; readonly effect: Array<number> } = { manager: [], effect: [] }
    const task = (log: Array<number>) =>
      Effect.clockWith((clock) => {
        log.push(clock.currentTimeMillisUnsafe())
        return Effect.fail("x")
      })
    yield* Effect.forkChild(Effect.ignore(TaskManager.run(task(times.manager), { retry })))
    yield* Effect.forkChild(Effect.ignore(Effect.retry(task(times.effect), retry)))
    yield* TestClock.adjust("1 hour")
    return times
  })

describe("the laws", () => {
  for (
    const [name, schedule] of [
      ["spaced", Schedule.upTo(Schedule.spaced("1 second"), { times: 3 })],
      ["windowed", Schedule.upTo(Schedule.windowed("7 seconds"), { times: 3 })],
      ["exponential", Schedule.upTo(Schedule.exponential("100 millis"), { times: 6 })],
      ["elapsed", Schedule.upTo(Schedule.spaced("1 second"), { duration: "5 seconds" })],
      ["cron", Schedule.upTo(Schedule.cron("*/10 * * * *", "UTC"), { times: 3 })]
    ] as const
  ) {
    it.effect(`a ${name} schedule retries as under Effect.retry, time for time`, () =>
      Effect.gen(function*() {
        const { effect, manager } = yield* retryTimes(schedule)
        assert.isAbove(effect.length, 3)
        assert.deepStrictEqual(manager, effect)
      }).pipe(Effect.provide(TaskManager.layer())))
  }

  it.effect("a task sees its submitter's services", () =>
    Effect.gen(function*() {
      const tenant = TaskManager.run(Tenant.useSync((tenant) => tenant))
      assert.strictEqual(yield* Effect.provideService(tenant, Tenant, "a"), "a")
      assert.strictEqual(yield* Effect.provideService(tenant, Tenant, "b"), "b")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("a failed task makes one error entry with its attempts in order", () =>
    Effect.gen(function*() {
      const entries: Array<string> = []
      const logger = Logger.make(({ cause, logLevel }) => void entries.push(`${logLevel} ${Cause.pretty(cause)}`))
      const handle = yield* TaskManager.submit(Effect.fail("boom"), { name: "mail", retry: Schedule.recurs(1) }).pipe(
        Effect.provide(Logger.layer([logger]))
      )
      yield* handle.await
      assert.strictEqual(entries.length, 1)
      assert.match(
        entries[0]!,
        /^Error TaskFailedError: mail failed after 2 attempts: boom[^]*attempt 1: boom[^]*attempt 2: boom/
      )
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("a task submitted during the run of its key runs once more after it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const options = { key: "k", keyUntil: "start" } as const
      yield* tasks.submit(Effect.tap(Deferred.await(gate), () => Effect.sync(() => log.push("first"))), options)
      yield* Effect.yieldNow
      const second = yield* tasks.submit(Effect.sync(() => log.push("second")), options)
      const third = yield* tasks.submit(Effect.sync(() => log.push("third")), options)
      assert.strictEqual(second.id, third.id)
      assert.strictEqual(yield* second.state, "waiting")
      yield* Deferred.succeed(gate, undefined)
      yield* tasks.awaitIdle
      assert.deepStrictEqual(log, ["first", "second"])
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("a priority overtakes what has waited for less", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      yield* tasks.pause
      yield* tasks.submit(Effect.sync(() => log.push("old")))
      yield* TestClock.adjust("5 seconds")
      yield* tasks.submit(Effect.sync(() => log.push("young")))
      yield* tasks.submit(Effect.sync(() => log.push("urgent")), { priority: 4 })
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.deepStrictEqual(log, ["old", "urgent", "young"])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1 }))))

  it.effect("two tasks that wait for each other do not hang", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const ready = yield* Deferred.make<Effect.Effect<TaskOutcome<unknown, unknown>>>()
      const a = yield* tasks.submit(Effect.flatten(Deferred.await(ready)))
      const b = yield* tasks.submit(a.await)
      yield* Effect.yieldNow
      yield* Deferred.succeed(ready, b.await)
      yield* tasks.awaitIdle
      const outcome = yield* a.await
      assert.strictEqual(outcome._tag, "Failed")
      if (outcome._tag === "Failed") assert.match(outcome.error.message, /neither would ever end/)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("a task that waits within its own group lends it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inner = tasks.run(Effect.succeed("inner"), { group: "g" })
      assert.strictEqual(yield* tasks.run(inner, { group: "g" }), "inner")
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1 }))))

  it.effect("a wait that is interrupted goes on while its worker is still lent", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const slow = yield* Deferred.make<void>()
      const handle = yield* tasks.submit(Effect.gen(function*() {
        const inner = yield* tasks.submit(Deferred.await(slow))
        return yield* Effect.timeoutOption(inner.join, "1 second")
      }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* handle.join)._tag, "None")
      yield* Deferred.succeed(slow, undefined)
      yield* tasks.awaitIdle
      assert.strictEqual(yield* tasks.run(Effect.succeed(1)), 1)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1 }))))

  it.effect("an interrupted run cancels its task and waits for the finalizers", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let finalized = false
      const fiber = yield* Effect.forkChild(
        tasks.run(Effect.ensuring(Effect.never, Effect.sync(() => finalized = true)))
      )
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(finalized)
      assert.strictEqual((yield* tasks.stats).aborted, 1)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("events tell what happens, in order", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fiber = yield* Effect.forkChild(Stream.runCollect(Stream.take(tasks.events, 3)), { startImmediately: true })
      yield* Effect.yieldNow
      yield* tasks.run(Effect.void)
      assert.deepStrictEqual(
        (yield* Fiber.join(fiber)).map(({ _tag, seq }) => [seq, _tag]),
        [[1, "Submitted"], [2, "Started"], [3, "Completed"]]
      )
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("metrics are tagged with manager and task", () =>
    Effect.gen(function*() {
      yield* TaskManager.run(Effect.void, { name: "mail" })
      const outcome = (yield* Metric.snapshot).find(({ attributes, id }) =>
        id === "effect_tasks_outcomes_total" && attributes?.task === "mail" && attributes.outcome === "completed"
      )
      assert.deepStrictEqual(outcome?.state, { count: 1, incremental: true })
    }).pipe(Effect.provide(TaskManager.layer()), Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("the first attempt's span is a child of the submitter's, a retry's is linked to it", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span(options) {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* TaskManager.run(Effect.fail("x"), { name: "mail", retry: Schedule.recurs(1) }).pipe(
        Effect.ignore,
        Effect.withSpan("request"),
        Effect.provideService(Tracer.Tracer, tracer)
      )
      assert.deepStrictEqual(spans.map(({ links, name, parent }) => [name, parent._tag, links.length]), [
        ["request", "None", 0],
        ["mail", "Some", 0],
        ["mail", "None", 1]
      ])
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("a value out of range in the configuration is a ConfigError", () =>
    Effect.gen(function*() {
      const layer = TaskManagerConfig.layer(TaskManager, { workers: Config.Int("WORKERS") })
      const env = (WORKERS: string) => ConfigProvider.layer(ConfigProvider.fromEnv({ env: { WORKERS } }))
      const workers = (value: string) =>
        TaskManager.use((tasks) => tasks.stats).pipe(Effect.provide(Layer.provide(layer, env(value))))
      assert.strictEqual((yield* workers("3")).workers, 3)
      assert.match((yield* Effect.flip(workers("0"))).message, /workers: expected a whole number >= 1, got 0/)
    }))
})
