import { TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Logger, Option, References, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { isFull, start, times } from "./submitting.ts"

/** A manager that logs into `entries`. */
const manager = (options: TaskManagerOptions, entries: Array<string> = []) => {
  const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
    const { manager } = fiber.getRef(References.CurrentLogAnnotations)
    entries.push(`${logLevel} ${String(manager)} ${String(message)}`)
  })
  return Effect.provide(
    Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, ...options }), Logger.layer([logger]))
  )
}

/** Fails while the outage lasts. */
const outage = () => {
  const state = { over: false }
  return { state, task: Effect.suspend(() => state.over ? Effect.void : Effect.fail("down")) }
}

describe("delayed starts", () => {
  it.effect("start at their time and not before, each at its own", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const starts: Array<number> = []
      const task = Effect.clockWith((clock) => Effect.sync(() => starts.push(clock.currentTimeMillisUnsafe())))
      for (const delay of ["2 seconds", "1 second", "1500 millis", "1500100 micros", 0.5] as const) {
        yield* tasks.submit(task, { delay })
      }
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [1, 1000, 1500, 1501, 2000])
    }).pipe(manager({ workers: 1 })))

  it.effect("a delay that is zero or in the past is none", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const handles = yield* Effect.forEach(
        [0, "0 seconds", Duration.seconds(-1), "-1 second", Duration.zero] as const,
        (delay) => tasks.submit(Effect.void, { delay })
      )
      assert.deepStrictEqual(yield* Effect.forEach(handles, ({ state }) => state), Array(5).fill("waiting"))
    }).pipe(manager({})))

  it.effect("an infinite delay never comes due, and can be cancelled", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.void, { delay: Duration.infinity })
      yield* TestClock.adjust("1000 weeks")
      assert.strictEqual(yield* handle.state, "delayed")
      assert.isUndefined(Option.getOrThrow(yield* tasks.get(handle.id)).dueAt)
      assert.isTrue(yield* handle.cancel)
    }).pipe(manager({})))

  it.effect("take no place of the queue, and the queue none of theirs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(100, () => tasks.trySubmit(Effect.void, { delay: "1 hour" }))
      yield* tasks.trySubmit(Effect.never)
      yield* tasks.trySubmit(Effect.never)
      assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never)))
      yield* tasks.trySubmit(Effect.void, { delay: "1 hour" })
      const { delayed, running, waiting } = yield* tasks.stats
      assert.deepStrictEqual([delayed, running, waiting], [101, 1, 1])
    }).pipe(manager({ workers: 1, capacity: 1 })))

  it.effect("stay delayed, and take no place of the queue, until they start", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.sleep("1 minute"))
      yield* TestClock.adjust(1)
      const due = yield* tasks.submit(Effect.void, { delay: "1 second" })
      const { dueAt } = Option.getOrThrow(yield* tasks.get(due.id))
      assert.strictEqual(dueAt?.epochMilliseconds, 1001)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* due.state, "delayed")
      yield* tasks.trySubmit(Effect.void)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* tasks.stats).completed, 3)
    }).pipe(manager({ workers: 1, capacity: 1 })))

  it.effect("a cancelled one starts never", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let runs = 0
      const handles = yield* times(5, (i) => tasks.submit(Effect.sync(() => runs++), { delay: `${i + 1} seconds` }))
      for (const i of [0, 2, 4]) assert.isTrue(yield* handles[i]!.cancel)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([runs, (yield* tasks.stats).aborted], [2, 3])
    }).pipe(manager({})))
})

describe("maxDelayed", () => {
  it.effect("so many may be delayed; a trySubmit beyond is refused, a submit waits until there are fewer", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const [first] = yield* times(3, () => tasks.trySubmit(Effect.void, { delay: "1 hour" }))
      assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, { delay: "1 hour" })))
      const suspended = yield* times(2, () => start(tasks.submit(Effect.void, { delay: "1 hour" })))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(suspended[0]!.pollUnsafe())
      yield* first!.cancel
      yield* Fiber.join(suspended[0]!)
      assert.isUndefined(suspended[1]!.pollUnsafe())
      assert.strictEqual((yield* tasks.stats).delayed, 3)
    }).pipe(manager({ maxDelayed: 3 })))

  for (const capacity of [0, 10]) {
    it.effect(`while so many are delayed nothing is taken in, with capacity ${capacity}; then in the order of arrival`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const [first] = yield* times(2, () => tasks.submit(Effect.void, { delay: "1 hour" }))
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
        const order: Array<string> = []
        const produce = (name: string, delay?: Duration.Input) =>
          start(Effect.andThen(tasks.submit(Effect.void, { delay }), Effect.sync(() => order.push(name))))
        for (const name of ["a", "b"]) yield* produce(name)
        yield* produce("delayed", "1 hour")
        yield* produce("c")
        yield* TestClock.adjust("59 minutes")
        assert.deepStrictEqual(order, [])
        yield* first!.cancel
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(order, ["a", "b", "delayed"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(order, ["a", "b", "delayed", "c"])
      }).pipe(manager({ maxDelayed: 2, capacity })))
  }

  for (const [how, end] of [["starts", "1 hour"], ["expires", "30 minutes"]] as const) {
    it.effect(`admission opens when one ${how}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.void, { delay: "1 hour", timeToLive: how === "starts" ? undefined : end })
        const suspended = yield* start(tasks.submit(Effect.void))
        yield* TestClock.adjust(Duration.toMillis(end) - 1)
        assert.isUndefined(suspended.pollUnsafe())
        yield* TestClock.adjust(1)
        yield* Fiber.join(suspended)
      }).pipe(manager({ maxDelayed: 1 })))
  }

  it.effect("a task that may fail again is never refused: its retry counts as delayed, not as waiting", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { task } = outage()
      yield* times(3, () => tasks.submit(task, { retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 }) }))
      yield* TestClock.adjust(1)
      const { delayed, waiting } = yield* tasks.stats
      assert.deepStrictEqual([delayed, waiting], [3, 0])
      assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* tasks.stats).failed, 3)
    }).pipe(manager({ workers: 3, maxDelayed: 1 })))

  it.effect("a retry that is due takes no place of the queue while it waits for a worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { task } = outage()
      const retried = yield* tasks.submit(task, { retry: Schedule.spaced("1 second") })
      yield* TestClock.adjust(1)
      yield* tasks.submit(Effect.never)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* retried.state, "delayed")
      yield* tasks.trySubmit(Effect.void)
      assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
    }).pipe(manager({ workers: 1, capacity: 1 })))

  for (const [workers, capacity, maxDelayed] of [[1, 0, 1], [2, 4, 1], [4, 16, 10], [3, 64, 100]] as const) {
    it.effect(`an outage holds at most ${maxDelayed} + ${capacity} + the ${workers} attempts in progress, then all go on`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { state, task } = outage()
        let most = 0
        const look = Effect.map(tasks.stats, ({ delayed }) => void (most = Math.max(most, delayed)))
        const call = Effect.andThen(look, Effect.andThen(Effect.sleep("10 millis"), task))
        const producers = yield* times(300, () => start(tasks.submit(call, { retry: Schedule.spaced("1 minute") })))
        yield* times(100, () => Effect.andThen(TestClock.adjust("1 second"), look))
        assert.isAtLeast(most, maxDelayed)
        assert.isAtMost(most, maxDelayed + capacity + workers)
        assert.isAtMost((yield* tasks.stats).submitted, maxDelayed + capacity + workers)
        state.over = true
        yield* times(5, () => TestClock.adjust("1 minute"))
        for (const producer of producers) yield* Fiber.join(producer)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* tasks.stats).completed, 300)
      }).pipe(manager({ workers, capacity, maxDelayed })))
  }

  it.effect("one warning tells that admission is closed, in the manager's log", () => {
    const entries: Array<string> = []
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* times(2, () => tasks.submit(Effect.void, { delay: "1 hour" }))
      assert.deepStrictEqual(entries, [])
      yield* times(10, () => isFull(tasks.trySubmit(Effect.void)))
      const suspended = yield* times(10, () => start(tasks.submit(Effect.void)))
      yield* TestClock.adjust("1 hour")
      for (const fiber of suspended) yield* Fiber.join(fiber)
      assert.strictEqual(entries.length, 1)
      assert.match(entries[0]!, /^Warn @effect-tasks\/core\/TaskManager 2 retries and delayed starts .*maxDelayed/)
    }).pipe(manager({ maxDelayed: 2 }, entries))
  })

  it.effect("delayed starts that come due while the manager is paused still count", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      yield* tasks.submit(Effect.void, { delay: "1 second" })
      yield* TestClock.adjust("1 hour")
      assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
      yield* tasks.resume
      yield* tasks.awaitIdle
      yield* tasks.trySubmit(Effect.void)
    }).pipe(manager({ maxDelayed: 1 })))

  it.effect("a submit that is interrupted while admission is closed leaves nothing behind", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      yield* tasks.submit(Deferred.await(gate), { delay: "1 second" })
      const suspended = yield* times(
        4,
        (i) => start(tasks.submit(Effect.void, { delay: i % 2 === 0 ? undefined : "1 second" }))
      )
      for (const fiber of suspended) yield* Fiber.interrupt(fiber)
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("1 second")
      yield* tasks.awaitIdle
      assert.strictEqual((yield* tasks.stats).submitted, 1)
    }).pipe(manager({ maxDelayed: 1 })))
})
