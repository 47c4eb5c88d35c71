import { CurrentTask, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Layer, Logger, Metric, References, Schedule, type Scope, Tracer } from "effect"
import { TestClock } from "effect/testing"

const layer = (options?: TaskManagerOptions) => Layer.merge(TaskManager.layer(options), Logger.layer([]))
const manager = layer({ workers: 1 })

const once = (after: Duration.Input) => Schedule.upTo(Schedule.spaced(after), { times: 1 })

describe("an attempt", () => {
  it.effect("knows its number, and so do its span and its log entries", () =>
    Effect.gen(function*() {
      const numbers: Array<unknown> = []
      const logged: Array<unknown> = []
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const logger = Logger.make(({ fiber, logLevel }) =>
        void logged.push([logLevel, fiber.getRef(References.CurrentLogAnnotations).attempts])
      )
      const task = Effect.gen(function*() {
        const { attempts, state } = yield* CurrentTask
        numbers.push([attempts, state])
        return yield* Effect.fail(attempts)
      })
      const handle = yield* TaskManager.submit(task, { retry: Schedule.recurs(2) }).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Debug"),
        Effect.provideService(Tracer.Tracer, tracer)
      )
      const outcome = yield* handle.await
      assert.strictEqual(outcome._tag === "Failed" && outcome.error.attempts, 3)
      assert.deepStrictEqual(numbers, [[1, "running"], [2, "running"], [3, "running"]])
      assert.deepStrictEqual(spans.map((span) => span.attributes.get("task.attempt")), [1, 2, 3])
      assert.deepStrictEqual(logged, [["Debug", 1], ["Debug", 2], ["Error", 3]])
    }).pipe(Effect.provide(manager)))

  it.effect("has a scope of its own, closed with its exit before the backoff begins", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const scopes = new Set<Scope.Scope>()
      const log: Array<string> = []
      const task = Effect.gen(function*() {
        const { attempts } = yield* CurrentTask
        scopes.add(yield* Effect.scope)
        yield* Effect.acquireRelease(
          Effect.sync(() => log.push(`open ${attempts}`)),
          (_, exit) => Effect.delay(Effect.sync(() => log.push(`close ${attempts} ${exit._tag}`)), "2 seconds")
        )
        if (attempts === 1) return yield* Effect.fail("x")
      })
      const handle = yield* tasks.submit(task, { retry: Schedule.spaced("5 seconds") })
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual([log, yield* handle.state], [["open 1"], "running"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([log, yield* handle.state], [["open 1", "close 1 Failure"], "delayed"])
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(log.length, 2)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(log.slice(2), ["open 2"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([log.slice(3), yield* handle.state], [["close 2 Success"], "completed"])
      assert.strictEqual(scopes.size, 2)
    }).pipe(Effect.provide(manager)))

  for (const [how, fork] of [["forkChild", Effect.forkChild], ["forkScoped", Effect.forkScoped]] as const) {
    it.effect(`ends with what it started by ${how}, and keeps the worker until that has ended`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const log: Array<string> = []
        const child = Effect.never.pipe(
          Effect.onInterrupt(() => Effect.delay(Effect.sync(() => log.push("child ended")), "3 seconds"))
        )
        const task = Effect.andThen(fork(child, { startImmediately: true }), Effect.fail("x"))
        const handle = yield* tasks.submit(task, { retry: once("1 second") })
        yield* tasks.submit(Effect.sync(() => log.push("next")))
        yield* TestClock.adjust("2999 millis")
        assert.deepStrictEqual([log, yield* handle.state], [[], "running"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual([log, yield* handle.state], [["child ended", "next"], "delayed"])
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual([log.slice(2), yield* handle.state], [["child ended"], "failed"])
      }).pipe(Effect.provide(manager)))
  }

  it.effect("is told what failed before", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const task = Effect.gen(function*() {
        const { attempts, cause } = yield* CurrentTask
        seen.push(cause?.reasons.map((reason) => Cause.isFailReason(reason) && String(reason.error)))
        return yield* Effect.fail(`error ${attempts}`)
      })
      yield* (yield* TaskManager.submit(task, { retry: Schedule.recurs(2) })).await
      assert.deepStrictEqual(seen, [
        undefined,
        ["Error: attempt 1: error 1"],
        ["Error: attempt 1: error 1", "Error: attempt 2: error 2"]
      ])
    }).pipe(Effect.provide(manager)))

  it.live("that fails at once and for ever leaves the process its timers, and can be cancelled", () =>
    Effect.gen(function*() {
      let attempts = 0
      const handle = yield* TaskManager.submit(Effect.suspend(() => Effect.fail(++attempts)), {
        retry: Schedule.forever
      })
      yield* Effect.sleep("20 millis")
      assert.isTrue(yield* handle.cancel)
      assert.isAbove(attempts, 100)
    }).pipe(Effect.provide(manager)))

  it.effect("leaves no fiber of an earlier one behind", () =>
    Effect.gen(function*() {
      let ticks = 0
      const tick = Effect.forever(Effect.delay(Effect.sync(() => ticks++), "1 second"))
      const task = Effect.andThen(Effect.forkChild(tick), Effect.andThen(Effect.sleep("2500 millis"), Effect.fail("x")))
      yield* TaskManager.submit(task, { retry: once("1 minute") })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ticks, 2)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ticks, 4)
    }).pipe(Effect.provide(manager)))
})

/** Counts the fibers that are alive, and the sleeps of the manager's clock. */
const counted = <A, E>(
  options: TaskManagerOptions,
  use: (counts: { fibers: number; sleeping: number; sleeps: number }) => Effect.Effect<A, E, TaskManager>
) =>
  Effect.gen(function*() {
    const counts = { fibers: 0, sleeping: 0, sleeps: 0 }
    const clock = yield* Clock.Clock
    const counting: Clock.Clock = Object.assign(Object.create(clock), {
      sleep: (duration: Duration.Duration) =>
        Effect.suspend(() => {
          counts.sleeping++
          counts.sleeps++
          return Effect.ensuring(clock.sleep(duration), Effect.sync(() => counts.sleeping--))
        })
    })
    const fibers: Metric.FiberRuntimeMetricsService = {
      recordFiberStart: () => void counts.fibers++,
      recordFiberEnd: () => void counts.fibers--
    }
    return yield* use(counts).pipe(
      Effect.provide(Layer.provide(layer(options), Layer.succeed(Clock.Clock, counting))),
      Effect.provideService(Metric.FiberRuntimeMetrics, fibers)
    )
  })

describe("a task in backoff", () => {
  it.effect("holds no worker: as many others run as there are workers", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const retry = Schedule.spaced("1 hour")
      yield* Effect.forEach([1, 2, 3, 4], () => tasks.submit(Effect.fail("x"), { retry }))
      yield* Effect.forEach([1, 2], () => tasks.submit(Effect.never))
      yield* TestClock.adjust(1)
      const { delayed, running } = yield* tasks.stats
      assert.deepStrictEqual({ delayed, running }, { delayed: 4, running: 2 })
    }).pipe(Effect.provide(layer({ workers: 2, gracePeriod: 0 }))))

  it.effect("holds no fiber and no timer of its own: 2,000 keep one wake-up", () =>
    counted({ workers: 2, capacity: 100, gracePeriod: 0 }, (counts) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* TestClock.adjust(1)
        const before = counts.fibers
        assert.strictEqual(counts.sleeping, 0)
        let attempts = 0
        const retry = Schedule.addDelay(
          Schedule.spaced("1 minute"),
          () => Effect.succeed(Duration.millis(attempts % 10))
        )
        const task = Effect.suspend(() => Effect.fail(++attempts))
        for (let i = 0; i < 2000; i++) yield* tasks.submit(task, { retry })
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* tasks.stats).delayed, 2000)
        assert.strictEqual(counts.fibers, before + 1)
        assert.strictEqual(counts.sleeping, 1)
        assert.isAtMost(counts.sleeps, 20)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(attempts, 4000)
        assert.strictEqual(counts.fibers, before + 1)
        assert.strictEqual(counts.sleeping, 1)
        assert.isAtMost(counts.sleeps, 60)
        yield* tasks.shutdown()
        assert.strictEqual(counts.sleeping, 0)
      })))

  it.effect("is woken for an earlier one, and only then", () =>
    counted({ gracePeriod: 0 }, (counts) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const times: Array<[string, number]> = []
        const task = (name: string) =>
          Effect.clockWith((clock) => {
            times.push([name, clock.currentTimeMillisUnsafe()])
            return Effect.fail(name)
          })
        yield* tasks.submit(task("late"), { retry: once("10 seconds") })
        yield* tasks.submit(task("early"), { retry: once("1 second") })
        yield* tasks.submit(task("middle"), { retry: once("5 seconds") })
        yield* TestClock.adjust(0)
        assert.strictEqual(counts.sleeping, 1)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(times.slice(3), [["early", 1000], ["middle", 5000], ["late", 10_000]])
        assert.strictEqual(counts.sleeping, 0)
      })))

  for (const [step, hours] of [["forward", 1], ["back", -1]] as const) {
    it.effect(`comes back in time when the wall clock is set ${step} by an hour`, () =>
      Effect.gen(function*() {
        let shift = 0
        const clock = yield* Clock.Clock
        const stepped: Clock.Clock = Object.assign(Object.create(clock), {
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + shift,
          currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + shift)
        })
        const program = Effect.gen(function*() {
          const attempts: Record<string, Array<number>> = {}
          for (
            const [name, schedule] of Object.entries({
              spaced: Schedule.spaced("1 second"),
              exponential: Schedule.exponential("1 second"),
              fixed: Schedule.fixed("1 second"),
              windowed: Schedule.windowed("1 second"),
              limited: Schedule.upTo(Schedule.spaced("1 second"), { duration: "1 day" }),
              cron: Schedule.cron("* * * * * *", "UTC")
            })
          ) {
            const log: Array<number> = attempts[name] = []
            yield* TaskManager.submit(
              Effect.suspend(() => Effect.fail(log.push(clock.currentTimeMillisUnsafe()))),
              { name, retry: schedule }
            )
          }
          yield* TestClock.adjust("2500 millis")
          shift = Duration.toMillis(Duration.hours(1)) * hours
          const before = Object.values(attempts).map((log) => log.length)
          assert.deepStrictEqual(attempts.spaced, [0, 1000, 2000])
          yield* TestClock.adjust("7500 millis")
          assert.deepStrictEqual(attempts.spaced, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000])
          assert.deepStrictEqual(attempts.exponential, [0, 1000, 3000, 7000])
          for (const [i, log] of Object.values(attempts).entries()) assert.isAbove(log.length, before[i]!)
        })
        yield* Effect.provide(program, layer({ gracePeriod: 0 })).pipe(Effect.provideService(Clock.Clock, stepped))
      }))
  }

  it.effect("starts at its time and not a millisecond before", () =>
    Effect.gen(function*() {
      let attempts = 0
      const task = Effect.suspend(() => Effect.fail(++attempts))
      yield* TaskManager.submit(task, { retry: once("1 minute") })
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(attempts, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(attempts, 2)
    }).pipe(Effect.provide(manager)))
})
