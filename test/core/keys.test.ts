import { TaskAbortedError, type TaskHandle, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Schedule, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { busy, isFull, start, times } from "./submitting.ts"

const manager = (options: TaskManagerOptions) =>
  Effect.provide(Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, ...options }), Logger.layer([])))

const k = { key: "k" }
const refresh = { key: "k", keyUntil: "start" } as const

const assertSame = (a: TaskHandle<unknown, unknown>, b: TaskHandle<unknown, unknown>) => assert.strictEqual(a.id, b.id)

describe("keys", () => {
  describe("joining", () => {
    it.effect("submits under one key are one task: the first one's", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        const first = yield* tasks.submit(Effect.succeed("first"), k)
        const second = yield* tasks.submit(Effect.succeed("second"), { ...k, priority: 5, delay: "1 hour" })
        const third = yield* start(tasks.run(Effect.succeed("third"), k))
        yield* tasks.resume
        assert.deepStrictEqual([yield* second.join, yield* Fiber.join(third)], ["first", "first"])
        assertSame(first, second)
        assert.strictEqual((yield* tasks.stats).submitted, 1)
      }).pipe(manager({})))

    it.effect("a key is a name's own", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        const ids = new Set<string>()
        for (const [name, key] of [["a", "bc"], ["ab", "c"], ["abc", ""], ["", "abc"], ["task", "k"]] as const) {
          ids.add((yield* tasks.submit(Effect.void, { name, key })).id)
        }
        assert.strictEqual(ids.size, 5)
        assert.isTrue(ids.has((yield* tasks.submit(Effect.void, k)).id))
      }).pipe(manager({})))

    it.effect("a task holds its key while it waits, runs, is in backoff and runs again, and no longer", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const first = yield* tasks.submit(Effect.andThen(Effect.sleep("1 second"), Effect.fail("x")), {
          ...k,
          delay: "1 second",
          retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 })
        })
        for (const state of ["delayed", "running", "delayed", "running"]) {
          assert.strictEqual(yield* first.state, state)
          assertSame(yield* tasks.submit(Effect.void, k), first)
          yield* TestClock.adjust("999 millis")
          assertSame(yield* tasks.submit(Effect.void, k), first)
          yield* TestClock.adjust("1 millis")
        }
        assert.strictEqual(yield* first.state, "failed")
        assert.notStrictEqual((yield* tasks.submit(Effect.void, k)).id, first.id)
      }).pipe(manager({})))

    it.effect("completed, cancelled and expired tasks have let go of their key", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.run(Effect.void, k)
        yield* tasks.pause
        const waiting = yield* tasks.submit(Effect.void, k)
        yield* waiting.cancel
        const expiring = yield* tasks.submit(Effect.void, { ...k, timeToStart: "1 second" })
        yield* TestClock.adjust("1 second")
        const last = yield* tasks.submit(Effect.void, k)
        assert.deepStrictEqual([waiting.id, expiring.id, last.id], ["2", "3", "4"])
      }).pipe(manager({})))

    for (const capacity of [0, 1]) {
      it.effect(`a held key is joined by submit, trySubmit and run although there is no room, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { handle, letGo } = yield* busy(k)
          yield* times(capacity, () => tasks.submit(Effect.void))
          const suspended = yield* start(tasks.submit(Effect.void))
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
          assertSame(yield* tasks.submit(Effect.void, k), handle)
          assertSame(yield* tasks.trySubmit(Effect.void, k), handle)
          const run = yield* start(tasks.run(Effect.void, k))
          assert.strictEqual((yield* tasks.stats).submitted, capacity + 1)
          yield* letGo
          yield* Fiber.join(run)
          yield* Fiber.join(suspended)
        }).pipe(manager({ workers: 1, capacity })))

      it.effect(`suspended submits join the one under their key that is admitted first, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy()
          yield* times(capacity, () => tasks.submit(Effect.never))
          const first = yield* start(tasks.submit(Effect.never, k))
          const between = yield* start(tasks.submit(Effect.never))
          const second = yield* start(tasks.submit(Effect.never, k))
          const third = yield* start(tasks.run(Effect.never, k))
          yield* letGo
          const handle = yield* Fiber.join(first)
          assertSame(yield* Fiber.join(second), handle)
          yield* TestClock.adjust("1 minute")
          assert.isUndefined(between.pollUnsafe())
          yield* handle.cancel
          assert.instanceOf(yield* Effect.flip(Fiber.join(third)), TaskAbortedError)
          yield* Fiber.join(between)
        }).pipe(manager({ workers: 1, capacity })))
    }

    it.effect("a submit joins the task that takes its key while it is being suspended", () =>
      Effect.gen(function*() {
        for (let steps = 0; steps < 30; steps++) {
          yield* Effect.gen(function*() {
            const tasks = yield* TaskManager
            yield* busy()
            const producer = yield* start(
              Effect.provideService(tasks.submit(Effect.never, k), Scheduler.MaxOpsBeforeYield, 3)
            )
            yield* times(steps, () => Effect.yieldNow)
            const delayed = yield* tasks.submit(Effect.never, { ...k, delay: "1 hour" })
            assertSame(yield* Fiber.join(producer), delayed)
          }).pipe(manager({ workers: 1, capacity: 0 }))
        }
      }))

    it.effect("a held key is joined while admission is closed by delayed tasks, and in a full group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.submit(Effect.void, { ...k, group: "g", delay: "1 hour" })
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, { group: "g" })))
        assertSame(yield* tasks.trySubmit(Effect.void, { ...k, group: "g" }), handle)
        assertSame(yield* tasks.submit(Effect.void, { ...k, group: "other" }), handle)
      }).pipe(manager({ capacity: 1, groupCapacity: 0, maxDelayed: 1 })))

    it.effect("the second holds the task when the first is interrupted in the tick in which both got it", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        yield* tasks.submit(Effect.void)
        const [first, second] = yield* times(2, () => start(tasks.submit(Effect.succeed("done"), k)))
        const between = yield* tasks.submit(Effect.void).pipe(start)
        yield* letGo
        yield* Fiber.interrupt(first!)
        assert.strictEqual(yield* (yield* Fiber.join(second!)).join, "done")
        yield* Fiber.join(between)
      }).pipe(manager({ workers: 1, capacity: 1 })))

    it.effect("a failed task that is run again joins the one that holds its key by now", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const failed = yield* tasks.submit(Effect.fail("x"), k)
        yield* failed.await
        const { handle } = yield* busy(k)
        assert.deepStrictEqual(yield* tasks.retry(failed.id), Option.some(handle.id))
        assert.strictEqual((yield* tasks.stats).submitted, 2)
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("cancel ends the task for everybody who joined it", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const first = yield* tasks.submit(Effect.never, k)
        const runs = yield* times(3, () => start(tasks.run(Effect.never, k)))
        const second = yield* tasks.submit(Effect.never, k)
        assert.isTrue(yield* second.cancel)
        assert.strictEqual((yield* Effect.flip(first.join)).reason, "cancelled")
        for (const run of runs) assert.instanceOf(yield* Effect.flip(Fiber.join(run)), TaskAbortedError)
      }).pipe(manager({})))

    it.effect("a task that is being cancelled is not joined: a new one runs after its finalizers", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const order: Array<string> = []
        const note = (line: string) => Effect.sync(() => void order.push(line))
        const dying = yield* tasks.submit(
          Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep("1 second"), note("finalizer"))),
          k
        )
        yield* TestClock.adjust(1)
        yield* start(dying.cancel)
        const next = yield* tasks.submit(note("next"), k)
        assertSame(yield* tasks.submit(note("joined"), k), next)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* next.state, "completed")
        assert.deepStrictEqual(order, ["finalizer", "next"])
      }).pipe(manager({})))
  })

  describe(`keyUntil: "start"`, () => {
    it.effect("a submit during the run runs once more after it, and those after it join that one", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { handle, letGo } = yield* busy(refresh)
        let again = 0
        const second = yield* tasks.submit(Effect.sync(() => ++again), refresh)
        const third = yield* tasks.trySubmit(Effect.sync(() => ++again), refresh)
        assert.notStrictEqual(second.id, handle.id)
        assertSame(second, third)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual([yield* second.state, again], ["waiting", 0])
        yield* letGo
        assert.strictEqual(yield* second.join, 1)
        assert.strictEqual((yield* tasks.stats).submitted, 2)
      }).pipe(manager({ workers: 4 })))

    it.effect("a submit before the start joins", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        assertSame(yield* tasks.submit(Effect.void, refresh), yield* tasks.submit(Effect.void, refresh))
      }).pipe(manager({})))

    it.effect("the one after it waits until the run has ended for good, its backoff and retries included", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const first = yield* tasks.submit(Effect.fail("x"), {
          ...refresh,
          retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 2 })
        })
        yield* TestClock.adjust(1)
        const second = yield* tasks.submit(Effect.void, refresh)
        yield* TestClock.adjust("1998 millis")
        assert.deepStrictEqual([yield* first.state, yield* second.state], ["delayed", "waiting"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual([yield* first.state, yield* second.state], ["failed", "completed"])
      }).pipe(manager({ workers: 4 })))

    it.effect("the one after it also waits for its own delay", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.sleep("1 second"), refresh)
        yield* TestClock.adjust(0)
        const early = yield* tasks.submit(Effect.sleep("1 second"), { ...refresh, delay: "500 millis" })
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(yield* early.state, "delayed")
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* early.state, "running")
        const late = yield* tasks.submit(Effect.void, { ...refresh, delay: "2 seconds" })
        yield* TestClock.adjust("1999 millis")
        assert.deepStrictEqual([yield* early.state, yield* late.state], ["completed", "delayed"])
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* late.state, "completed")
      }).pipe(manager({ workers: 4 })))

    it.effect("cancelling the one that waits leaves the run alone, and lets another take its place", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { handle, letGo } = yield* busy(refresh)
        const second = yield* tasks.submit(Effect.void, refresh)
        assert.isTrue(yield* second.cancel)
        const third = yield* tasks.submit(Effect.succeed("third"), refresh)
        assert.strictEqual(yield* handle.state, "running")
        yield* letGo
        assert.strictEqual(yield* third.join, "third")
      }).pipe(manager({ workers: 4 })))

    it.effect("cancelling the run starts the one that waits, after the finalizers", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const first = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")), refresh)
        yield* TestClock.adjust(0)
        const second = yield* tasks.submit(Effect.void, refresh)
        yield* start(first.cancel)
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(yield* second.state, "waiting")
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* second.state, "completed")
      }).pipe(manager({ workers: 4 })))

    it.effect("the one that waits expires by its own timeToStart", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* busy(refresh)
        const second = yield* tasks.submit(Effect.void, { ...refresh, timeToStart: "1 second" })
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(yield* second.state, "waiting")
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Effect.flip(second.join)).reason, "expired")
        assert.strictEqual(yield* (yield* tasks.submit(Effect.void, refresh)).state, "waiting")
      }).pipe(manager({ workers: 4 })))

    it.effect("the holder's keyUntil counts, not the joiner's", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { handle, letGo } = yield* busy(k)
        assertSame(yield* tasks.submit(Effect.void, refresh), handle)
        yield* letGo
        const run = yield* busy(refresh)
        const second = yield* tasks.submit(Effect.sleep("1 second"), k)
        assert.notStrictEqual(second.id, run.handle.id)
        yield* run.letGo
        yield* TestClock.adjust("999 millis")
        assertSame(yield* tasks.submit(Effect.void, refresh), second)
      }).pipe(manager({ workers: 4 })))

    it.effect("with capacity 0 the next is suspended until the run has ended, and holds up nobody", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy(refresh)
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, refresh)))
        const next = yield* times(3, () => start(tasks.submit(Effect.succeed("next"), refresh)))
        yield* tasks.run(Effect.void)
        yield* tasks.trySubmit(Effect.void)
        assert.isUndefined(next[0]!.pollUnsafe())
        yield* letGo
        const [first, second, third] = yield* Effect.forEach(next, Fiber.join)
        assert.strictEqual(yield* first!.join, "next")
        assertSame(first!, second!)
        assertSame(first!, third!)
      }).pipe(manager({ workers: 2, capacity: 0 })))

    it.effect("with capacity 0 a run may submit while the next under its key is suspended", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const gate = yield* Deferred.make<void>()
        const first = yield* tasks.submit(
          Effect.andThen(Deferred.await(gate), tasks.run(Effect.succeed("inner"))),
          refresh
        )
        yield* TestClock.adjust(0)
        const next = yield* start(tasks.run(Effect.succeed("next"), refresh))
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* first.join, "inner")
        assert.strictEqual(yield* Fiber.join(next), "next")
      }).pipe(manager({ workers: 1, capacity: 0 })))
  })

  describe("who holds a task", () => {
    const finalized = Effect.sync(() => {
      const state = { begun: false, finalized: false }
      const task = Effect.acquireUseRelease(
        Effect.sync(() => state.begun = true),
        () => Effect.as(Effect.sleep("10 seconds"), "done"),
        () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => state.finalized = true))
      )
      return { state, task }
    })

    it.effect("interrupting the only run cancels its task and waits for the finalizers", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { state, task } = yield* finalized
        const run = yield* start(tasks.run(task, k))
        yield* TestClock.adjust(1)
        const interrupting = yield* start(Fiber.interrupt(run))
        yield* TestClock.adjust("999 millis")
        assert.isUndefined(interrupting.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(interrupting)
        assert.deepStrictEqual([state.finalized, (yield* tasks.stats).aborted], [true, 1])
      }).pipe(manager({})))

    it.effect("interrupting one of two runs leaves the task to the other, interrupting both cancels it", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { task } = yield* finalized
        const [first, second] = yield* times(2, () => start(tasks.run(task, k)))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(first!)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* Fiber.join(second!), "done")
        const [third, fourth] = yield* times(2, () => start(tasks.run(task, k)))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(third!)
        const interrupting = yield* start(Fiber.interrupt(fourth!))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(interrupting)
        const { aborted, completed } = yield* tasks.stats
        assert.deepStrictEqual([aborted, completed], [1, 1])
      }).pipe(manager({})))

    for (const submitFirst of [true, false]) {
      it.effect(`a submit that came ${submitFirst ? "before" : "after"} the run keeps the task when the run is interrupted`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { task } = yield* finalized
          const submits = yield* times(submitFirst ? 1 : 0, () => tasks.submit(task, k))
          const run = yield* start(tasks.run(task, k))
          yield* TestClock.adjust(1)
          submits.push(...(yield* times(submitFirst ? 0 : 1, () => tasks.submit(task, k))))
          yield* Fiber.interrupt(run)
          yield* TestClock.adjust("11 seconds")
          assert.strictEqual(yield* submits[0]!.join, "done")
        }).pipe(manager({})))
    }

    it.effect("interrupting a join leaves the task alone", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.submit(Effect.as(Effect.sleep("1 second"), "done"), k)
        const joining = yield* start(handle.join)
        yield* TestClock.adjust(1)
        yield* Fiber.interrupt(joining)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* handle.join, "done")
      }).pipe(manager({})))

    it.effect("a run that is interrupted before its task starts, or in its backoff, ends it at once", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { state, task } = yield* finalized
        const delayed = yield* start(tasks.run(task, { delay: "1 hour" }))
        const retried = yield* start(tasks.run(Effect.fail("x"), { retry: Schedule.spaced("1 hour") }))
        yield* TestClock.adjust("1 second")
        yield* tasks.pause
        const waiting = yield* start(tasks.run(task))
        const { delayed: delays, waiting: waits } = yield* tasks.stats
        assert.deepStrictEqual([delays, waits], [2, 1])
        for (const run of [delayed, retried, waiting]) yield* Fiber.interrupt<unknown, unknown>(run)
        assert.deepStrictEqual([state.begun, (yield* tasks.stats).aborted], [false, 3])
        yield* tasks.awaitIdle
      }).pipe(manager({})))

    it.effect("a run that has ended holds nothing: the outcome is its own", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        assert.deepStrictEqual(yield* Effect.exit(tasks.run(Effect.fail("x"), k)), Exit.fail("x"))
        assert.strictEqual(yield* tasks.run(Effect.succeed("y"), k), "y")
      }).pipe(manager({})))
  })

  for (const capacity of [0, 1]) {
    it.effect(`a task may wait for the one whose worker it was lent, with capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        const lender = Effect.andThen(times(2, () => tasks.submit(Effect.void)), Effect.succeed("lender"))
        const borrower = tasks.run(Effect.die("not joined"), k)
        const producers = yield* Effect.all([start(tasks.run(lender, k)), start(tasks.run(borrower))])
        yield* letGo
        assert.deepStrictEqual(yield* Effect.forEach(producers, Fiber.join), ["lender", "lender"])
      }).pipe(manager({ workers: 1, capacity })))
  }

  describe("with a group", () => {
    it.effect("the next under a key comes in its group's order", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const order: Array<string> = []
        const note = (line: string) => Effect.sync(() => void order.push(line))
        const { letGo } = yield* busy({ ...refresh, group: "g" })
        yield* tasks.submit(note("next"), { ...refresh, group: "g" })
        yield* tasks.submit(note("younger"), { group: "g" })
        yield* letGo
        yield* tasks.awaitIdle
        assert.deepStrictEqual(order, ["next", "younger"])
      }).pipe(manager({ workers: 4 })))

    it.effect("the next under a key takes a place of its group while it waits", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* busy({ ...refresh, group: "g" })
        yield* tasks.trySubmit(Effect.void, { ...refresh, group: "g" })
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, { group: "g" })))
        yield* tasks.trySubmit(Effect.void)
      }).pipe(manager({ workers: 1, capacity: 10, groupCapacity: 1 })))

    it.effect("a run may submit into its group although the next under its key has the last place there", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const gate = yield* Deferred.make<void>()
        const options = { ...refresh, group: "g" }
        const inner = tasks.run(Effect.succeed("inner"), { group: "g" })
        const first = yield* tasks.submit(Effect.andThen(Deferred.await(gate), inner), options)
        yield* TestClock.adjust(1)
        const next = yield* tasks.submit(Effect.succeed("next"), options)
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual([yield* first.join, yield* next.join], ["inner", "next"])
      }).pipe(manager({ workers: 1, capacity: 10, groupCapacity: 1 })))

    it.effect("key, group and delay together: one task, at its time, one at a time", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const order: Array<string> = []
        const task = (name: string) =>
          Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void order.push(name)))
        const options = { key: "k", group: "g", delay: "1 second" } as const
        const first = yield* tasks.submit(task("delayed"), options)
        assertSame(yield* tasks.submit(task("joined"), options), first)
        yield* TestClock.adjust("500 millis")
        yield* tasks.submit(task("now"), { group: "g" })
        yield* TestClock.adjust("1999 millis")
        assert.deepStrictEqual(order, ["now"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(order, ["now", "delayed"])
      }).pipe(manager({ workers: 4 })))
  })
})
