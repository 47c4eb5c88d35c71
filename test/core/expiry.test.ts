import { type SubmitOptions, type TaskHandle, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option, Schedule } from "effect"
import { after, quiet } from "./virtualTime.ts"

const manager = (options?: TaskManagerOptions) => TaskManager.layer({ gracePeriod: 0, ...options })
const oneWorker = manager({ workers: 1 })

/** Fails unless the task ends, as expired, after `millis` and not a millisecond before. */
const expiresAfter = (handle: TaskHandle<unknown, unknown>, millis: number) =>
  Effect.gen(function*() {
    const before = yield* handle.state
    yield* after(millis - 1)
    assert.strictEqual(yield* handle.state, before)
    yield* after(1)
    const outcome = yield* handle.await
    if (outcome._tag !== "Aborted") return assert.fail(outcome._tag)
    assert.strictEqual(outcome.error.reason, "expired")
    return outcome.error
  })

const both: ReadonlyArray<[string, SubmitOptions]> = [
  ["timeToStart", { timeToStart: "1 second" }],
  ["timeToLive", { timeToLive: "1 second" }]
]

for (const [option, options] of both) {
  describe(`${option}, while a task waits,`, () => {
    it.effect("ends a task that waits for a worker", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never)
        let ran = false
        const handle = yield* tasks.submit(Effect.sync(() => ran = true), options)
        assert.strictEqual((yield* expiresAfter(handle, 1000)).attempts, 0)
        assert.isFalse(ran)
      }).pipe(Effect.provide(oneWorker)))

    it.effect("ends a task in a paused manager", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        yield* expiresAfter(yield* tasks.submit(Effect.void, options), 1000)
      }).pipe(Effect.provide(oneWorker)))

    it.effect("ends a task that waits for its group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never, { group: "g" })
        const handle = yield* tasks.submit(Effect.void, { ...options, group: "g" })
        yield* expiresAfter(handle, 1000)
      }).pipe(Effect.provide(manager())))

    it.effect("ends a task that waits for the run of its key, and leaves the key to the next", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const keyed = { key: "k", keyUntil: "start" } as const
        yield* tasks.submit(Effect.sleep("2 seconds"), keyed)
        yield* quiet
        yield* expiresAfter(yield* tasks.submit(Effect.void, { ...keyed, ...options }), 1000)
        const next = yield* tasks.submit(Effect.void, keyed)
        yield* after(1000)
        assert.strictEqual(yield* next.state, "completed")
      }).pipe(Effect.provide(manager())))

    it.effect("ends a task that waits for the rate", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.run(Effect.void)
        yield* expiresAfter(yield* tasks.submit(Effect.void, options), 1000)
      }).pipe(Effect.provide(manager({ rate: { limit: 1, window: "10 seconds" } }))))

    it.effect("does not let a task start in the very instant in which it passes", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.sleep("1 second"))
        yield* quiet
        yield* expiresAfter(yield* tasks.submit(Effect.void, options), 1000)
      }).pipe(Effect.provide(oneWorker)))

    it.effect("makes room for a suspended submit", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never)
        yield* tasks.submit(Effect.void, options)
        const suspended = yield* Effect.forkChild(tasks.submit(Effect.void))
        yield* after(999)
        assert.isUndefined(suspended.pollUnsafe())
        yield* after(1)
        assert.isDefined(suspended.pollUnsafe())
      }).pipe(Effect.provide(manager({ workers: 1, capacity: 1 }))))

    it.effect("counts from the admission, not from the submit that waited for it", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.sleep("5 seconds"))
        yield* tasks.submit(Effect.never)
        const suspended = yield* Effect.forkChild(tasks.submit(Effect.void, options))
        yield* quiet
        yield* after(5000)
        yield* expiresAfter(yield* Fiber.join(suspended), 1000)
      }).pipe(Effect.provide(manager({ workers: 1, capacity: 1 }))))

    it.effect("fails a run with TaskAbortedError", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never)
        const run = yield* Effect.forkChild(Effect.flip(tasks.run(Effect.void, options)))
        yield* quiet
        yield* after(1000)
        const error = yield* Fiber.join(run)
        assert.deepStrictEqual([error._tag, error._tag === "TaskAbortedError" && error.reason], [
          "TaskAbortedError",
          "expired"
        ])
      }).pipe(Effect.provide(oneWorker)))

    it.effect("of many tasks ends each at its own time", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        const handles = yield* Effect.forEach(
          Array.from({ length: 50 }, (_, i) => 50 - i),
          (millis) =>
            tasks.submit(Effect.void, option === "timeToStart" ? { timeToStart: millis } : { timeToLive: millis })
        )
        for (let millis = 1; millis <= 50; millis++) {
          yield* after(1)
          assert.strictEqual((yield* tasks.stats).aborted, millis)
          assert.strictEqual(yield* handles[50 - millis]!.state, "aborted")
        }
      }).pipe(Effect.provide(manager())))

    it.effect("holds anew when a failed task is run again by id", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.submit(Effect.fail("x"), options)
        yield* handle.await
        yield* after(5000)
        yield* tasks.pause
        const id = Option.getOrThrow(yield* tasks.retry(handle.id))
        yield* after(999)
        assert.isTrue(Option.isSome(yield* tasks.get(id)))
        yield* after(1)
        assert.isTrue(Option.isNone(yield* tasks.get(id)))
        assert.strictEqual((yield* tasks.stats).aborted, 1)
      }).pipe(Effect.provide(manager())))

    for (const bad of [0, -1, Number.NaN]) {
      it.effect(`of ${bad} dies, naming it`, () =>
        Effect.gen(function*() {
          const options = option === "timeToStart" ? { timeToStart: bad } : { timeToLive: bad }
          const exit = yield* Effect.exit(TaskManager.submit(Effect.void, options))
          assert.match(
            Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
            new RegExp(`${option}: expected a duration`)
          )
        }).pipe(Effect.provide(manager())))
    }

    it.effect("of infinity never passes", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        const handle = yield* tasks.submit(Effect.void, { timeToStart: Infinity, timeToLive: Infinity })
        yield* after(365 * 24 * 3_600_000)
        assert.strictEqual(yield* handle.state, "waiting")
      }).pipe(Effect.provide(manager())))
  })
}

describe("timeToStart alone", () => {
  it.effect("bounds the first start only: neither the run nor its retries", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let attempts = 0
      const task = Effect.andThen(
        Effect.sleep("2 seconds"),
        Effect.suspend(() => ++attempts < 3 ? Effect.fail("again") : Effect.void)
      )
      const handle = yield* tasks.submit(task, { timeToStart: "1 second", retry: Schedule.spaced("2 seconds") })
      yield* quiet
      yield* after(10_000)
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("lets a task start a millisecond before it passes", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.sleep(999))
      yield* quiet
      const handle = yield* tasks.submit(Effect.sleep("1 hour"), { timeToStart: "1 second" })
      yield* after(1000)
      assert.strictEqual(yield* handle.state, "running")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("counts from the due time of a delayed start", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const handle = yield* tasks.submit(Effect.void, { delay: "5 seconds", timeToStart: "1 second" })
      yield* after(5999)
      assert.strictEqual(yield* handle.state, "delayed")
      yield* after(1)
      assert.strictEqual(yield* handle.state, "aborted")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("leaves a delayed start that begins when it is due", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.void, { delay: "5 seconds", timeToStart: 1 })
      yield* after(5000)
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(oneWorker)))
})

describe("timeToLive alone", () => {
  it.effect("interrupts a running task, and holds the worker until its finalizers have run", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let interrupted = false
      const finalizer = Effect.andThen(Effect.sync(() => interrupted = true), Effect.sleep("2 seconds"))
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, finalizer), { timeToLive: "1 second" })
      const next = yield* tasks.submit(Effect.void)
      yield* quiet
      yield* after(999)
      assert.isFalse(interrupted)
      yield* after(1)
      assert.isTrue(interrupted)
      assert.strictEqual((yield* expiresAfter(handle, 2000)).attempts, 1)
      assert.strictEqual(yield* next.state, "completed")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("leaves a task that ends a millisecond before it passes", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.sleep(999), { timeToLive: "1 second" })
      yield* quiet
      yield* after(1000)
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a task in backoff, with the failures that it had", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), {
        timeToLive: "1 second",
        retry: Schedule.spaced("600 millis")
      })
      yield* quiet
      const error = yield* expiresAfter(handle, 1000)
      assert.strictEqual(error.attempts, 2)
      assert.match(Cause.pretty(error.failures), /attempt 1: boom[^]*attempt 2: boom/)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a retry that is due and waits for a worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), {
        timeToLive: "1 second",
        retry: Schedule.spaced("500 millis")
      })
      yield* quiet
      yield* tasks.submit(Effect.never)
      yield* quiet
      assert.strictEqual((yield* expiresAfter(handle, 1000)).attempts, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("starts no retry in the very instant in which it passes", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), {
        timeToLive: "1 second",
        retry: Schedule.spaced("1 second")
      })
      yield* quiet
      assert.strictEqual((yield* expiresAfter(handle, 1000)).attempts, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("counts from the admission of a delayed start, before it is due and after", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const before = yield* tasks.submit(Effect.void, { delay: "2 seconds", timeToLive: "1 second" })
      yield* expiresAfter(before, 1000)
      const during = yield* tasks.submit(Effect.never, { delay: "1 second", timeToLive: "3 seconds" })
      yield* after(1000)
      assert.strictEqual((yield* expiresAfter(during, 2000)).attempts, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("is shorter than timeToStart, or longer: the first to pass counts", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const live = yield* tasks.submit(Effect.void, { timeToStart: "2 seconds", timeToLive: "1 second" })
      const start = yield* tasks.submit(Effect.void, { timeToStart: "1 second", timeToLive: "2 seconds" })
      yield* after(999)
      assert.deepStrictEqual([yield* live.state, yield* start.state], ["waiting", "waiting"])
      yield* after(1)
      assert.deepStrictEqual([yield* live.state, yield* start.state], ["aborted", "aborted"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("holds after a start within timeToStart", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.never, { timeToStart: "1 second", timeToLive: "2 seconds" })
      yield* quiet
      yield* expiresAfter(handle, 2000)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("reaches onFailed; the task stays failed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), { timeToLive: "1 second", onFailed: () => Effect.never })
      yield* quiet
      yield* after(999)
      assert.strictEqual(yield* handle.state, "running")
      yield* after(1)
      assert.strictEqual(yield* handle.state, "failed")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a task that waits for another, and cancels what it runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(tasks.run(Effect.never), { timeToLive: "1 second" })
      yield* quiet
      yield* expiresAfter(handle, 1000)
      assert.strictEqual((yield* tasks.stats).aborted, 2)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("that passes after a cancel does not change the reason", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("2 seconds")), {
        timeToLive: "1 second"
      })
      yield* quiet
      const cancelling = yield* Effect.forkChild(handle.cancel)
      yield* after(2000)
      assert.isTrue(yield* Fiber.join(cancelling))
      const outcome = yield* handle.await
      assert.strictEqual(outcome._tag === "Aborted" && outcome.error.reason, "cancelled")
    }).pipe(Effect.provide(oneWorker)))
})
