import { CurrentTask, QueueFullError, TaskManager, TaskManagerStoppedError } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"

const one = TaskManager.layer({ workers: 1, capacity: 1 })

describe("TaskManager", () => {
  it.effect("gives the result of a task to run and join", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.succeed("a"))
      assert.strictEqual(yield* handle.join, "a")
      assert.strictEqual(yield* TaskManager.run(Effect.succeed("b")), "b")
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("refuses a trySubmit when the queue is full, and admits a suspended submit later", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      yield* tasks.submit(Deferred.await(gate))
      yield* tasks.submit(Effect.void)
      assert.instanceOf(yield* Effect.flip(tasks.trySubmit(Effect.void)), QueueFullError)
      const suspended = yield* Effect.forkChild(tasks.submit(Effect.succeed(3)), { startImmediately: true })
      assert.strictEqual((yield* tasks.stats).submitted, 2)
      yield* Deferred.succeed(gate, undefined)
      const handle = yield* Fiber.join(suspended)
      assert.strictEqual(yield* handle.join, 3)
    }).pipe(Effect.provide(one)))

  it.effect("leaves nothing behind when a suspended submit is interrupted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      yield* tasks.submit(Effect.void)
      const suspended = yield* Effect.forkChild(tasks.submit(Effect.void), { startImmediately: true })
      yield* Fiber.interrupt(suspended)
      assert.strictEqual((yield* tasks.stats).submitted, 2)
      yield* tasks.shutdown({ gracePeriod: 0 })
    }).pipe(Effect.provide(one)))

  it.effect("retries after the schedule's delay and not before", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let attempts = 0
      const failOnce = Effect.suspend(() => ++attempts < 2 ? Effect.fail("boom") : Effect.succeed(attempts))
      const fiber = yield* tasks.run(failOnce, { retry: Schedule.spaced("1 second") }).pipe(Effect.forkChild)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(attempts, 1)
      assert.strictEqual((yield* tasks.stats).delayed, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(fiber), 2)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1 }))))

  it.effect("collects the attempts of a failed task in one Cause", () =>
    Effect.gen(function*() {
      const handle = yield* TaskManager.submit(Effect.fail("boom"), { name: "mail", retry: Schedule.recurs(2) })
      const outcome = yield* handle.await
      assert.strictEqual(outcome._tag, "Failed")
      if (outcome._tag !== "Failed") return
      assert.strictEqual(outcome.error.message, "mail failed after 3 attempts: boom")
      assert.strictEqual(outcome.error.cause.reasons.length, 3)
      assert.strictEqual(yield* Effect.flip(handle.join), "boom")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("holds the worker until a cancelled task's finalizers have run", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const order: Array<string> = []
      const slow = Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void order.push("finalizer")))
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, slow))
      yield* tasks.submit(Effect.sync(() => void order.push("next")))
      yield* Effect.yieldNow
      const cancelling = yield* Effect.forkChild(handle.cancel)
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(order, [])
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* Fiber.join(cancelling))
      yield* tasks.awaitIdle
      assert.deepStrictEqual(order, ["finalizer", "next"])
    }).pipe(Effect.provide(one)))

  for (const capacity of [0, 1, 64]) {
    it.effect(`runs 100 tasks of 3 attempts each with capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        let attempts = 0
        const task = Effect.gen(function*() {
          attempts++
          const { attempts: attempt } = yield* CurrentTask
          if (attempt < 3) return yield* Effect.fail("again")
        })
        yield* Effect.forEach(Array.from({ length: 100 }), () => tasks.submit(task, { retry: Schedule.recurs(5) }))
        yield* tasks.awaitIdle
        assert.strictEqual(attempts, 300)
        assert.strictEqual((yield* tasks.stats).completed, 100)
      }).pipe(Effect.provide(TaskManager.layer({ workers: 2, capacity }))))

    it.effect(`runs nested runs at one worker with capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        assert.strictEqual(yield* tasks.run(tasks.run(tasks.run(Effect.succeed("deep")))), "deep")
        const inner = tasks.run(Effect.gen(function*() {
          yield* tasks.submit(Effect.void)
          return (yield* tasks.stats).waiting
        }))
        assert.isAtMost(yield* inner, capacity)
        yield* tasks.awaitIdle
        assert.strictEqual((yield* tasks.stats).completed, 5)
      }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity }))))
  }

  it.effect("dies when a task waits for itself", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const exit = yield* Effect.exit(tasks.run(tasks.awaitIdle))
      assert.match(Cause.pretty((exit as any).cause), /awaitIdle was called inside task/)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("joins the task that holds the key", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const a = yield* tasks.submit(Effect.void, { key: "k" })
      const b = yield* tasks.submit(Effect.void, { key: "k" })
      assert.strictEqual(a.id, b.id)
      assert.strictEqual((yield* tasks.stats).submitted, 1)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("runs the tasks of a group one at a time, in order", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const step = (name: string) =>
        Effect.gen(function*() {
          log.push(`${name}+`)
          yield* Effect.sleep("1 second")
          log.push(`${name}-`)
        })
      yield* tasks.submit(step("a"), { group: "g" })
      yield* tasks.submit(step("b"), { group: "g" })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(log, ["a+", "a-", "b+", "b-"])
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("starts at most the rate's limit in a window", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* Effect.forEach([1, 2, 3], () => tasks.submit(Effect.void))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual((yield* tasks.stats).completed, 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* tasks.stats).completed, 3)
    }).pipe(Effect.provide(TaskManager.layer({ rate: { limit: 2, window: "1 second" } }))))

  it.effect("expires what has not started in time", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const handle = yield* tasks.submit(Effect.void, { timeToStart: "1 second" })
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* handle.state, "waiting")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Effect.flip(handle.join)).reason, "expired")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("starts a delayed task at its time", () =>
    Effect.gen(function*() {
      const handle = yield* TaskManager.submit(Effect.void, { delay: "1 second" })
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* handle.state, "delayed")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("ends suspended submits and aborts what is left when it shuts down", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never, { name: "stuck" })
      yield* tasks.submit(Effect.void)
      const suspended = yield* Effect.forEach(Array.from({ length: 300 }), () =>
        Effect.forkChild(Effect.flip(tasks.submit(Effect.void)), { startImmediately: true }))
      const report = yield* tasks.shutdown({ gracePeriod: 0 })
      for (const fiber of suspended) {
        assert.instanceOf(yield* Fiber.join(fiber), TaskManagerStoppedError)
      }
      assert.strictEqual(report.unfinished.length, 2)
      assert.strictEqual(report.stats.aborted, 2)
      assert.isTrue(yield* tasks.isStopped)
    }).pipe(Effect.provide(one)))

  it.effect("submits at each step of a schedule", () =>
    Effect.gen(function*() {
      yield* TaskManager.schedule(Effect.void, Schedule.spaced("1 minute"))
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual((yield* (yield* TaskManager).stats).completed, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* (yield* TaskManager).stats).completed, 1)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("runs a failed task again by id, once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let calls = 0
      const handle = yield* tasks.submit(Effect.suspend(() => ++calls === 1 ? Effect.fail("x") : Effect.void))
      yield* handle.await
      assert.strictEqual((yield* tasks.list({ state: "failed" })).length, 1)
      assert.strictEqual((yield* tasks.retry(handle.id))._tag, "Some")
      yield* tasks.awaitIdle
      assert.strictEqual(calls, 2)
      assert.strictEqual((yield* tasks.retry(handle.id))._tag, "None")
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("dies on a bad option, naming it", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(TaskManager.make({ workers: 0 })))
      assert.match(Cause.pretty((exit as any).cause), /workers: expected a whole number >= 1, got 0/)
    }))
})
