import { type TaskHandle, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Schedule } from "effect"
import { after, quiet } from "./virtualTime.ts"

const manager = (options?: TaskManagerOptions) => TaskManager.layer({ gracePeriod: 0, ...options })
const oneWorker = manager({ workers: 1 })

/** Begins to cancel and comes back while that is under way. */
const begin = (handle: TaskHandle<unknown, unknown>) => Effect.tap(Effect.forkChild(handle.cancel), () => quiet)

/** How the task was aborted: reason, attempts, failures. */
const aborted = (handle: TaskHandle<unknown, unknown>) =>
  Effect.map(handle.await, (outcome) => {
    if (outcome._tag !== "Aborted") return assert.fail(outcome._tag)
    const { attempts, failures, reason } = outcome.error
    return [reason, attempts, failures.reasons.length === 0 ? "" : Cause.pretty(failures).split("\n")[0]!]
  })

const steps = () => {
  const log: Array<string> = []
  return { log, note: (text: string) => Effect.sync(() => void log.push(text)) }
}

describe("cancel", () => {
  it.effect("ends a waiting task at once: it never runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      yield* tasks.submit(Effect.sleep("1 second"))
      const handle = yield* tasks.submit(note("ran"))
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 0, ""])
      yield* after(1000)
      assert.deepStrictEqual(log, [])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a task that was handed to a worker and has not begun", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const handle = yield* tasks.submit(note("ran"))
      assert.strictEqual(yield* handle.state, "running")
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 0, ""])
      yield* tasks.run(note("next"))
      assert.deepStrictEqual(log, ["next"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a delayed start at once", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const handle = yield* tasks.submit(note("ran"), { delay: "1 second" })
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 0, ""])
      yield* after(1000)
      assert.deepStrictEqual(log, [])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("ends a task in backoff at once, with the failures that it had, and lets its group go on", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const fails = Effect.andThen(note("attempt"), Effect.fail("boom"))
      const handle = yield* tasks.submit(fails, { retry: Schedule.spaced("1 second"), group: "g" })
      yield* tasks.submit(note("next"), { group: "g" })
      yield* quiet
      yield* after(1000)
      assert.deepStrictEqual(log, ["attempt", "attempt"])
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 2, "Error: attempt 1: boom"])
      yield* after(10_000)
      assert.deepStrictEqual(log, ["attempt", "attempt", "next"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("in the instant in which a retry is due ends the task before it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let attempts = 0
      const fails = Effect.suspend(() => Effect.fail(++attempts))
      const cancelling = yield* Effect.forkChild(
        Effect.flatMap(Effect.sleep("1 second"), () => handle.cancel),
        { startImmediately: true }
      )
      const handle = yield* tasks.submit(fails, { retry: Schedule.spaced("1 second") })
      yield* quiet
      yield* after(1000)
      assert.isTrue(yield* Fiber.join(cancelling))
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, "Error: attempt 1: 1"])
    }).pipe(Effect.provide(oneWorker)))

  for (
    const [what, task] of [
      ["ensuring", Effect.ensuring(Effect.never, Effect.sleep("1 second"))],
      ["the scope of the attempt", Effect.andThen(Effect.addFinalizer(() => Effect.sleep("1 second")), Effect.never)],
      ["an uninterruptible region", Effect.uninterruptible(Effect.andThen(Effect.sleep("1 second"), Effect.void))],
      [
        "a child that it forked",
        Effect.andThen(
          Effect.forkChild(Effect.ensuring(Effect.never, Effect.sleep("1 second")), { startImmediately: true }),
          Effect.never
        )
      ],
      [
        "a fiber in its scope",
        Effect.andThen(
          Effect.forkScoped(Effect.ensuring(Effect.never, Effect.sleep("1 second")), { startImmediately: true }),
          Effect.never
        )
      ]
    ] as const
  ) {
    it.effect(`interrupts a running task, and waits for its worker until ${what} has ended`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.submit(task)
        const next = yield* tasks.submit(Effect.void)
        yield* quiet
        const cancelling = yield* begin(handle)
        yield* after(999)
        assert.isUndefined(cancelling.pollUnsafe())
        assert.deepStrictEqual([yield* handle.state, yield* next.state], ["running", "waiting"])
        yield* after(1)
        assert.isTrue(yield* Fiber.join(cancelling))
        assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, ""])
        assert.strictEqual(yield* next.state, "completed")
      }).pipe(Effect.provide(oneWorker)))
  }

  it.effect("is false for a task that had ended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const completed = yield* tasks.submit(Effect.succeed("x"))
      const failed = yield* tasks.submit(Effect.fail("x"))
      const cancelled = yield* tasks.submit(Effect.never)
      yield* quiet
      assert.isTrue(yield* cancelled.cancel)
      for (const handle of [completed, failed, cancelled]) {
        assert.isFalse(yield* handle.cancel)
        assert.isFalse(yield* tasks.cancel(handle.id))
      }
      assert.strictEqual(yield* completed.join, "x")
      assert.strictEqual(yield* failed.state, "failed")
    }).pipe(Effect.provide(manager())))

  it.effect("is false for a task that ends in its own way although it is cancelled", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const late = Effect.addFinalizer(() => Effect.sleep("1 second"))
      const completes = yield* tasks.submit(Effect.as(late, "x"))
      const fails = yield* tasks.submit(Effect.andThen(late, Effect.fail("boom")))
      const again = yield* tasks.submit(Effect.andThen(late, Effect.fail("boom")), { retry: Schedule.forever })
      yield* quiet
      const cancelling = yield* Effect.forEach([completes, fails, again], begin)
      yield* after(1000)
      assert.deepStrictEqual(yield* Effect.forEach(cancelling, (fiber) => Fiber.join(fiber)), [false, false, true])
      assert.strictEqual(yield* completes.join, "x")
      assert.strictEqual(yield* Effect.flip(fails.join), "boom")
      assert.deepStrictEqual(yield* aborted(again), ["cancelled", 1, "Error: attempt 1: boom"])
    }).pipe(Effect.provide(manager())))

  it.effect("is false for a task that completed in the same turn, before it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<string>()
      const handle = yield* tasks.submit(Deferred.await(gate))
      yield* quiet
      yield* Deferred.succeed(gate, "x")
      assert.isFalse(yield* handle.cancel)
      assert.strictEqual(yield* handle.join, "x")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("is true for a task that would have completed in the same turn, after it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<string>()
      const handle = yield* tasks.submit(Deferred.await(gate))
      yield* quiet
      const cancelling = yield* Effect.forkChild(handle.cancel, { startImmediately: true })
      yield* Deferred.succeed(gate, "x")
      assert.isTrue(yield* Fiber.join(cancelling))
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, ""])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("twice at once is true twice", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
      yield* quiet
      const first = yield* begin(handle)
      const second = yield* begin(handle)
      const byId = yield* Effect.forkChild(tasks.cancel(handle.id))
      yield* after(999)
      assert.isUndefined(second.pollUnsafe())
      yield* after(1)
      assert.deepStrictEqual(yield* Effect.forEach([first, second, byId], (fiber) => Fiber.join(fiber)), [
        true,
        true,
        true
      ])
      assert.strictEqual((yield* tasks.stats).aborted, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("goes through although its caller is interrupted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
      yield* quiet
      const cancelling = yield* begin(handle)
      yield* Fiber.interrupt(cancelling)
      yield* after(1000)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, ""])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("by id ends the task with that id, and no other", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const first = yield* tasks.submit(Effect.void)
      const second = yield* tasks.submit(Effect.void)
      assert.isTrue(yield* tasks.cancel(second.id))
      assert.deepStrictEqual([yield* first.state, yield* second.state], ["waiting", "aborted"])
      for (const id of ["3", "0", "01", "1.0", " 1", "", "x", "-1", "NaN"]) {
        assert.isFalse(yield* tasks.cancel(id), JSON.stringify(id))
      }
      assert.strictEqual(yield* first.state, "waiting")
    }).pipe(Effect.provide(manager())))

  it.effect("ends the task for everybody who holds it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const options = { key: "k" }
      const handle = yield* tasks.submit(Effect.never, options)
      const same = yield* tasks.submit(Effect.never, options)
      const run = yield* Effect.forkChild(Effect.flip(tasks.run(Effect.never, options)))
      yield* quiet
      assert.isTrue(yield* same.cancel)
      const error = yield* Fiber.join(run)
      assert.deepStrictEqual([error._tag, error._tag === "TaskAbortedError" && error.reason], [
        "TaskAbortedError",
        "cancelled"
      ])
      assert.strictEqual(yield* handle.state, "aborted")
      const next = yield* tasks.submit(Effect.succeed("x"), options)
      assert.strictEqual(yield* next.join, "x")
    }).pipe(Effect.provide(manager())))

  it.effect("of a run of a key lets the one after it start", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const options = { key: "k", keyUntil: "start" } as const
      const first = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")), options)
      yield* quiet
      const second = yield* tasks.submit(Effect.void, options)
      yield* begin(first)
      yield* after(999)
      assert.strictEqual(yield* second.state, "waiting")
      yield* after(1)
      assert.strictEqual(yield* second.state, "completed")
    }).pipe(Effect.provide(manager())))

  it.effect("of a waiting task makes room for a suspended submit", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never)
      const waiting = yield* tasks.submit(Effect.void)
      const suspended = yield* Effect.forkChild(tasks.submit(Effect.void))
      yield* quiet
      assert.isUndefined(suspended.pollUnsafe())
      assert.isTrue(yield* waiting.cancel)
      assert.strictEqual((yield* Fiber.join(suspended)).id, "3")
    }).pipe(Effect.provide(manager({ workers: 1, capacity: 1 }))))

  it.effect("of a task that is suspended in a submit leaves nothing of that submit", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const late = tasks.submit(Effect.void, { delay: "1 hour" })
      const handle = yield* tasks.submit(Effect.andThen(late, late))
      yield* quiet
      assert.strictEqual(yield* handle.state, "running")
      assert.isTrue(yield* handle.cancel)
      const { delayed, submitted } = yield* tasks.stats
      assert.deepStrictEqual([delayed, submitted], [1, 2])
    }).pipe(Effect.provide(manager({ maxDelayed: 1 }))))

  it.effect("is not taken for a failure: no retry, no onFailed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const handle = yield* tasks.submit(
        Effect.andThen(note("attempt"), Effect.andThen(Effect.never, Effect.fail("x"))),
        {
          retry: Schedule.forever,
          onFailed: () => note("onFailed")
        }
      )
      yield* quiet
      yield* handle.cancel
      yield* after(1000)
      assert.deepStrictEqual(log, ["attempt"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("does not hide what a finalizer does wrong", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.die(new Error("disk full"))))
      yield* quiet
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, "Error: attempt 1: disk full"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("reaches a retry policy that is being asked", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("boom"), { retry: { while: () => Effect.never } })
      yield* quiet
      assert.strictEqual(yield* handle.state, "running")
      assert.isTrue(yield* handle.cancel)
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, "Error: attempt 1: boom"])
    }).pipe(Effect.provide(oneWorker)))

  it.effect("reaches onFailed; the task stays failed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const handle = yield* tasks.submit(Effect.fail("boom"), {
        onFailed: () => Effect.onInterrupt(Effect.never, () => note("cut"))
      })
      yield* quiet
      assert.isFalse(yield* handle.cancel)
      assert.deepStrictEqual(log, ["cut"])
      assert.strictEqual(yield* Effect.flip(handle.join), "boom")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("of another, from inside a task, works at one worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const other = yield* tasks.submit(Effect.gen(function*() {
        const waiting = yield* tasks.submit(Effect.never)
        const lent = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
        yield* Effect.forkChild(Effect.exit(lent.join))
        yield* Effect.sleep(1)
        return [yield* waiting.cancel, yield* lent.cancel]
      }))
      yield* quiet
      yield* after(1)
      yield* after(1000)
      assert.deepStrictEqual(yield* other.join, [true, true])
    }).pipe(Effect.provide(oneWorker)))
})

describe("cancel of oneself", () => {
  for (
    const [where, around] of [
      ["at once", (cancel: Effect.Effect<boolean>) => cancel],
      ["after a suspension", (cancel: Effect.Effect<boolean>) => Effect.andThen(Effect.yieldNow, cancel)],
      [
        "from a child",
        (cancel: Effect.Effect<boolean>) =>
          Effect.flatMap(Effect.forkChild(Effect.andThen(Effect.yieldNow, cancel)), Fiber.join)
      ]
    ] as const
  ) {
    it.effect(`${where} does not wait, and ends the task`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { log, note } = steps()
        const self = yield* Deferred.make<TaskHandle<unknown, unknown>>()
        const cancel = Effect.flatMap(Deferred.await(self), (handle) => handle.cancel)
        const handle = yield* tasks.submit(
          Effect.ensuring(
            Effect.andThen(
              around(Effect.uninterruptible(Effect.tap(cancel, (done) => note(`cancel ${done}`)))),
              Effect.never
            ),
            note("finalizer")
          )
        )
        yield* Deferred.succeed(self, handle)
        yield* quiet
        assert.deepStrictEqual(log.toSorted(), ["cancel true", "finalizer"])
        assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, ""])
      }).pipe(Effect.provide(oneWorker)))
  }

  it.effect("from a task that it runs ends both", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const self = yield* Deferred.make<TaskHandle<unknown, unknown>>()
      const handle = yield* tasks.submit(tasks.run(Effect.flatMap(Deferred.await(self), ({ cancel }) => cancel)))
      yield* quiet
      yield* Deferred.succeed(self, handle)
      yield* quiet
      assert.deepStrictEqual(yield* aborted(handle), ["cancelled", 1, ""])
      assert.strictEqual((yield* tasks.stats).aborted, 2)
    }).pipe(Effect.provide(oneWorker)))
})

describe("an interrupted run", () => {
  it.effect("cancels its task and comes back when the finalizers have run", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const run = yield* Effect.forkChild(tasks.run(Effect.ensuring(Effect.never, Effect.sleep("1 second"))))
      yield* quiet
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(run))
      yield* after(999)
      assert.isUndefined(interrupting.pollUnsafe())
      yield* after(1)
      assert.isDefined(interrupting.pollUnsafe())
      assert.strictEqual((yield* tasks.stats).aborted, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("cancels a task that waits, is delayed or in backoff, which then never runs again", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let attempts = 0
      const fails = Effect.suspend(() => Effect.fail(++attempts))
      const runs = yield* Effect.forEach([
        tasks.run(fails, { retry: Schedule.spaced("1 second") }),
        tasks.run(fails, { delay: "1 second" }),
        Effect.andThen(tasks.submit(Effect.sleep("1 second")), tasks.run(fails))
      ], (run) => Effect.tap(Effect.forkChild(run), () => quiet))
      for (const run of runs) yield* Fiber.interrupt(run)
      yield* after(10_000)
      assert.strictEqual(attempts, 1)
      assert.strictEqual((yield* tasks.stats).aborted, 3)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("leaves the task to the last one that holds it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const run = Effect.tap(Effect.forkChild(tasks.run(Effect.never, { key: "k" })), () => quiet)
      const first = yield* run
      const second = yield* run
      yield* Fiber.interrupt(first)
      assert.strictEqual((yield* tasks.stats).running, 1)
      yield* Fiber.interrupt(second)
      assert.strictEqual((yield* tasks.stats).aborted, 1)
    }).pipe(Effect.provide(oneWorker)))

  it.effect("leaves a task that a submit holds too", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const run = yield* Effect.forkChild(tasks.run(Effect.never, { key: "k" }))
      yield* quiet
      const handle = yield* tasks.submit(Effect.never, { key: "k" })
      yield* Fiber.interrupt(run)
      assert.strictEqual(yield* handle.state, "running")
    }).pipe(Effect.provide(oneWorker)))

  it.effect("of a join leaves the task alone", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.sleep("1 second"))
      const waits = yield* Effect.forEach([handle.join, handle.await], (wait) => Effect.forkChild(wait))
      yield* quiet
      for (const wait of waits) yield* Fiber.interrupt(wait)
      assert.strictEqual(yield* handle.state, "running")
      yield* after(1000)
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(oneWorker)))
})

describe("Effect.timeout inside a task", () => {
  it.effect("holds the worker until the finalizers have run, and is a failure that retries", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { log, note } = steps()
      const slow = Effect.ensuring(
        Effect.andThen(note("attempt"), Effect.never),
        Effect.andThen(Effect.sleep("2 seconds"), note("finalizer"))
      )
      const handle = yield* tasks.submit(Effect.timeout(slow, "1 second"), {
        retry: { times: 1, schedule: Schedule.spaced("10 seconds"), while: Cause.isTimeoutError }
      })
      yield* tasks.submit(note("next"))
      yield* quiet
      yield* after(2999)
      assert.deepStrictEqual(log, ["attempt"])
      yield* after(1)
      assert.deepStrictEqual(log, ["attempt", "finalizer", "next"])
      yield* after(9999)
      assert.strictEqual(log.length, 3)
      yield* after(1)
      assert.strictEqual(log.length, 4)
      yield* after(3000)
      const exit = yield* Effect.exit(handle.join)
      assert.isTrue(Exit.isFailure(exit) && Cause.isTimeoutError(Cause.squash(exit.cause)))
    }).pipe(Effect.provide(oneWorker)))

  it.effect("that passes just after the end changes nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inTime = yield* tasks.submit(Effect.timeout(Effect.sleep(999), 1000))
      const late = yield* tasks.submit(Effect.timeout(Effect.sleep(1001), 1000))
      yield* quiet
      yield* after(1000)
      assert.deepStrictEqual([yield* inTime.state, yield* late.state], ["completed", "failed"])
    }).pipe(Effect.provide(manager())))
})
