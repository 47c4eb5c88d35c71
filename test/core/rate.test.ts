import { QueueFullError, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { start, times } from "./submitting.ts"

const manager = (options: TaskManagerOptions) =>
  Effect.provide(
    Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, capacity: 1000, ...options }), Logger.layer([]))
  )

const perSecond = (limit: number) => ({ limit, window: "1 second" }) as const

/** A task that notes when it starts, in milliseconds. */
const stamps = () => {
  const starts: Array<number> = []
  const stamp = Effect.clockWith((clock) => Effect.sync(() => void starts.push(clock.currentTimeMillisUnsafe())))
  return { starts, stamp }
}

describe("rate", () => {
  it.effect("limit attempts start at once, and the next one exactly a window after the first", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(5, () => tasks.submit(Effect.never))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual((yield* tasks.stats).running, 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* tasks.stats).running, 4)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* tasks.stats).running, 5)
    }).pipe(manager({ workers: 10, rate: perSecond(2) })))

  it.effect("the window slides: it lets no double burst through at its edge", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* tasks.submit(stamp)
      yield* TestClock.adjust("900 millis")
      yield* times(5, () => tasks.submit(stamp))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [0, 900, 1000, 1900, 2000, 2900])
    }).pipe(manager({ rate: perSecond(2) })))

  it.effect("what is not used is not saved up", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* TestClock.adjust("1 minute")
      yield* times(5, () => tasks.submit(stamp))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [60_000, 60_000, 61_000, 61_000, 62_000])
    }).pipe(manager({ rate: perSecond(2) })))

  it.effect.prop(
    "no window holds more than limit starts, and no task waits longer than that asks for",
    [
      Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 4 }))),
      Schema.Array(Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 700 }))))
    ],
    ([limit, gaps]) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { starts, stamp } = stamps()
        const expected: Array<number> = []
        let now = 0
        for (const gap of gaps) {
          yield* TestClock.adjust(gap)
          now += gap
          yield* tasks.submit(stamp)
          expected.push(Math.max(now, (expected[expected.length - limit] ?? -1000) + 1000))
        }
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(starts, expected)
      }).pipe(manager({ rate: { limit, window: "1 second" } })),
    { arbitrary: { runs: 50 } }
  )

  it.effect("a retry is a start like any other", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* tasks.submit(Effect.andThen(stamp, Effect.fail("x")), { retry: Schedule.recurs(3) })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [0, 0, 1000, 1000])
    }).pipe(manager({ rate: perSecond(2) })))

  it.effect("holds no worker and no place: who waits for it is waiting", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(3, () => tasks.submit(Effect.void))
      yield* TestClock.adjust(1)
      const { completed, running, waiting } = yield* tasks.stats
      assert.deepStrictEqual([completed, running, waiting], [1, 0, 2])
      yield* (yield* tasks.submit(Effect.void)).cancel
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* tasks.stats).completed, 3)
    }).pipe(manager({ workers: 1, rate: perSecond(1) })))

  it.effect("the order of priorities and due times is that at the time of the start", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const order: Array<string> = []
      const note = (name: string) => Effect.sync(() => void order.push(name))
      yield* tasks.submit(note("first"))
      yield* tasks.submit(note("second"))
      yield* tasks.submit(note("delayed"), { delay: "500 millis", priority: 2 })
      yield* TestClock.adjust("999 millis")
      yield* tasks.submit(note("urgent"), { priority: 5 })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(order, ["first", "urgent", "delayed", "second"])
    }).pipe(manager({ rate: perSecond(1) })))

  it.effect("time in which the manager is paused counts, and nothing bursts afterwards", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* times(6, () => tasks.submit(stamp))
      yield* TestClock.adjust("500 millis")
      yield* tasks.pause
      yield* TestClock.adjust("200 millis")
      yield* tasks.resume
      yield* TestClock.adjust("299 millis")
      yield* tasks.pause
      yield* TestClock.adjust("9001 millis")
      assert.deepStrictEqual(starts, [0, 0])
      yield* tasks.resume
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(starts, [0, 0, 10_000, 10_000])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(starts.slice(4), [11_000, 11_000])
    }).pipe(manager({ rate: perSecond(2) })))

  it.effect("a task that may not wait longer expires", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.void)
      const late = yield* tasks.submit(Effect.void, { timeToStart: "999 millis" })
      const onTime = yield* tasks.submit(Effect.void, { timeToStart: "1001 millis" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* late.state, yield* onTime.state], ["aborted", "completed"])
    }).pipe(manager({ rate: perSecond(1) })))

  it.effect("with capacity 0 a submit waits for a start, even if a worker is free", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.trySubmit(Effect.void)
      yield* TestClock.adjust(1)
      assert.instanceOf(yield* Effect.flip(tasks.trySubmit(Effect.void)), QueueFullError)
      const suspended = yield* times(2, (i) => start(tasks.submit(Effect.succeed(i))))
      yield* TestClock.adjust("998 millis")
      assert.isUndefined(suspended[0]!.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* (yield* Fiber.join(suspended[0]!)).join, 0)
      assert.isUndefined(suspended[1]!.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* (yield* Fiber.join(suspended[1]!)).join, 1)
    }).pipe(manager({ workers: 4, capacity: 0, rate: perSecond(1) })))

  for (const group of [undefined, "g"]) {
    for (const capacity of [0, 1]) {
      it.effect(`a task on a lent worker waits for its start too, with capacity ${capacity} and group ${group}`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { starts, stamp } = stamps()
          const options = { group }
          const nested = (depth: number): Effect.Effect<void> =>
            Effect.andThen(stamp, depth === 0 ? Effect.void : Effect.orDie(tasks.run(nested(depth - 1), options)))
          const outer = yield* start(tasks.run(nested(2), options))
          yield* TestClock.adjust("1999 millis")
          assert.deepStrictEqual(starts, [0, 1000])
          yield* TestClock.adjust("1 millis")
          yield* Fiber.join(outer)
          assert.deepStrictEqual(starts, [0, 1000, 2000])
        }).pipe(manager({ workers: 1, capacity, rate: perSecond(1) })))
    }
  }

  it.effect("a task that another waits for is one start, whichever worker takes it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* tasks.run(Effect.andThen(stamp, tasks.run(stamp)))
      yield* tasks.run(stamp)
      assert.deepStrictEqual(starts, [0, 0, 0])
      yield* tasks.submit(stamp)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(starts.length, 3)
    }).pipe(manager({ workers: 2, rate: perSecond(3) })))

  it.effect("a shutdown keeps to it: what could not start within the grace period is aborted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(5, () => tasks.submit(Effect.void))
      const shutdown = yield* start(tasks.shutdown({ gracePeriod: "2500 millis" }))
      yield* TestClock.adjust("2500 millis")
      const { aborted, completed } = (yield* Fiber.join(shutdown)).stats
      assert.deepStrictEqual([completed, aborted], [3, 2])
    }).pipe(manager({ rate: perSecond(1) })))

  it.effect("a task that is cancelled before it begins is no start", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { starts, stamp } = stamps()
      yield* (yield* tasks.submit(stamp)).cancel
      yield* tasks.submit(stamp)
      yield* TestClock.adjust("999 millis")
      yield* tasks.submit(stamp)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(starts, [0, 1000])
    }).pipe(manager({ rate: perSecond(1) })))

  it.live("counts from when the attempt begins, in real time: a stalled process starts no two at once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const starts: Array<number> = []
      yield* times(2, () => tasks.submit(Effect.sync(() => starts.push(performance.now()))))
      for (const stalledAt = performance.now(); performance.now() < stalledAt + 200;);
      yield* tasks.awaitIdle
      assert.isAtLeast(starts[1]! - starts[0]!, 90)
    }).pipe(manager({ rate: { limit: 1, window: "100 millis" } })))

  it.effect("a limit above what is ever submitted changes nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(100, () => tasks.submit(Effect.void))
      yield* tasks.awaitIdle
      assert.strictEqual((yield* tasks.stats).completed, 100)
    }).pipe(manager({ rate: { limit: Number.MAX_SAFE_INTEGER, window: "1 hour" } })))
})
