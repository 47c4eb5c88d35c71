import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, Duration, Effect, Option, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Timer } from "../../../packages/core/src/internal/timer.ts"

/** Not `Effect.repeat`, which sleeps between. */
const turns = Effect.forEach(Array.from({ length: 50 }), () => Effect.yieldNow, { discard: true })
/** Lets everything run that can; `adjust` first, since the clock's first sleep without one is interruptible anywhere. */
const quiet = Effect.andThen(TestClock.adjust(0), turns)
const after = (millis: number) => Effect.andThen(TestClock.adjust(millis), quiet)

/** A timer, and the times at which it woke. */
const makeTimer = Effect.gen(function*() {
  const context = yield* Effect.context()
  const woke: Array<number> = []
  const timer: Timer = new Timer(context, () => void woke.push(timer.now()))
  return { timer, woke }
})

/** The test clock, with a wall clock that can be stepped, and the number of its sleepers. */
const steppingClock = TestClock.testClockWith((clock) => {
  const state = { wall: 0, sleepers: 0, most: 0, early: 0 }
  const count = (by: number) =>
    Effect.sync(() => {
      state.sleepers += by
      state.most = Math.max(state.most, state.sleepers)
    })
  const stepping: Clock.Clock = {
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + state.wall,
    currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + state.wall),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(state.wall) * 1_000_000n,
    currentTimeNanos: Effect.map(clock.currentTimeNanos, (nanos) => nanos + BigInt(state.wall) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) =>
      Effect.acquireUseRelease(
        count(1),
        () => clock.sleep(Duration.subtract(duration, Duration.millis(state.early))),
        () => count(-1)
      )
  }
  const adjust = (millis: number) => Effect.andThen(clock.adjust(millis), turns)
  return Effect.succeed({ state, clock: stepping, adjust })
})

describe("Timer", () => {
  it.effect("wakes at its time, once, and not before", () =>
    Effect.gen(function*() {
      const { timer, woke } = yield* makeTimer
      timer.set(1000)
      yield* after(999)
      assert.deepStrictEqual(woke, [])
      yield* after(1)
      assert.deepStrictEqual(woke, [1000])
      yield* after(10_000)
      assert.deepStrictEqual(woke, [1000])
    }))

  it.effect("wakes at the earlier of two times, whichever was set first", () =>
    Effect.gen(function*() {
      const { timer, woke } = yield* makeTimer
      timer.set(2000)
      timer.set(1000)
      timer.set(3000)
      yield* after(999)
      assert.deepStrictEqual(woke, [])
      yield* after(1)
      assert.deepStrictEqual(woke, [1000])
      yield* after(10_000)
      assert.deepStrictEqual(woke, [1000])
      timer.set(12_000)
      yield* after(1000)
      assert.deepStrictEqual(woke, [1000, 12_000])
    }))

  it.effect("is switched off by Infinity, and can be set again", () =>
    Effect.gen(function*() {
      const { timer, woke } = yield* makeTimer
      timer.set(1000)
      timer.set(Infinity)
      yield* after(2000)
      assert.deepStrictEqual(woke, [])
      timer.set(3000)
      yield* after(1000)
      assert.deepStrictEqual(woke, [3000])
    }))

  it.effect("never wakes before a fraction of a millisecond has passed", () =>
    Effect.gen(function*() {
      const { timer, woke } = yield* makeTimer
      timer.set(10.25)
      yield* after(10)
      assert.deepStrictEqual(woke, [])
      yield* after(1)
      assert.deepStrictEqual(woke, [11])
    }))

  it.effect("wakes for a time that has passed without the clock moving", () =>
    Effect.gen(function*() {
      yield* after(1000)
      const { timer, woke } = yield* makeTimer
      timer.set(500)
      yield* quiet
      timer.set(1000)
      yield* quiet
      assert.deepStrictEqual(woke, [1000, 1000])
    }))

  it.effect("has one sleeping fiber at most, and none when it is off", () =>
    Effect.gen(function*() {
      const { clock, state } = yield* steppingClock
      const { timer, woke } = yield* Effect.provideService(makeTimer, Clock.Clock, clock)
      for (let at = 1000; at > 0; at--) timer.set(at)
      yield* quiet
      assert.deepStrictEqual([state.sleepers, state.most], [1, 1])
      timer.set(Infinity)
      yield* quiet
      assert.strictEqual(state.sleepers, 0)
      timer.set(1)
      yield* after(1)
      assert.deepStrictEqual([woke, state.sleepers], [[1], 0])
    }))

  it.effect("goes by the monotonic clock, and tells the wall clock", () =>
    Effect.gen(function*() {
      const { clock, state } = yield* steppingClock
      const { timer, woke } = yield* Effect.provideService(makeTimer, Clock.Clock, clock)
      timer.set(1000)
      yield* after(500)
      state.wall = -3_600_000
      assert.deepStrictEqual([timer.now(), timer.wallNow()], [500, 500 - 3_600_000])
      yield* after(499)
      assert.deepStrictEqual(woke, [])
      yield* after(1)
      assert.deepStrictEqual(woke, [1000])
    }))
})

describe("a manager", () => {
  it.effect("has one sleeping fiber for all that it waits for, and none when that is nothing", () =>
    Effect.gen(function*() {
      const { adjust, clock, state } = yield* steppingClock
      yield* Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* adjust(0)
        assert.strictEqual(state.sleepers, 0)
        for (let i = 1; i <= 1000; i++) {
          yield* tasks.submit(Effect.fail("again"), { retry: Schedule.spaced("1 hour") })
          yield* tasks.submit(Effect.void, { delay: i, timeToStart: "1 hour", timeToLive: "2 hours" })
        }
        yield* adjust(0)
        assert.strictEqual((yield* tasks.stats).delayed, 2000)
        assert.strictEqual(state.most, 1)
        yield* adjust(1000)
        assert.strictEqual((yield* tasks.stats).completed, 1000)
        assert.deepStrictEqual([state.sleepers, state.most], [1, 1])
        yield* tasks.shutdown({ gracePeriod: 0 })
        yield* adjust(0)
        assert.strictEqual(state.sleepers, 0)
      }).pipe(Effect.provide(TaskManager.layer({ gracePeriod: 0 })), Effect.provideService(Clock.Clock, clock))
    }))

  it.effect("keeps its times when the wall clock is stepped back an hour", () =>
    Effect.gen(function*() {
      const { adjust, clock, state } = yield* steppingClock
      yield* Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* adjust(0)
        let attempts = 0
        const delayed = yield* tasks.submit(Effect.void, { delay: "2 seconds" })
        const retried = yield* tasks.submit(Effect.suspend(() => ++attempts < 3 ? Effect.fail("again") : Effect.void), {
          retry: Schedule.max([Schedule.spaced("1 second"), Schedule.during("1 minute")])
        })
        const expires = yield* tasks.submit(Effect.never, { timeToLive: "2 seconds" })
        yield* adjust(500)
        state.wall = -3_600_000
        assert.deepStrictEqual(
          Option.map(yield* tasks.get(delayed.id), ({ dueAt }) => dueAt && DateTime.toEpochMillis(dueAt)),
          Option.some(2000 - 3_600_000)
        )
        yield* adjust(1499)
        assert.deepStrictEqual(
          [yield* delayed.state, yield* retried.state, yield* expires.state],
          ["delayed", "delayed", "running"]
        )
        yield* adjust(1)
        assert.deepStrictEqual(
          [yield* delayed.state, yield* retried.state, yield* expires.state],
          ["completed", "completed", "aborted"]
        )
        yield* tasks.submit(Effect.never)
        const shutdown = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: "1 second" }))
        yield* adjust(500)
        state.wall = -7_200_000
        yield* adjust(499)
        assert.isUndefined(shutdown.pollUnsafe())
        yield* adjust(1)
        assert.isDefined(shutdown.pollUnsafe())
      }).pipe(
        Effect.provide(TaskManager.layer({ gracePeriod: 0, rate: { limit: 5, window: "1 second" } })),
        Effect.provideService(Clock.Clock, clock)
      )
    }))

  it.effect("starts nothing before its time when a sleep ends too early", () =>
    Effect.gen(function*() {
      const { adjust, clock, state } = yield* steppingClock
      yield* Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* adjust(0)
        state.early = 5
        const handle = yield* tasks.submit(Effect.void, { delay: "1 second" })
        yield* adjust(1)
        state.early = 0
        yield* adjust(998)
        assert.strictEqual(yield* handle.state, "delayed")
        yield* adjust(1)
        assert.strictEqual(yield* handle.state, "completed")
      }).pipe(Effect.provide(TaskManager.layer({ gracePeriod: 0 })), Effect.provideService(Clock.Clock, clock))
    }))
})
