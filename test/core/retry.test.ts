import { CurrentTask, TaskManager, type TaskManagerOptions, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Duration, Effect, Exit, Fiber, Layer, Logger, Random, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"

type Retry = NonNullable<TaskOptions<number>["retry"]>

const layer = (options?: TaskManagerOptions) => Layer.merge(TaskManager.layer(options), Logger.layer([]))
const manager = layer({ workers: 1 })

/** What one attempt sees: when it starts, and what its schedule says. */
interface Attempt {
  readonly at: number
  readonly metadata: Schedule.Metadata
}

/** A task that fails with 1, 2, 3, ... after `takes` milliseconds. */
const failing = (attempts: Array<Attempt>, takes: number): Effect.Effect<never, number> =>
  Effect.gen(function*() {
    attempts.push({ at: yield* Clock.currentTimeMillis, metadata: yield* Schedule.CurrentMetadata })
    yield* Effect.sleep(takes)
    return yield* Effect.fail(attempts.length)
  })

/** The attempts under the manager, and under `Effect.retry` beside it, each with the same chance. */
const bothWays = (retry: Retry, takes = 0, time: Duration.Input = "1 day") =>
  Effect.gen(function*() {
    const manager: Array<Attempt> = []
    const effect: Array<Attempt> = []
    const managed = yield* TaskManager.run(failing(manager, takes), { retry }).pipe(
      Effect.exit,
      Random.withSeed("seed"),
      Effect.forkChild
    )
    // SAFETY: `Retry` is one of the two forms that `Effect.retry` takes.
    const retried: Effect.Effect<never, unknown> = Effect.retry(
      failing(effect, takes),
      retry as typeof Schedule.forever
    )
    const plain = yield* retried.pipe(
      Effect.exit,
      Random.withSeed("seed"),
      Effect.forkChild
    )
    yield* TestClock.adjust(time)
    return { manager, effect, exits: [managed.pollUnsafe(), plain.pollUnsafe()] as const }
  })

const lastFor = <O, I>(schedule: Schedule.Schedule<O, I, unknown>, times: number) => Schedule.upTo(schedule, { times })

const schedules: Record<string, Retry> = {
  "spaced": lastFor(Schedule.spaced("1 second"), 4),
  "recurs(3)": Schedule.recurs(3),
  "recurs(0)": Schedule.recurs(0),
  "once": Schedule.once,
  "exponential": lastFor(Schedule.exponential("100 millis"), 8),
  "exponential by 1.5": lastFor(Schedule.exponential("8 millis", 1.5), 4),
  "fibonacci": lastFor(Schedule.fibonacci("50 millis"), 7),
  "fixed": lastFor(Schedule.fixed("1 second"), 6),
  "windowed": lastFor(Schedule.windowed("7 seconds"), 4),
  "cron": lastFor(Schedule.cron("*/10 * * * *", "UTC"), 4),
  "cron in a zone": lastFor(Schedule.cron("30 4 * * *", "Europe/Berlin"), 2),
  "duration": Schedule.duration("3 seconds"),
  "limited by elapsed time": Schedule.upTo(Schedule.spaced("1 second"), { duration: "5 seconds" }),
  "during": Schedule.max([Schedule.during("5 seconds"), Schedule.spaced("1 second")]),
  "max": Schedule.max([Schedule.exponential("100 millis"), Schedule.spaced("1 second"), Schedule.recurs(6)]),
  "min": lastFor(Schedule.min([Schedule.exponential("100 millis"), Schedule.fixed("1 second")]), 6),
  "concat": Schedule.concat(lastFor(Schedule.spaced("10 millis"), 2), lastFor(Schedule.spaced("1 minute"), 2)),
  "by input": Schedule.while(
    Schedule.setInputType<number>()(Schedule.spaced("1 second")),
    ({ input }) => input < 4
  ),
  "with a delay of its own input": lastFor(
    Schedule.modifyDelay(
      Schedule.passthrough(Schedule.setInputType<number>()(Schedule.forever)),
      ({ input }) => Effect.succeed(Duration.seconds(input))
    ),
    4
  ),
  "with an added delay": lastFor(
    Schedule.addDelay(Schedule.exponential("1 second"), () => Effect.succeed("250 millis")),
    4
  ),
  "without delay": lastFor(Schedule.forever, 20),
  "whose steps take time": lastFor(
    Schedule.tap(Schedule.fixed("1 second"), () => Effect.sleep("300 millis")),
    5
  ),
  "that ends only later than it was asked": Schedule.while(
    Schedule.spaced("1 second"),
    ({ attempt }) => Effect.delay(Effect.succeed(attempt < 3), "2 seconds")
  ),
  "times": { times: 3, schedule: Schedule.spaced("1 second") },
  "no times": { times: 0, schedule: Schedule.spaced("1 second") },
  "times beyond the schedule": { times: 9, schedule: Schedule.recurs(2) },
  "while": { schedule: Schedule.spaced("1 second"), while: (error) => error < 3 },
  "an effectful while": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => Effect.delay(Effect.succeed(error < 3), "2 seconds")
  },
  "until": { schedule: Schedule.exponential("1 second"), until: (error) => error === 3 },
  "an effectful until": {
    schedule: Schedule.exponential("1 second"),
    until: (error) => Effect.delay(Effect.succeed(error === 3), "2 seconds")
  },
  "while, until and times": {
    schedule: Schedule.fibonacci("1 second"),
    times: 7,
    while: (error) => error < 6,
    until: (error) => error === 4
  },
  "a while that throws": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => {
      if (error < 2) return true
      throw new Error("while")
    }
  },
  "a while that dies": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => error < 2 ? Effect.succeed(true) : Effect.die("while")
  },
  "that counts from its start": Schedule.fromStep(
    Effect.map(Clock.currentTimeMillis, (start) => (now: number) =>
      now - start < 5000
        ? Effect.succeed([now - start, Duration.seconds(1)] as [number, Duration.Duration])
        : Effect.die("late"))
  )
}

describe("retry", () => {
  for (const [name, retry] of Object.entries(schedules)) {
    it.effect(`a schedule ${name} retries as under Effect.retry, time for time, with the same metadata`, () =>
      Effect.gen(function*() {
        for (const takes of [0, 300, 2500]) {
          const { effect, exits, manager } = yield* bothWays(retry, takes, "7 days")
          assert.deepStrictEqual(manager, effect)
          assert.isTrue(exits[0] !== undefined && exits[1] !== undefined)
        }
      }).pipe(Effect.provide(manager)))
  }

  for (
    const [name, schedule] of Object.entries({
      spaced: lastFor(Schedule.jittered(Schedule.spaced("1 second")), 12),
      exponential: lastFor(Schedule.jittered(Schedule.exponential("700 millis")), 12)
    })
  ) {
    it.effect(`${name}, jittered, gives the delays of Effect.retry for the same Random, rounded up to whole milliseconds`, () =>
      Effect.gen(function*() {
        const { effect, manager } = yield* bothWays(schedule)
        const delays = manager.map(({ metadata }) => Duration.toMillis(metadata.duration))
        assert.deepStrictEqual(delays, effect.map(({ metadata }) => Duration.toMillis(metadata.duration)))
        assert.isTrue(delays.some((delay) => delay !== Math.ceil(delay)))
        let at = 0
        assert.deepStrictEqual(manager.map((attempt) => attempt.at), delays.map((delay) => at += Math.ceil(delay)))
      }).pipe(Effect.provide(manager)))
  }

  it.effect("the number of attempts is one more than that of the retries, and one without a policy", () =>
    Effect.gen(function*() {
      const attemptsOf = (retry: Retry | undefined) =>
        Effect.gen(function*() {
          const attempts: Array<Attempt> = []
          const handle = yield* TaskManager.submit(failing(attempts, 0), { retry })
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
      const logs: Array<Array<Attempt>> = [[], []]
      const [first] = yield* Effect.forEach(logs, (log) => tasks.submit(failing(log, 0), { retry }))
      yield* TestClock.adjust("3 seconds")
      yield* tasks.retry(first!.id)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(logs.map((log) => log.map(({ at }) => at)), [
        [0, 1000, 3000, 3000, 4000, 6000],
        [0, 1000, 3000]
      ])
    }).pipe(Effect.provide(manager)))

  describe("without a schedule", () => {
    const delaysWith = (next: () => number) =>
      Effect.gen(function*() {
        const attempts: Array<Attempt> = []
        const handle = yield* TaskManager.submit(failing(attempts, 0), { retry: {} }).pipe(
          Effect.provideService(Random.Random, { nextDoubleUnsafe: next, nextIntUnsafe: () => 0 })
        )
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* handle.state, "delayed")
        return attempts.slice(1).map(({ at }, i) => at - attempts[i]!.at)
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
          const attempts: Array<Attempt> = []
          const handle = yield* TaskManager.submit(failing(attempts, 0), { retry })
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
        const attempts: Array<Attempt> = []
        yield* TaskManager.submit(failing(attempts, 0), { retry: lastFor(Schedule.spaced(duration), 1) })
        yield* TestClock.adjust("1 hour")
        return attempts[1]!.at - attempts[0]!.at
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
      const attempts: Array<Attempt> = []
      yield* Effect.provideService(TaskManager.submit(failing(attempts, 0), { retry }), Limit, 3)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(attempts.map(({ at }) => at), [0, 3000, 6000])
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
