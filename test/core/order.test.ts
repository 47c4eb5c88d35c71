import { TaskManager, type TaskManagerOptions, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"

const manager = (options: TaskManagerOptions) =>
  Effect.provide(
    Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, capacity: 1000, ...options }), Logger.layer([]))
  )

/** Submits tasks that note their names when they start. */
const journal = () => {
  const order: Array<string> = []
  const note = (name: string) => Effect.sync(() => void order.push(name))
  const submit = (name: string, options?: TaskOptions) => TaskManager.submit(note(name), options)
  return { order, note, submit }
}

/** Everything is submitted to a paused manager; then it runs, one at a time. */
const run = Effect.gen(function*() {
  const tasks = yield* TaskManager
  yield* tasks.resume
  yield* tasks.awaitIdle
})

const one = manager({ workers: 1 })

describe("order", () => {
  it.effect("tasks admitted at the same time start in the order of their submits", () =>
    Effect.gen(function*() {
      const { order, submit } = journal()
      yield* (yield* TaskManager).pause
      const names = Array.from({ length: 50 }, (_, i) => String(i))
      for (const name of names) yield* submit(name)
      yield* run
      assert.deepStrictEqual(order, names)
    }).pipe(one))

  describe("priority", () => {
    for (const [after, first] of [[4999, "urgent"], [5000, "older"], [5001, "older"]] as const) {
      it.effect(`5 overtakes what has waited for less than 5 s: after ${after} ms the ${first} one starts first`, () =>
        Effect.gen(function*() {
          const { order, submit } = journal()
          yield* (yield* TaskManager).pause
          yield* submit("older")
          yield* TestClock.adjust(after)
          yield* submit("urgent", { priority: 5 })
          yield* run
          assert.strictEqual(order[0], first)
        }).pipe(one))
    }

    for (const [after, first] of [[4999, "younger"], [5000, "patient"], [5001, "patient"]] as const) {
      it.effect(`-5 lets others overtake for 5 s: one that comes after ${after} ms finds the ${first} one first`, () =>
        Effect.gen(function*() {
          const { order, submit } = journal()
          yield* (yield* TaskManager).pause
          yield* submit("patient", { priority: -5 })
          yield* TestClock.adjust(after)
          yield* submit("younger")
          yield* run
          assert.strictEqual(order[0], first)
        }).pipe(one))
    }

    it.effect("may be a fraction of a second", () =>
      Effect.gen(function*() {
        const { order, submit } = journal()
        yield* (yield* TaskManager).pause
        yield* submit("first")
        yield* TestClock.adjust(1)
        yield* submit("second", { priority: 0.001 })
        yield* TestClock.adjust(1)
        yield* submit("third", { priority: 0.0025 })
        yield* run
        assert.deepStrictEqual(order, ["third", "first", "second"])
      }).pipe(one))

    it.effect("starves nobody: under a steady load of priority 10 the older task starts after 10 s", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        let startedAt = -1
        const second = Effect.sleep("1 second")
        yield* tasks.submit(second)
        yield* tasks.submit(Effect.clockWith((clock) => Effect.sync(() => startedAt = clock.currentTimeMillisUnsafe())))
        for (let time = 0; time < 30; time++) {
          yield* tasks.submit(second, { priority: 10 })
          yield* TestClock.adjust("500 millis")
          yield* tasks.submit(second, { priority: 10 })
          yield* TestClock.adjust("500 millis")
        }
        // Those admitted in the first 10 s, two a second, go before it; then it is its turn.
        assert.strictEqual(startedAt, 21_000)
      }).pipe(one))
  })

  describe("retries", () => {
    it.effect("a retry keeps its admission time: it goes behind what was admitted before, ahead of what came after", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { note, order, submit } = journal()
        yield* tasks.pause
        yield* submit("before", { delay: "1 second" })
        yield* TestClock.adjust(1)
        let attempts = 0
        yield* tasks.resume
        yield* tasks.submit(
          Effect.andThen(note("retried"), Effect.suspend(() => ++attempts < 2 ? Effect.fail("x") : Effect.void)),
          {
            retry: Schedule.spaced("10 seconds")
          }
        )
        yield* TestClock.adjust(1)
        yield* tasks.pause
        yield* submit("after")
        yield* submit("urgent", { priority: 1 })
        yield* TestClock.adjust("1 minute")
        yield* submit("last", { priority: 59 })
        yield* run
        assert.deepStrictEqual(order, ["retried", "urgent", "retried", "after", "before", "last"])
      }).pipe(one))

    it.effect("a retry keeps its head start", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { note, order, submit } = journal()
        yield* tasks.submit(Effect.andThen(note("retried"), Effect.fail("x")), {
          priority: 5,
          retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 })
        })
        yield* TestClock.adjust(1)
        yield* tasks.pause
        yield* submit("urgent", { priority: 4.999 })
        yield* submit("more urgent", { priority: 5.002 })
        yield* TestClock.adjust("1 second")
        yield* run
        assert.deepStrictEqual(order, ["retried", "more urgent", "retried", "urgent"])
      }).pipe(one))
  })

  describe("delayed starts", () => {
    it.effect("a delayed start counts from its due time", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { order, submit } = journal()
        yield* tasks.pause
        yield* submit("due at 5", { delay: "5 seconds" })
        yield* submit("due at 6 with 2 s of head start", { delay: "6 seconds", priority: 2 })
        yield* TestClock.adjust("4999 millis")
        yield* submit("admitted at 4.999")
        yield* TestClock.adjust(1)
        yield* submit("admitted at 5")
        yield* TestClock.adjust("5 seconds")
        yield* run
        assert.deepStrictEqual(
          order,
          ["due at 6 with 2 s of head start", "admitted at 4.999", "due at 5", "admitted at 5"]
        )
      }).pipe(one))

    it.effect("a retry of it keeps the due time", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { note, order, submit } = journal()
        yield* tasks.submit(Effect.andThen(note("retried"), Effect.fail("x")), {
          delay: "5 seconds",
          retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 })
        })
        yield* TestClock.adjust("5500 millis")
        yield* tasks.pause
        yield* submit("younger")
        yield* submit("urgent", { priority: 1 })
        yield* TestClock.adjust("1 second")
        yield* run
        assert.deepStrictEqual(order, ["retried", "urgent", "retried", "younger"])
      }).pipe(one))
  })

  it.effect("a submit that was suspended counts from its admission", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { note, order, submit } = journal()
      yield* tasks.submit(Effect.sleep("10 seconds"))
      const dropped = yield* submit("dropped")
      yield* submit("before", { priority: -9 })
      yield* Effect.forkChild(submit("suspended", { priority: 0.5 }), { startImmediately: true })
      yield* TestClock.adjust("9999 millis")
      yield* dropped.cancel
      yield* note("waits")
      yield* TestClock.adjust("1 millis")
      yield* tasks.awaitIdle
      assert.deepStrictEqual(order, ["waits", "before", "suspended"])
    }).pipe(manager({ workers: 1, capacity: 2 })))

  it.effect.prop(
    "tasks start by admission or due time minus priority seconds, then by id",
    [Schema.Array(Schema.Struct({
      pause: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 3 }))),
      priority: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: -4, maximum: 4 }))),
      delay: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 4 })))
    }))],
    ([program]) =>
      Effect.gen(function*() {
        const { order, submit } = journal()
        yield* (yield* TaskManager).pause
        const ranks: Array<{ readonly name: string; readonly rank: number }> = []
        let now = 0
        for (const [id, { delay, pause, priority }] of program.entries()) {
          yield* TestClock.adjust(pause * 1000)
          now += pause
          yield* submit(String(id), { priority, delay: delay * 1000 })
          ranks.push({ name: String(id), rank: now + delay - priority })
        }
        yield* TestClock.adjust("1 minute")
        yield* run
        assert.deepStrictEqual(order, ranks.toSorted((a, b) => a.rank - b.rank).map(({ name }) => name))
      }).pipe(one),
    { arbitrary: { runs: 50 } }
  )

  describe("pause", () => {
    it.effect("nothing starts: no task, no retry and no delayed start, while what runs goes on", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { order, submit } = journal()
        yield* tasks.submit(Effect.sleep("1 second"))
        yield* tasks.submit(Effect.fail("x"), { retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 }) })
        yield* submit("delayed", { delay: "1 second" })
        yield* TestClock.adjust("500 millis")
        yield* tasks.pause
        yield* submit("waiting")
        yield* TestClock.adjust("1 hour")
        const { completed, delayed, failed, manager: state, running, waiting } = yield* tasks.stats
        assert.deepStrictEqual([completed, failed, running, delayed, waiting, state], [1, 0, 0, 2, 1, "paused"])
        assert.deepStrictEqual(order, [])
        yield* run
        assert.deepStrictEqual(order, ["waiting", "delayed"])
      }).pipe(manager({ workers: 4 })))

    it.effect("submits are taken while there is room", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        yield* tasks.trySubmit(Effect.void)
        yield* tasks.trySubmit(Effect.void)
        assert.strictEqual((yield* Effect.flip(tasks.trySubmit(Effect.void)))._tag, "QueueFullError")
        yield* tasks.pause
        yield* run
        yield* tasks.resume
        assert.strictEqual((yield* tasks.stats).completed, 2)
      }).pipe(manager({ workers: 4, capacity: 2 })))

    it.effect("a shutdown runs what was held back", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { order, submit } = journal()
        yield* tasks.pause
        yield* submit("waiting")
        yield* tasks.shutdown({ gracePeriod: "1 second" })
        yield* tasks.pause
        assert.deepStrictEqual(order, ["waiting"])
        assert.strictEqual((yield* tasks.stats).manager, "stopped")
      }).pipe(manager({ workers: 4 })))
  })
})
