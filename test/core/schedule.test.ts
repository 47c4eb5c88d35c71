import { CurrentTask, TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Effect, Exit, Fiber, Logger, References, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"

class Tenant extends Context.Service<Tenant, string>()("test/Tenant") {}

const one = TaskManager.layer({ workers: 1, gracePeriod: 0 })

/** A task that writes down when it runs, in milliseconds. */
const makeTicks = () => {
  const times: Array<number> = []
  return { times, tick: Effect.map(Clock.currentTimeMillis, (now) => void times.push(now)) }
}

/** The schedule, and how often it has been asked for a step. */
const countSteps = <A>(schedule: Schedule.Schedule<A>) => {
  let steps = 0
  return {
    count: () => steps,
    schedule: Schedule.modifyDelay(schedule, ({ duration }) => Effect.sync(() => (steps++, duration)))
  }
}

describe("schedule", () => {
  const schedules: Record<string, Schedule.Schedule<unknown, unknown, unknown>> = {
    spaced: Schedule.spaced("1 second"),
    fixed: Schedule.fixed("1 second"),
    windowed: Schedule.windowed("7 seconds"),
    exponential: Schedule.exponential("100 millis"),
    fibonacci: Schedule.fibonacci("100 millis"),
    cron: Schedule.cron("*/10 * * * * *", "UTC"),
    limited: Schedule.upTo(Schedule.spaced("1 second"), { times: 3 }),
    elapsed: Schedule.upTo(Schedule.spaced("1 second"), { duration: "5 seconds" }),
    once: Schedule.recurs(1),
    empty: Schedule.recurs(0)
  }
  for (const [name, schedule] of Object.entries(schedules)) {
    it.effect(`submits at the steps of a ${name} schedule as Effect.schedule runs, time for time`, () =>
      Effect.gen(function*() {
        yield* TestClock.adjust(2500)
        const ours = makeTicks()
        const effects = makeTicks()
        yield* TaskManager.schedule(ours.tick, schedule)
        yield* Effect.forkScoped(Effect.schedule(effects.tick, schedule))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(ours.times, effects.times)
      }).pipe(Effect.provide(one)))
  }

  it.effect("does not submit at once, and neither waits for the first occurrence", () =>
    Effect.gen(function*() {
      const { tick, times } = makeTicks()
      yield* TaskManager.schedule(tick, Schedule.spaced("1 second"))
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(times, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(times, [1000])
    }).pipe(Effect.provide(one)))

  it.effect("keeps the times of a fixed schedule however long the tasks take", () =>
    Effect.gen(function*() {
      const { tick, times } = makeTicks()
      yield* TaskManager.schedule(Effect.andThen(tick, Effect.sleep(700)), Schedule.fixed("1 second"))
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(times, [1000, 2000, 3000, 4000])
    }).pipe(Effect.provide(one)))

  it.effect("skips an occurrence while the last one is still in, and goes on afterwards", () =>
    Effect.gen(function*() {
      const { tick, times } = makeTicks()
      yield* TaskManager.schedule(Effect.andThen(tick, Effect.sleep(1500)), Schedule.spaced("1 second"))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times, [1000, 3000, 5000])
    }).pipe(Effect.provide(one)))

  it.effect("skips while the last one waits for a worker, is delayed, or is in backoff", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const waiting = makeTicks()
      const delayed = makeTicks()
      const backoff = makeTicks()
      yield* tasks.schedule(waiting.tick, Schedule.spaced("1 second"))
      yield* tasks.schedule(delayed.tick, Schedule.spaced("1 second"), { delay: 1500 })
      yield* tasks.schedule(Effect.andThen(backoff.tick, Effect.fail("x")), Schedule.spaced("1 second"), {
        retry: { schedule: Schedule.spaced(1400), times: 1 }
      })
      yield* tasks.pause
      yield* TestClock.adjust("4500 millis")
      yield* tasks.resume
      yield* TestClock.adjust("5500 millis")
      assert.strictEqual((yield* tasks.stats).manager, "running")
      assert.deepStrictEqual(waiting.times, [4500, 5000, 6000, 7000, 8000, 9000, 10_000])
      assert.deepStrictEqual(delayed.times, [4500, 6500, 8500])
      assert.deepStrictEqual(backoff.times, [4500, 5900, 6000, 7400, 8000, 9400, 10_000])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 3, gracePeriod: 0 }))))

  it.effect("skips while the last one is suspended for room, which it takes once it is there", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      yield* tasks.submit(Effect.sleep("3500 millis"))
      yield* tasks.schedule(tick, Schedule.spaced("1 second"))
      yield* TestClock.adjust("3499 millis")
      assert.strictEqual((yield* tasks.stats).submitted, 1)
      yield* TestClock.adjust("501 millis")
      assert.deepStrictEqual(times, [3500, 4000])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 0 }))))

  it.effect("goes on after an occurrence that failed, died, was cancelled or expired", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const seen: Array<string> = []
      const task = Effect.gen(function*() {
        const { id } = yield* CurrentTask
        seen.push(id)
        if (id === "1") return yield* Effect.fail("x")
        if (id === "2") return yield* Effect.die("x")
        if (id === "3") {
          return yield* Effect.flatMap(TaskManager, ({ cancel }) => Effect.andThen(cancel("3"), Effect.never))
        }
        if (id === "4") return yield* Effect.never
      })
      yield* tasks.schedule(task, Schedule.spaced("1 second"), { timeToLive: 900 })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(seen, ["1", "2", "3", "4", "5"])
    }).pipe(Effect.provide(one)))

  it.effect("gives every occurrence the task's options and the submitter's services", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const look = Effect.map(Effect.all([CurrentTask, Tenant]), ([{ attempts, group, name }, tenant]) =>
        void seen.push([name, group, attempts, tenant]))
      const hook = Effect.sync(() =>
        void seen.push("hook")
      )
      yield* TaskManager.schedule(Effect.andThen(look, Effect.fail("x")), Schedule.spaced("1 second"), {
        name: "a",
        group: "g",
        retry: Schedule.recurs(1),
        onFailed: () => hook
      }).pipe(Effect.provideService(Tenant, "t"))
      yield* TestClock.adjust("2 seconds")
      const occurrence = [["a", "g", 1, "t"], ["a", "g", 2, "t"], "hook"]
      assert.deepStrictEqual(seen, [...occurrence, ...occurrence])
    }).pipe(Effect.provide(one)))

  it.effect("two schedules do not skip because of each other", () =>
    Effect.gen(function*() {
      const a = makeTicks()
      const b = makeTicks()
      yield* TaskManager.schedule(Effect.andThen(a.tick, Effect.never), Schedule.spaced("1 second"), { name: "a" })
      yield* TaskManager.schedule(b.tick, Schedule.spaced("1 second"), { name: "a" })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual([a.times, b.times], [[1000], [1000, 2000, 3000]])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 2, gracePeriod: 0 }))))
})

describe("the end of a schedule", () => {
  it.effect("comes with the scope: nothing more is submitted, and what is in goes on", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      const scope = yield* Scope.make()
      const task = Effect.andThen(Effect.sleep("500 millis"), tick)
      yield* Scope.provide(tasks.schedule(task, Schedule.spaced("1 second")), scope)
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times, [1500])
      assert.strictEqual((yield* tasks.stats).submitted, 1)
    }).pipe(Effect.provide(one)))

  it.effect("comes with the scope: a suspended occurrence leaves nothing behind", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const blocker = yield* tasks.submit(Effect.never)
      const scope = yield* Scope.make()
      yield* Scope.provide(tasks.schedule(Effect.void, Schedule.spaced("1 second")), scope)
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      yield* blocker.cancel
      yield* tasks.awaitIdle
      assert.strictEqual((yield* tasks.stats).submitted, 1)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 0 }))))

  it.effect("comes with the manager's stop, which does not wait for the next occurrence", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      const { count, schedule } = countSteps(Schedule.spaced("1 second"))
      yield* tasks.schedule(tick, schedule)
      yield* TestClock.adjust("1 second")
      const report = yield* tasks.shutdown({ gracePeriod: "1 hour" })
      assert.strictEqual(report.stats.submitted, 1)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times, [1000])
      assert.strictEqual(count(), 2)
    }).pipe(Effect.provide(one)))

  it.effect("comes at the begin of a drain, while the last occurrence still runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      yield* tasks.schedule(Effect.andThen(Effect.sleep("500 millis"), tick), Schedule.spaced("1 second"))
      yield* TestClock.adjust("1 second")
      const shutdown = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: "1 hour" }))
      yield* TestClock.adjust("500 millis")
      const report = yield* Fiber.join(shutdown)
      assert.deepStrictEqual(times, [1500])
      assert.deepStrictEqual([report.stats.submitted, report.stats.completed], [1, 1])
    }).pipe(Effect.provide(one)))

  it.effect("comes with the last step, and awaitIdle then finds nothing left", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      yield* tasks.schedule(tick, Schedule.upTo(Schedule.spaced("1 second"), { times: 2 }))
      yield* TestClock.adjust("1 minute")
      yield* tasks.awaitIdle
      assert.deepStrictEqual(times, [1000, 2000])
    }).pipe(Effect.provide(one)))

  it.effect("does not take the last occurrence along when that is still suspended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      yield* tasks.submit(Effect.sleep("10 seconds"))
      yield* tasks.schedule(tick, Schedule.upTo(Schedule.spaced("1 second"), { times: 1 }))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times, [10_000])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 0 }))))

  it.effect("has come already when the manager has stopped", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { count, schedule } = countSteps(Schedule.spaced("1 second"))
      yield* tasks.shutdown()
      yield* tasks.schedule(Effect.void, schedule)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* tasks.stats).submitted, 0)
      assert.strictEqual(count(), 0)
    }).pipe(Effect.provide(one)))

  it.effect("comes with the attempt's scope for a task that schedules", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { tick, times } = makeTicks()
      yield* tasks.submit(
        Effect.andThen(tasks.schedule(tick, Schedule.spaced("1 second")), Effect.sleep("2500 millis"))
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [1000, 2000])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 2 }))))
})

describe("a schedule that fails", () => {
  /** Runs `steps` steps of a second each, then fails. */
  const failingAfter = (steps: number) =>
    Schedule.modifyDelay(
      Schedule.spaced("1 second"),
      ({ attempt, duration }) => attempt > steps ? Effect.fail(`no step ${attempt}`) : Effect.succeed(duration)
    )

  it.effect("at its first step dies where it was given", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(TaskManager.schedule(Effect.void, failingAfter(0)))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "no step 1")
    }).pipe(Effect.provide(one)))

  it.effect("at a later step logs one error with the cause, and submits no more", () =>
    Effect.gen(function*() {
      const { tick, times } = makeTicks()
      const entries: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) =>
        void entries.push([logLevel, message, Cause.pretty(cause), fiber.getRef(References.CurrentLogAnnotations)])
      )
      yield* TaskManager.schedule(tick, failingAfter(2), { name: "tick" }).pipe(
        Effect.annotateLogs("request", "r1"),
        Effect.provide(Logger.layer([logger]))
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [1000, 2000])
      assert.deepStrictEqual(entries.map((entry) => (entry as Array<unknown>)[0]), ["Error"])
      const [, message, cause, annotations] = entries[0] as Array<unknown>
      assert.match(String(message), /schedule failed and submits no more/)
      assert.match(String(cause), /no step 3/)
      assert.deepStrictEqual(annotations, { request: "r1", manager: "@effect-tasks/core/TaskManager", task: "tick" })
    }).pipe(Effect.provide(one)))
})

describe("a bad argument of schedule", () => {
  it.effect("dies at once, naming it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const bad = [
        [tasks.schedule("x" as never as Effect.Effect<void>, Schedule.forever), /task: expected an Effect/],
        [tasks.schedule(Effect.void, "x" as never), /schedule: expected a Schedule/],
        [tasks.schedule(Effect.void, Schedule.forever, { timeToLive: 0 }), /timeToLive: expected a duration > 0/],
        [tasks.schedule(Effect.void, Schedule.forever, { name: 1 as never }), /name: expected a string/]
      ] as const
      for (const [schedule, message] of bad) {
        const exit = yield* Effect.exit(schedule)
        assert.match(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "none", message)
      }
    }).pipe(Effect.provide(one)))
})
