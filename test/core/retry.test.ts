import { CurrentTask, TaskManager, type TaskManagerOptions, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Logger, Random, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"

type Retry = NonNullable<TaskOptions<number>["retry"]>

const layer = (options?: TaskManagerOptions) => Layer.merge(TaskManager.layer(options), Logger.layer([]))
const manager = layer({ workers: 1 })

/** A task that fails with 1, 2, 3, ..., and notes when. */
const failing = (times: Array<number>): Effect.Effect<never, number> =>
  Effect.clockWith((clock) => Effect.fail(times.push(clock.currentTimeMillisUnsafe())))

describe("retry", () => {
  it.effect("the number of attempts is one more than that of the retries, and one without a policy", () =>
    Effect.gen(function*() {
      const attemptsOf = (retry: Retry | undefined) =>
        Effect.gen(function*() {
          const attempts: Array<number> = []
          const handle = yield* TaskManager.submit(failing(attempts), { retry })
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* handle.state, "failed")
          return attempts.length
        })
      assert.strictEqual(yield* attemptsOf(undefined), 1)
      assert.strictEqual(yield* attemptsOf({ times: 3 }), 4)
      assert.strictEqual(yield* attemptsOf({ times: 1 }), 2)
      assert.strictEqual(yield* attemptsOf({ times: 0 }), 1)
      assert.strictEqual(yield* attemptsOf(Schedule.recurs(3)), 4)
      assert.strictEqual(yield* attemptsOf(Schedule.recurs(0)), 1)
    }).pipe(Effect.provide(manager)))

  it.effect("an error is retried whatever it is", () =>
    Effect.gen(function*() {
      for (const error of [undefined, null, false, 0, NaN, "", [], Cause.Done()]) {
        let attempts = 0
        const task = Effect.suspend(() => {
          attempts++
          return Effect.fail<unknown>(error)
        })
        yield* (yield* TaskManager.submit(task, { retry: { times: 2, schedule: Schedule.forever } })).await
        assert.strictEqual(attempts, 3)
      }
    }).pipe(Effect.provide(manager)))

  it.effect("a bad policy dies at the submit, which names it", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<[options: unknown, message: string]> = [
        [{ retry: null }, "retry: expected a Schedule or retry options, got null"],
        [{ retry: 3 }, "retry: expected a Schedule or retry options, got 3"],
        [{ retry: { times: -1 } }, "retry.times: expected a whole number >= 0, got -1"],
        [{ retry: { times: 0.5 } }, "retry.times: expected a whole number >= 0, got 0.5"],
        [{ retry: { times: NaN } }, "retry.times: expected a whole number >= 0, got NaN"],
        [{ retry: { schedule: "1 second" } }, "retry.schedule: expected a Schedule, got \"1 second\""],
        [{ retry: { while: true } }, "retry.while: expected a function, got true"],
        [{ retry: { until: "busy" } }, "retry.until: expected a function, got \"busy\""],
        [{ error: "no mail" }, "error: expected a function, got \"no mail\""],
        [{ onFailed: 1 }, "onFailed: expected a function, got 1"]
      ]
      for (const [options, message] of bad) {
        const exit = yield* Effect.exit(TaskManager.submit(Effect.void, options as TaskOptions<never>))
        assert.deepStrictEqual(
          Exit.isFailure(exit) &&
            exit.cause.reasons.map((reason) => Cause.isDieReason(reason) && String(reason.defect)),
          [`InvalidOption: ${message}`]
        )
      }
    }).pipe(Effect.provide(manager)))

  it.effect("the policy reads the typed error", () =>
    Effect.gen(function*() {
      type SendError = { readonly _tag: "Busy" } | { readonly _tag: "NoSuchMailbox"; readonly to: string }
      let attempts = 0
      const send: Effect.Effect<void, SendError> = Effect.suspend(() =>
        Effect.fail(++attempts < 3 ? { _tag: "Busy" as const } : { _tag: "NoSuchMailbox" as const, to: "ann" })
      )
      const retry = { schedule: Schedule.forever, while: (error: SendError) => error._tag === "Busy" }
      assert.deepStrictEqual(yield* Effect.flip(TaskManager.run(send, { retry })), { _tag: "NoSuchMailbox", to: "ann" })
      assert.strictEqual(attempts, 3)
    }).pipe(Effect.provide(manager)))

  it.effect("a success ends the attempts", () =>
    Effect.gen(function*() {
      let attempts = 0
      const task = Effect.suspend(() => ++attempts === 2 ? Effect.succeed("done") : Effect.fail("x"))
      assert.strictEqual(yield* TaskManager.run(task, { retry: { schedule: Schedule.forever } }), "done")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(attempts, 2)
    }).pipe(Effect.provide(manager)))

  it.effect("every task has its own state of a shared schedule, and so has a failed task that runs again", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const retry = Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(2)])
      const logs: Array<Array<number>> = [[], []]
      const [first] = yield* Effect.forEach(logs, (log) => tasks.submit(failing(log), { retry }))
      yield* TestClock.adjust("3 seconds")
      yield* tasks.retry(first!.id)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(logs, [
        [0, 1000, 3000, 3000, 4000, 6000],
        [0, 1000, 3000]
      ])
    }).pipe(Effect.provide(manager)))

  describe("without a schedule", () => {
    const delaysWith = (next: () => number) =>
      Effect.gen(function*() {
        const attempts: Array<number> = []
        const handle = yield* TaskManager.submit(failing(attempts), { retry: {} }).pipe(
          Effect.provideService(Random.Random, { nextDoubleUnsafe: next, nextIntUnsafe: () => 0 })
        )
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* handle.state, "delayed")
        return attempts.slice(1).map((at, i) => at - attempts[i]!)
      })

    it.effect("the delays grow from 500 ms by a half each, jittered by a fifth, to at most a minute", () =>
      Effect.gen(function*() {
        const least = yield* delaysWith(() => 0)
        const most = yield* delaysWith(() => 1 - Number.EPSILON / 2)
        const full = Array.from({ length: 100 }, (_, i) => Math.min(60_000, 500 * 1.5 ** i))
        assert.deepStrictEqual(least, full.slice(0, least.length).map((delay) => Math.ceil(delay * 0.8)))
        assert.deepStrictEqual(
          most,
          full.slice(0, most.length).map((delay) => Math.min(60_000, Math.ceil(delay * 1.2)))
        )
        assert.deepStrictEqual([least[0], most[0], least.at(-1), most.at(-1)], [400, 600, 48_000, 60_000])
      }).pipe(Effect.provide(layer({ gracePeriod: 0 }))))

    it.effect("no two tasks come back together, and there is no end to it", () =>
      Effect.gen(function*() {
        const delays = yield* Effect.forEach(["a", "b", "c", "d"], (seed) => {
          const seeded = Effect.flatMap(Random.Random, (random) => delaysWith(() => random.nextDoubleUnsafe()))
          return Random.withSeed(seeded, seed)
        })
        for (const list of delays) {
          assert.isAbove(list.length, 60)
          for (const [i, delay] of list.entries()) {
            const full = Math.min(60_000, 500 * 1.5 ** i)
            assert.isTrue(delay >= full * 0.8 && delay <= Math.min(60_000, Math.ceil(full * 1.2)))
          }
        }
        assert.strictEqual(new Set(delays.map((list) => list[10])).size, 4)
      }).pipe(Effect.provide(layer({ gracePeriod: 0 }))))

    it.effect("times, while and until hold for it too", () =>
      Effect.gen(function*() {
        for (const retry of [{ times: 2 }, { while: (n: number) => n < 3 }, { until: (n: number) => n === 3 }]) {
          const attempts: Array<number> = []
          const handle = yield* TaskManager.submit(failing(attempts), { retry })
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* handle.state, "failed")
          assert.strictEqual(attempts.length, 3)
        }
      }).pipe(Effect.provide(manager)))
  })

  describe("the delay", () => {
    /** Milliseconds until the second attempt. */
    const delayOf = (duration: Duration.Input) =>
      Effect.gen(function*() {
        const attempts: Array<number> = []
        yield* TaskManager.submit(failing(attempts), { retry: Schedule.upTo(Schedule.spaced(duration), { times: 1 }) })
        yield* TestClock.adjust("1 hour")
        return attempts[1]! - attempts[0]!
      })

    it.effect("is rounded up to whole milliseconds", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* delayOf("1 nano"), 1)
        assert.strictEqual(yield* delayOf("999 micros"), 1)
        assert.strictEqual(yield* delayOf("1001 micros"), 2)
        assert.strictEqual(yield* delayOf(999.1), 1000)
        assert.strictEqual(yield* delayOf(1000), 1000)
        assert.strictEqual(yield* delayOf(0), 0)
      }).pipe(Effect.provide(manager)))

    it.effect("of zero starts the next attempt without any time passing, before younger tasks", () =>
      Effect.gen(function*() {
        const order: Array<string> = []
        let attempts = 0
        const failTwice = Effect.suspend(() => {
          order.push("old")
          return ++attempts < 3 ? Effect.fail("x") : Effect.void
        })
        const old = yield* TaskManager.submit(failTwice, { retry: Schedule.forever })
        const young = yield* TaskManager.submit(Effect.sync(() => order.push("young")))
        yield* old.join
        yield* young.join
        assert.deepStrictEqual(order, ["old", "old", "old", "young"])
      }).pipe(Effect.provide(manager)))

    it.effect("without end keeps the task until it is cancelled, or the manager shuts down, whatever the grace", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const retry = Schedule.spaced(Duration.infinity)
        const [cancelled, other] = yield* Effect.forEach([1, 2], () => tasks.submit(Effect.fail("x"), { retry }))
        yield* TestClock.adjust("1000 days")
        assert.deepStrictEqual((yield* tasks.list()).map(({ dueAt, state }) => [dueAt, state]), [
          [undefined, "delayed"],
          [undefined, "delayed"]
        ])
        assert.isTrue(yield* cancelled!.cancel)
        const { unfinished } = yield* tasks.shutdown({ gracePeriod: Duration.infinity })
        assert.deepStrictEqual(unfinished.map(({ id, reason }) => [id, reason]), [[other!.id, "shutdown"]])
      }).pipe(Effect.provide(manager)))

    it.effect("may lie beyond all dates", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const retrying = yield* tasks.events.pipe(
          Stream.filter(({ _tag }) => _tag === "Retrying"),
          Stream.runHead,
          Effect.forkChild({ startImmediately: true })
        )
        yield* Effect.yieldNow
        const handle = yield* tasks.submit(Effect.fail("x"), { retry: Schedule.spaced(Duration.millis(1e17)) })
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* tasks.list())[0]!.dueAt, undefined)
        assert.strictEqual((yield* Fiber.join(retrying))._tag, "Some")
        assert.strictEqual(yield* tasks.run(Effect.succeed("next")), "next")
        assert.isTrue(yield* handle.cancel)
      }).pipe(Effect.provide(manager)))
  })

  describe("a schedule that fails ends the task: join keeps the last E, the report has the schedule's error", () => {
    const broken: Record<string, [retry: Retry, message: RegExp]> = {
      "with an error": [
        Schedule.tap(Schedule.forever, () => Effect.fail("no more")),
        /^mail failed after 1 attempt: no more$/
      ],
      "with a defect": [Schedule.tap(Schedule.forever, () => Effect.die(new TypeError("bad"))), /: TypeError: bad$/],
      "with an interruption": [
        Schedule.tap(Schedule.forever, () => Effect.interrupt),
        /: the schedule interrupted itself$/
      ],
      "when it is made": [Schedule.fromStep(Effect.fail("never made")), /: never made$/],
      "in a step that throws": [
        Schedule.fromStep(Effect.succeed(() => {
          throw new Error("step")
        })),
        /: step$/
      ],
      "in a delay": [Schedule.addDelay(Schedule.forever, () => Effect.fail("no delay")), /: no delay$/],
      "with a while that throws": [
        {
          while: () => {
            throw new Error("while")
          }
        },
        /: while$/
      ],
      "with an until that dies": [{ until: () => Effect.die("until") }, /: until$/],
      "later than it was asked": [
        Schedule.tap(Schedule.forever, () => Effect.delay(Effect.fail("late"), "1 second")),
        /: late$/
      ]
    }
    for (const [name, [retry, message]] of Object.entries(broken)) {
      it.effect(name, () =>
        Effect.gen(function*() {
          let attempts = 0
          const task = Effect.suspend(() => Effect.fail(++attempts))
          const handle = yield* TaskManager.submit(task, { name: "mail", retry })
          yield* TestClock.adjust("1 second")
          const outcome = yield* handle.await
          assert.strictEqual(outcome._tag, "Failed")
          if (outcome._tag !== "Failed") return
          assert.match(outcome.error.message, message)
          assert.deepStrictEqual(outcome.error.cause.reasons.map(({ _tag }) => _tag), ["Fail", "Die"])
          assert.strictEqual(yield* Effect.flip(handle.join), 1)
          assert.strictEqual(attempts, 1)
          assert.strictEqual(yield* TaskManager.run(Effect.succeed("next")), "next")
        }).pipe(Effect.provide(manager)))
    }
  })

  it.effect("schedules and predicates see what the task sees: the submitter's references, and CurrentTask", () =>
    Effect.gen(function*() {
      const Limit = Context.Reference<number>("test/Limit", { defaultValue: () => 0 })
      const retry: Retry = {
        schedule: Schedule.addDelay(Schedule.forever, () => Effect.map(Limit, (limit) => limit * 1000)),
        // SAFETY: `CurrentTask` is there for whatever runs for the task.
        while: () =>
          Effect.zipWith(Limit, CurrentTask, (limit, { attempts }) => attempts < limit) as Effect.Effect<boolean>
      }
      const attempts: Array<number> = []
      yield* Effect.provideService(TaskManager.submit(failing(attempts), { retry }), Limit, 3)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(attempts, [0, 3000, 6000])
    }).pipe(Effect.provide(manager)))

  it.effect("a predicate that never answers is ended with the task", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const retry: Retry = { while: () => Effect.never }
      const cancelled = yield* tasks.submit(Effect.fail(1), { retry })
      yield* TestClock.adjust("1 hour")
      assert.isTrue(yield* cancelled.cancel)
      const cut = yield* tasks.submit(Effect.fail(1), { retry })
      yield* TestClock.adjust("1 hour")
      yield* tasks.shutdown({ gracePeriod: 0 })
      const error = yield* Effect.flip(cut.join)
      assert.isTrue(typeof error === "object" && error._tag === "TaskAbortedError" && error.reason === "shutdown")
    }).pipe(Effect.provide(manager)))
})
