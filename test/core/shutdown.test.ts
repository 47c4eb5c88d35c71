import {
  type ShutdownReport,
  TaskManager,
  type TaskManagerOptions,
  type TaskManagerService,
  TaskManagerStoppedError
} from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  ErrorReporter,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  Schedule,
  Scope,
  Stream
} from "effect"
import { after, quiet } from "./virtualTime.ts"

const manager = (options?: TaskManagerOptions) => TaskManager.layer(options)

/** Begins a shutdown and comes back while it is under way. */
const begin = (tasks: TaskManagerService, gracePeriod?: number) =>
  Effect.tap(Effect.forkChild(tasks.shutdown(gracePeriod === undefined ? {} : { gracePeriod })), () => quiet)

const hasEnded = <A, E>(fiber: Fiber.Fiber<A, E>) => fiber.pollUnsafe() !== undefined

/** Says `name` when it runs, and takes `millis`. */
const steps = () => {
  const log: Array<string> = []
  const step = (name: string, millis = 0) =>
    Effect.gen(function*() {
      log.push(name)
      if (millis > 0) yield* Effect.sleep(millis)
      log.push(`${name} done`)
    })
  return { log, step }
}

const reasons = (report: ShutdownReport) => report.unfinished.map(({ name, reason }) => `${name} ${reason ?? "failed"}`)

describe("a shutdown in the turn of the last submit", () => {
  for (const gracePeriod of [1, 1000, Infinity]) {
    it.effect(`runs all that was accepted, with a grace period of ${gracePeriod}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        let ran = 0
        const handles = yield* Effect.forEach(
          Array.from({ length: 64 }),
          () => tasks.submit(Effect.sync(() => ++ran), { retry: Schedule.recurs(2) })
        )
        const report = yield* tasks.shutdown({ gracePeriod })
        assert.strictEqual(ran, 64)
        assert.strictEqual(report.stats.completed, 64)
        assert.deepStrictEqual(report.unfinished, [])
        assert.isTrue(Option.isNone(report.cause))
        assert.strictEqual((yield* Effect.forEach(handles, ({ join }) => join)).length, 64)
      }).pipe(Effect.provide(manager({ workers: 4 }))))
  }

  for (const workers of [1, 4, 100]) {
    it.effect(`starts nothing with a grace period of 0, at ${workers} workers`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        let ran = 0
        const handles = yield* Effect.forEach(
          Array.from({ length: 64 }),
          () => tasks.submit(Effect.sync(() => ++ran))
        )
        const report = yield* tasks.shutdown({ gracePeriod: 0 })
        assert.strictEqual(ran, 0)
        assert.deepStrictEqual(report.unfinished.map(({ attempts }) => attempts), Array.from({ length: 64 }, () => 0))
        for (const handle of handles) {
          const error = yield* Effect.flip(handle.join)
          assert.deepStrictEqual([error._tag, error.reason, error.attempts], ["TaskAbortedError", "shutdown", 0])
        }
        assert.isTrue(yield* tasks.isStopped)
      }).pipe(Effect.provide(manager({ workers }))))
  }
})

describe("during the grace period", () => {
  it.effect("waiting tasks run; what has not ended at its end is interrupted, and not before", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      for (const name of ["a", "b", "c", "d"]) {
        yield* tasks.submit(Effect.onInterrupt(step(name, 400), () => Effect.sync(() => log.push(`${name} cut`))), {
          name
        })
      }
      const shutdown = yield* begin(tasks, 1000)
      yield* after(999)
      assert.deepStrictEqual(log, ["a", "a done", "b", "b done", "c"])
      assert.isFalse(hasEnded(shutdown))
      yield* after(1)
      assert.deepStrictEqual(log.slice(5), ["c cut"])
      const report = yield* Fiber.join(shutdown)
      assert.deepStrictEqual(reasons(report), ["c shutdown", "d shutdown"])
      assert.deepStrictEqual(report.unfinished.map(({ attempts, id, state }) => [id, attempts, state]), [
        ["3", 1, "aborted"],
        ["4", 0, "aborted"]
      ])
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("it ends as soon as nothing is left", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.sleep("1 second"))
      const shutdown = yield* begin(tasks, 60_000)
      yield* after(999)
      assert.isFalse(hasEnded(shutdown))
      yield* after(1)
      assert.isTrue(hasEnded(shutdown))
    }).pipe(Effect.provide(manager())))

  it.effect("delayed starts due before its end run at their time, later ones abort at once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(step("early"), { delay: 999 })
      const exact = yield* tasks.submit(step("exact"), { delay: 1000 })
      const late = yield* tasks.submit(step("late"), { delay: 1001 })
      yield* begin(tasks, 1000)
      assert.deepStrictEqual([yield* exact.state, yield* late.state], ["aborted", "aborted"])
      yield* after(998)
      assert.deepStrictEqual(log, [])
      yield* after(1)
      assert.deepStrictEqual(log, ["early", "early done"])
      assert.isTrue(yield* tasks.isStopped)
    }).pipe(Effect.provide(manager())))

  it.effect("retries due before its end run at their time, later ones abort at once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const times: Array<string> = []
      const task = (name: string, delay: number) =>
        tasks.submit(
          Effect.clockWith((clock) => {
            times.push(`${name} ${clock.currentTimeMillisUnsafe()}`)
            return Effect.fail("again")
          }),
          { name, retry: Schedule.spaced(delay) }
        )
      yield* task("often", 300)
      const exact = yield* task("exact", 500)
      yield* quiet
      const shutdown = yield* begin(tasks, 1000)
      yield* after(499)
      assert.strictEqual(yield* exact.state, "delayed")
      yield* after(1)
      assert.strictEqual(yield* exact.state, "aborted")
      yield* after(400)
      assert.deepStrictEqual(times, ["often 0", "exact 0", "often 300", "exact 500", "often 600", "often 900"])
      const report = yield* Fiber.join(shutdown)
      assert.deepStrictEqual(reasons(report), ["exact shutdown", "often shutdown"])
      assert.deepStrictEqual(report.unfinished.map(({ attempts }) => attempts), [2, 4])
    }).pipe(Effect.provide(manager())))

  it.effect("a task in backoff beyond its end aborts with the failures that it had", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), { retry: Schedule.spaced("1 hour") })
      yield* quiet
      yield* tasks.shutdown({ gracePeriod: "10 minutes" })
      const error = yield* Effect.flip(handle.join)
      if (typeof error === "string") return assert.fail(error)
      assert.strictEqual(error.attempts, 1)
      assert.match(Cause.pretty(error.failures), /attempt 1: boom/)
    }).pipe(Effect.provide(manager())))

  it.effect("that never ends, everything runs at its time", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(step("late"), { delay: "30 days" })
      const shutdown = yield* begin(tasks, Infinity)
      yield* after(30 * 24 * 3_600_000 - 1)
      assert.isFalse(hasEnded(shutdown))
      yield* after(1)
      assert.deepStrictEqual(log, ["late", "late done"])
      assert.strictEqual((yield* Fiber.join(shutdown)).stats.completed, 1)
    }).pipe(Effect.provide(manager())))

  it.effect("keys, groups and the rate hold", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(step("a", 100), { group: "g" })
      yield* tasks.submit(step("b"), { group: "g" })
      yield* tasks.submit(step("c"), { group: "g", name: "limited" })
      const shutdown = yield* begin(tasks, 1500)
      yield* after(999)
      assert.deepStrictEqual(log, ["a", "c", "c done", "a done"])
      yield* after(1)
      assert.deepStrictEqual(log.slice(4), ["b", "b done"])
      assert.isTrue(hasEnded(shutdown))
    }).pipe(Effect.provide(manager({ rate: { limit: 2, window: "1 second" } }))))

  it.effect("the run after the present one of its key follows it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(step("first", 500), { key: "k", keyUntil: "start" })
      yield* quiet
      yield* tasks.submit(step("second", 500), { key: "k", keyUntil: "start" })
      const shutdown = yield* begin(tasks, 1001)
      yield* after(1000)
      assert.deepStrictEqual(log, ["first", "first done", "second", "second done"])
      assert.isTrue(hasEnded(shutdown))
    }).pipe(Effect.provide(manager())))

  it.effect("a paused manager resumes, and cannot be paused again", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.pause
      yield* tasks.submit(step("a", 100))
      yield* tasks.submit(step("b"))
      const shutdown = yield* begin(tasks, 1000)
      assert.deepStrictEqual(log, ["a"])
      yield* tasks.pause
      yield* after(100)
      assert.deepStrictEqual(log, ["a", "a done", "b", "b done"])
      assert.isTrue(hasEnded(shutdown))
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("a paused manager starts nothing when the grace period is 0", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(step("a"), { name: "a" })
      assert.deepStrictEqual(reasons(yield* tasks.shutdown()), ["a shutdown"])
      assert.deepStrictEqual(log, [])
    }).pipe(Effect.provide(TaskManager.layerTest())))
})

describe("a second shutdown", () => {
  it.effect("may shorten the grace period: what is due after the new end aborts, the rest is cut then", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(Effect.never, { name: "running" })
      yield* tasks.submit(step("in time"), { delay: 2999 })
      const late = yield* tasks.submit(step("late"), { delay: 3000 })
      const first = yield* begin(tasks, 60_000)
      yield* after(1000)
      assert.strictEqual(yield* late.state, "delayed")
      const second = yield* begin(tasks, 2000)
      assert.strictEqual(yield* late.state, "aborted")
      yield* after(1999)
      assert.isFalse(hasEnded(first))
      assert.deepStrictEqual(log, ["in time", "in time done"])
      yield* after(1)
      assert.strictEqual(yield* Fiber.join(first), yield* Fiber.join(second))
    }).pipe(Effect.provide(manager())))

  it.effect("may not lengthen it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const first = yield* begin(tasks, 1000)
      const second = yield* begin(tasks, Infinity)
      yield* after(999)
      assert.isFalse(hasEnded(first))
      yield* after(1)
      assert.strictEqual(yield* Fiber.join(first), yield* Fiber.join(second))
    }).pipe(Effect.provide(manager())))

  it.effect("counts from its own call, with the manager's grace period when it names none", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const first = yield* begin(tasks, Infinity)
      yield* after(1000)
      yield* begin(tasks)
      yield* after(4999)
      assert.isFalse(hasEnded(first))
      yield* after(1)
      assert.isTrue(hasEnded(first))
    }).pipe(Effect.provide(manager({ gracePeriod: "5 seconds" }))))

  it.effect("of 0 cuts at once, and waits for the finalizers", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.submit(Effect.ensuring(Effect.never, step("finalizer", 1000)))
      const first = yield* begin(tasks, Infinity)
      const second = yield* begin(tasks, 0)
      assert.deepStrictEqual(log, ["finalizer"])
      yield* after(999)
      assert.isFalse(hasEnded(second))
      yield* after(1)
      assert.strictEqual(yield* Fiber.join(first), yield* Fiber.join(second))
    }).pipe(Effect.provide(manager())))

  it.effect("after the end gets the report at once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.fail("x"))
      const report = yield* tasks.shutdown()
      assert.strictEqual(yield* tasks.shutdown({ gracePeriod: "1 hour" }), report)
      assert.strictEqual(report.stats.manager, "stopped")
    }).pipe(Effect.provide(manager())))

  it.effect("gets what a hundred others get at the same time", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const reports = yield* Effect.all(Array.from({ length: 100 }, () => tasks.shutdown({ gracePeriod: 0 })), {
        concurrency: "unbounded"
      })
      assert.strictEqual(new Set(reports).size, 1)
    }).pipe(Effect.provide(manager())))

  it.effect("gets the report of one whose caller was interrupted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never, { name: "a" })
      const first = yield* begin(tasks, 1000)
      yield* Fiber.interrupt(first)
      assert.instanceOf(yield* Effect.flip(tasks.submit(Effect.void)), TaskManagerStoppedError)
      yield* after(999)
      assert.isFalse(yield* tasks.isStopped)
      yield* after(1)
      assert.isTrue(yield* tasks.isStopped)
      assert.deepStrictEqual(reasons(yield* tasks.shutdown()), ["a shutdown"])
    }).pipe(Effect.provide(manager())))

  it.effect("with a bad grace period dies, naming it, and changes nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const exit = yield* Effect.exit(tasks.shutdown({ gracePeriod: -1 }))
      assert.match(
        Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
        /gracePeriod: expected a duration >= 0, got -1/
      )
      assert.strictEqual((yield* tasks.stats).manager, "running")
    }).pipe(Effect.provide(manager())))
})

describe("closing the scope", () => {
  const scoped = (options: TaskManagerOptions) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const tasks = yield* Scope.provide(TaskManager.make(options), scope)
      return { tasks, close: Effect.tap(Effect.forkChild(Scope.close(scope, Exit.void)), () => quiet) }
    })

  it.effect("is a shutdown with the manager's grace period", () =>
    Effect.gen(function*() {
      const { close, tasks } = yield* scoped({ gracePeriod: "1 second" })
      const handle = yield* tasks.submit(Effect.never)
      const late = yield* tasks.submit(Effect.void, { delay: "1 second" })
      const closing = yield* close
      assert.strictEqual(yield* late.state, "aborted")
      assert.strictEqual((yield* tasks.stats).manager, "draining")
      yield* after(999)
      assert.isFalse(hasEnded(closing))
      yield* after(1)
      assert.isTrue(hasEnded(closing))
      assert.strictEqual((yield* Effect.flip(handle.join)).reason, "shutdown")
    }))

  it.effect("takes 20 seconds at most when no grace period is given", () =>
    Effect.gen(function*() {
      const { close, tasks } = yield* scoped({})
      yield* tasks.submit(Effect.never)
      const closing = yield* close
      yield* after(19_999)
      assert.isFalse(hasEnded(closing))
      yield* after(1)
      assert.isTrue(hasEnded(closing))
    }))

  it.effect("is shortened by a shutdown, and shortens one", () =>
    Effect.gen(function*() {
      const first = yield* scoped({ gracePeriod: "1 hour" })
      yield* first.tasks.submit(Effect.never)
      const closing = yield* first.close
      yield* first.tasks.shutdown({ gracePeriod: 0 })
      yield* quiet
      assert.isTrue(hasEnded(closing))

      const second = yield* scoped({ gracePeriod: "1 second" })
      yield* second.tasks.submit(Effect.never)
      const shutdown = yield* begin(second.tasks, Infinity)
      yield* second.close
      yield* after(999)
      assert.isFalse(hasEnded(shutdown))
      yield* after(1)
      assert.isTrue(hasEnded(shutdown))
    }))

  it.effect("happens when the program is interrupted", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const program = Effect.andThen(
        TaskManager.submit(Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => log.push("completed")))),
        Effect.never
      )
      const fiber = yield* Effect.forkChild(Effect.provide(program, manager()))
      yield* quiet
      yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* after(999)
      assert.isFalse(hasEnded(fiber))
      yield* after(1)
      assert.deepStrictEqual(log, ["completed"])
      assert.isTrue(hasEnded(fiber))
    }))
})

describe("from the first shutdown on", () => {
  const stopped = (effect: Effect.Effect<unknown, unknown, TaskManager>) =>
    Effect.map(Effect.flip(effect), (error) => assert.instanceOf(error, TaskManagerStoppedError))

  for (const when of ["while it drains", "after it has ended"]) {
    it.effect(`submit, trySubmit and run fail ${when}, those by key too`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.sleep("1 second"), { key: "k" })
        const shutdown = yield* begin(tasks, 60_000)
        if (when === "after it has ended") {
          yield* after(1000)
          yield* Fiber.join(shutdown)
        }
        for (const options of [{}, { key: "k" }, { delay: 1 }, { group: "g" }]) {
          yield* stopped(tasks.submit(Effect.void, options))
          yield* stopped(tasks.trySubmit(Effect.void, options))
          yield* stopped(tasks.run(Effect.void, options))
        }
        assert.strictEqual((yield* tasks.stats).submitted, 1)
        yield* after(1000)
        assert.isTrue(hasEnded(shutdown))
      }).pipe(Effect.provide(manager())))
  }

  it.effect("suspended submits fail, of every kind, and those of running tasks", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inside: Array<unknown> = []
      const note = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.flatMap(Effect.flip(effect), (error) => Effect.sync(() => inside.push(error)))
      const late = { delay: "1 hour" } as const
      yield* tasks.submit(Effect.andThen(Effect.sleep(1), note(tasks.submit(Effect.void, late))))
      yield* tasks.submit(Effect.void, late)
      const suspended = yield* Effect.forEach(
        [
          tasks.submit(Effect.void),
          tasks.run(Effect.void),
          tasks.submit(Effect.void, { group: "g" }),
          tasks.submit(Effect.void, late),
          tasks.run(Effect.void, { key: "k" })
        ],
        (submit) => Effect.forkChild(Effect.flip(submit))
      )
      yield* quiet
      yield* after(1)
      yield* begin(tasks, 1000)
      for (const fiber of suspended) assert.instanceOf(yield* Fiber.join(fiber), TaskManagerStoppedError)
      assert.instanceOf(inside[0], TaskManagerStoppedError)
      assert.isTrue(yield* tasks.isStopped)
    }).pipe(Effect.provide(manager({ workers: 1, capacity: 2, maxDelayed: 1 }))))

  it.effect("suspended submits fail although their group or the line is full for ever", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never, { group: "g" })
      const suspended = yield* Effect.forEach(
        Array.from({ length: 500 }, (_, i) => i % 2 === 0 ? { group: "g" } : {}),
        (options) => Effect.forkChild(Effect.flip(tasks.submit(Effect.void, options)))
      )
      yield* quiet
      yield* tasks.shutdown({ gracePeriod: 0 })
      for (const fiber of suspended) assert.instanceOf(yield* Fiber.join(fiber), TaskManagerStoppedError)
    }).pipe(Effect.provide(manager({ workers: 1, capacity: 0 }))))

  it.effect("a schedule submits no more, and one that is made later submits nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      yield* tasks.schedule(step("before"), Schedule.spaced("1 second"))
      yield* tasks.submit(Effect.sleep("5 seconds"))
      yield* quiet
      yield* after(1000)
      yield* begin(tasks, 60_000)
      yield* tasks.schedule(step("after"), Schedule.spaced("1 second"))
      yield* after(10_000)
      assert.deepStrictEqual(log, ["before", "before done"])
      assert.isTrue(yield* tasks.isStopped)
    }).pipe(Effect.provide(manager())))

  it.effect("a failed task is not run again by id", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("x"))
      yield* handle.await
      yield* tasks.submit(Effect.sleep("1 second"))
      const shutdown = yield* begin(tasks, 60_000)
      assert.isTrue(Option.isNone(yield* tasks.retry(handle.id)))
      yield* after(1000)
      assert.isTrue(hasEnded(shutdown))
      assert.isTrue(Option.isNone(yield* tasks.retry(handle.id)))
      assert.strictEqual((yield* tasks.list()).length, 1)
    }).pipe(Effect.provide(manager())))

  it.effect("what only looks still answers after the end", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.void)
      yield* tasks.shutdown()
      yield* tasks.pause
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.isFalse(yield* handle.cancel)
      assert.isFalse(yield* tasks.cancel(handle.id))
      assert.isTrue(Option.isNone(yield* tasks.get(handle.id)))
      assert.deepStrictEqual(yield* tasks.list(), [])
      const stats = yield* tasks.stats
      assert.deepStrictEqual([stats.manager, stats.completed, stats.submitted], ["stopped", 1, 1])
    }).pipe(Effect.provide(manager())))

  it.effect("a task may still be cancelled", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.never, { name: "a" })
      yield* quiet
      const shutdown = yield* begin(tasks, 60_000)
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(reasons(yield* Fiber.join(shutdown)), ["a cancelled"])
    }).pipe(Effect.provide(manager())))

  it.effect("a task that submits in its finalizer is refused", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let refusal: unknown
      const submits = Effect.flatMap(Effect.flip(tasks.submit(Effect.void)), (error) =>
        Effect.sync(() => refusal = error))
      yield* tasks.submit(Effect.ensuring(Effect.never, Effect.ignore(submits)))
      yield* quiet
      yield* tasks.shutdown({ gracePeriod: 0 })
      assert.instanceOf(refusal, TaskManagerStoppedError)
    }).pipe(Effect.provide(manager())))
})

describe("our interruption", () => {
  /** The levels and messages of all log entries, and what the error reporter got. */
  const recorded = () => {
    const entries: Array<{ readonly text: string; readonly cause: string }> = []
    const reported: Array<unknown> = []
    const logger = Logger.make(({ cause, logLevel, message }) =>
      void entries.push({ text: `${logLevel} ${message}`, cause: Cause.pretty(cause) })
    )
    const reporter = ErrorReporter.make(({ cause }) => void reported.push(cause))
    return { entries, reported, layer: Layer.merge(Logger.layer([logger]), ErrorReporter.layer([reporter])) }
  }

  it.effect("is no failure of the task: no error entry, no report, no onFailed, no retry", () => {
    const { entries, layer, reported } = recorded()
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      let failed = false
      let attempts = 0
      const handle = yield* tasks.submit(
        Effect.andThen(Effect.sync(() => ++attempts), Effect.andThen(Effect.never, Effect.fail("x"))),
        { retry: Schedule.forever, onFailed: () => Effect.sync(() => failed = true) }
      )
      yield* quiet
      yield* tasks.shutdown({ gracePeriod: 0 })
      const outcome = yield* handle.await
      if (outcome._tag !== "Aborted") return assert.fail(outcome._tag)
      assert.strictEqual(outcome.error.reason, "shutdown")
      assert.strictEqual(outcome.error.failures.reasons.length, 0)
      assert.deepStrictEqual([failed, attempts, reported], [false, 1, []])
      assert.deepStrictEqual(entries.map(({ text }) => text), ["Warn shutdown: 1 task did not complete"])
    }).pipe(Effect.provide(Layer.provideMerge(manager(), layer)))
  })

  it.effect("does not hide what a finalizer does wrong: the task is aborted, with that in its failures", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.die(new Error("disk full"))), {
        name: "a",
        retry: Schedule.forever
      })
      yield* quiet
      const report = yield* tasks.shutdown({ gracePeriod: 0 })
      assert.deepStrictEqual(reasons(report), ["a shutdown"])
      const outcome = yield* handle.await
      if (outcome._tag !== "Aborted") return assert.fail(outcome._tag)
      assert.match(Cause.pretty(outcome.error.failures), /attempt 1: disk full/)
      assert.match(Cause.pretty(report.unfinished[0]!.cause!), /attempt 1: disk full/)
    }).pipe(Effect.provide(manager())))

  it.effect("waits for a task that ignores it, and takes what it ended with", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const late = Effect.addFinalizer(() => Effect.sleep("3 seconds"))
      const stubborn = Effect.uninterruptible(Effect.andThen(Effect.sleep("3 seconds"), Effect.fail("x")))
      const value = yield* tasks.submit(Effect.as(late, "x"), { name: "value" })
      const failure = yield* tasks.submit(Effect.andThen(late, Effect.fail("x")), { name: "failure" })
      const again = yield* tasks.submit(Effect.andThen(late, Effect.fail("x")), {
        name: "again",
        retry: Schedule.forever
      })
      const cut = yield* tasks.submit(stubborn, { name: "cut" })
      yield* quiet
      const shutdown = yield* begin(tasks, 0)
      yield* after(2999)
      assert.isFalse(hasEnded(shutdown))
      yield* after(1)
      const report = yield* Fiber.join(shutdown)
      assert.strictEqual(yield* value.join, "x")
      assert.strictEqual(yield* Effect.flip(failure.join), "x")
      assert.strictEqual(yield* again.state, "aborted")
      assert.deepStrictEqual(reasons(report).toSorted(), ["again shutdown", "cut shutdown", "failure failed"])
      const outcome = yield* cut.await
      if (outcome._tag !== "Aborted") return assert.fail(outcome._tag)
      assert.match(Cause.pretty(outcome.error.failures), /attempt 1: x/)
    }).pipe(Effect.provide(manager())))

  it.effect("reaches onFailed: the task stays failed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      const handle = yield* tasks.submit(Effect.fail("x"), {
        name: "a",
        onFailed: () => Effect.onInterrupt(step("hook", 10_000), () => Effect.sync(() => log.push("cut")))
      })
      yield* quiet
      const report = yield* tasks.shutdown({ gracePeriod: 0 })
      assert.deepStrictEqual(log, ["hook", "cut"])
      assert.strictEqual(yield* handle.state, "failed")
      assert.deepStrictEqual(reasons(report), ["a failed"])
    }).pipe(Effect.provide(manager())))

  it.effect("reaches both a task that waits and the one its worker is lent to", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, step } = steps()
      const inner = Effect.ensuring(Effect.never, step("inner finalizer", 100))
      yield* tasks.submit(Effect.ensuring(tasks.run(inner, { name: "inner" }), step("outer finalizer")), {
        name: "outer"
      })
      yield* quiet
      const shutdown = yield* begin(tasks, 0)
      yield* after(100)
      const report = yield* Fiber.join(shutdown)
      assert.deepStrictEqual(log, [
        "inner finalizer",
        "inner finalizer done",
        "outer finalizer",
        "outer finalizer done"
      ])
      assert.deepStrictEqual(reasons(report), ["inner shutdown", "outer shutdown"])
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("comes once, and finalizers are waited for without bound, with one warning after 5 seconds", () => {
    const { entries, layer } = recorded()
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      for (const name of ["fast", "slow", "slower"]) {
        const finalizer = name === "fast" ? Effect.void : Effect.sleep("2 days")
        yield* tasks.submit(Effect.ensuring(Effect.never, finalizer), { name })
      }
      yield* quiet
      const shutdown = yield* begin(tasks, 1000)
      yield* after(5999)
      assert.deepStrictEqual(entries, [])
      yield* after(1)
      const warning = "Warn shutdown still waits for the finalizers of 2 tasks: slow (2), slower (3)"
      assert.deepStrictEqual(entries.map(({ text }) => text), [warning])
      yield* tasks.shutdown({ gracePeriod: 0 }).pipe(Effect.forkChild)
      yield* after(2 * 24 * 3_600_000 - 5001)
      assert.strictEqual(entries.length, 1)
      assert.isFalse(hasEnded(shutdown))
      assert.isFalse(yield* tasks.isStopped)
      assert.strictEqual((yield* tasks.stats).running, 2)
      yield* after(1)
      assert.isTrue(hasEnded(shutdown))
      assert.isTrue(yield* tasks.isStopped)
    }).pipe(Effect.provide(Layer.provideMerge(manager(), layer)))
  })

  it.effect("is reported in one Cause, logged once as a warning: the first 8, the last 8, and how many between", () => {
    const { entries, layer } = recorded()
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      for (let i = 1; i <= 20; i++) yield* tasks.submit(Effect.never, { name: `task-${i}` })
      yield* quiet
      const report = yield* tasks.shutdown({ gracePeriod: 0 })
      assert.strictEqual(report.unfinished.length, 20)
      const cause = Option.getOrThrow(report.cause)
      assert.strictEqual(cause.reasons.length, 17)
      const text = cause.reasons.map((reason) => Cause.pretty(Cause.fromReasons([reason])).split("\n")[0]!)
      assert.match(text[7]!, /task-8 was aborted \(shutdown\) after 1 attempt/)
      assert.match(text[8]!, /4 more tasks in between/)
      assert.match(text[9]!, /task-13 was aborted \(shutdown\) after 1 attempt/)
      assert.deepStrictEqual(entries.map(({ text }) => text), ["Warn shutdown: 20 tasks did not complete"])
      assert.strictEqual(entries[0]!.cause, Cause.pretty(cause))
      yield* tasks.shutdown()
      assert.strictEqual(entries.length, 1)
    }).pipe(Effect.provide(Layer.provideMerge(manager({ workers: 20 }), layer)))
  })

  it.effect("of nothing is not logged", () => {
    const { entries, layer } = recorded()
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.void)
      const failed = yield* tasks.submit(Effect.fail("before"))
      yield* failed.await
      entries.splice(0)
      const report = yield* tasks.shutdown({ gracePeriod: 0 })
      assert.deepStrictEqual([report.unfinished, report.cause], [[], Option.none()])
      assert.deepStrictEqual(entries, [])
    }).pipe(Effect.provide(Layer.provideMerge(manager(), layer)))
  })
})

describe("after a shutdown", () => {
  it.effect("no handle is pending, whatever its task was doing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const fails = Effect.fail("x")
      const handles = yield* Effect.all([
        tasks.submit(Effect.never),
        tasks.submit(Deferred.await(gate), { group: "g" }),
        tasks.submit(Effect.void, { group: "g" }),
        tasks.submit(fails, { retry: Schedule.spaced("1 second"), group: "h" }),
        tasks.submit(Effect.void, { group: "h" }),
        tasks.submit(Effect.void, { delay: "1 second" }),
        tasks.submit(Effect.sleep("1 second"), { key: "k", keyUntil: "start" }),
        tasks.submit(tasks.run(Effect.never)),
        tasks.submit(fails, { onFailed: () => Effect.never }),
        tasks.submit(fails, { retry: { while: () => Effect.never } }),
        tasks.submit(Effect.addFinalizer(() => Effect.sleep("100 millis")))
      ])
      yield* quiet
      const last = yield* tasks.submit(Effect.void, { key: "k", keyUntil: "start" })
      yield* quiet
      const shutdown = yield* begin(tasks, 0)
      yield* after(100)
      yield* Fiber.join(shutdown)
      for (const handle of [...handles, last]) {
        const outcome = yield* Effect.forkChild(handle.await)
        yield* quiet
        assert.isTrue(hasEnded(outcome), handle.id)
      }
      const { aborted, completed, failed, submitted } = yield* tasks.stats
      assert.deepStrictEqual([submitted, completed, failed, aborted], [13, 1, 1, 11])
    }).pipe(Effect.provide(manager({ workers: 8 }))))

  it.effect("no fiber is left", () => {
    let fibers = 0
    const counter: Metric.FiberRuntimeMetricsService = {
      recordFiberStart: () => void fibers++,
      recordFiberEnd: () => void fibers--
    }
    return Effect.gen(function*() {
      const before = fibers
      const program = Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.schedule(Effect.void, Schedule.spaced("1 minute"))
        yield* Effect.forkChild(Stream.runDrain(tasks.events))
        yield* Effect.forkChild(tasks.awaitIdle)
        for (let i = 0; i < 10; i++) {
          yield* tasks.submit(Effect.andThen(Effect.forkChild(Effect.never), tasks.run(Effect.never)))
          yield* tasks.submit(Effect.fail("x"), { retry: Schedule.spaced("1 second") })
          yield* tasks.submit(Effect.void, { delay: "1 hour", timeToStart: "1 minute" })
        }
        yield* quiet
        yield* after(5000)
        assert.isAbove(fibers, before + 4)
        yield* tasks.shutdown({ gracePeriod: 0 })
        yield* quiet
      })
      yield* Effect.provide(Effect.scoped(program), manager({ workers: 4 }))
      yield* quiet
      assert.strictEqual(fibers, before)
    }).pipe(Effect.provideService(Metric.FiberRuntimeMetrics, counter))
  })

  it.effect("awaitIdle has come back and events have ended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
      const idle = yield* Effect.forkChild(tasks.awaitIdle)
      const events = yield* Effect.forkChild(Stream.runCollect(tasks.events))
      yield* quiet
      yield* begin(tasks, 0)
      yield* after(999)
      assert.deepStrictEqual([hasEnded(idle), hasEnded(events)], [false, false])
      yield* after(1)
      assert.isTrue(hasEnded(idle))
      assert.deepStrictEqual((yield* Fiber.join(events)).map(({ _tag }) => _tag), ["Aborted"])
    }).pipe(Effect.provide(manager())))
})
