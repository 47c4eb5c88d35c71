import { QueueFullError, TaskManager, type TaskManagerOptions, TaskManagerStoppedError } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Logger, Option, Schedule, Scheduler, Scope } from "effect"
import { TestClock } from "effect/testing"
import { busy, start, times } from "./submitting.ts"

/** Other fibers take n turns. */
const turns = (n: number) => times(n, () => Effect.yieldNow)

/** Yields after each step, so that other fibers come in between. */
const stepwise = Effect.provideService(Scheduler.MaxOpsBeforeYield, 3)

const manager = (options: TaskManagerOptions) =>
  Effect.provide(Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, ...options }), Logger.layer([])))

const assertFull = (exit: Exit.Exit<unknown, unknown>) =>
  assert.instanceOf(Option.getOrThrow(Exit.findErrorOption(exit)), QueueFullError)

describe("admission", () => {
  for (const [workers, capacity] of [[1, 0], [1, 1], [1, 64], [3, 0], [3, 1], [3, 64]] as const) {
    describe(`with ${workers} workers and capacity ${capacity}`, () => {
      it.effect("trySubmit takes one task for each worker and each place, and refuses the next", () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          yield* times(workers + capacity, () => tasks.trySubmit(Effect.never))
          const refused = yield* Effect.flip(tasks.trySubmit(Effect.never))
          assert.instanceOf(refused, QueueFullError)
          assert.strictEqual(refused.capacity, capacity)
          const { running, submitted, waiting } = yield* tasks.stats
          assert.deepStrictEqual([running, submitted, waiting], [workers, workers + capacity, capacity])
        }).pipe(manager({ workers, capacity })))

      it.effect("submit waits for a place, and each task that ends makes room for one", () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy()
          yield* times(workers - 1 + capacity, () => tasks.submit(Effect.never))
          const suspended = yield* times(5, () => start(tasks.submit(Effect.never)))
          assert.strictEqual((yield* tasks.stats).submitted, workers + capacity)
          yield* letGo
          yield* Fiber.join(suspended[0]!)
          yield* TestClock.adjust("1 minute")
          assert.isUndefined(suspended[1]!.pollUnsafe())
          const { submitted, waiting } = yield* tasks.stats
          assert.deepStrictEqual([submitted, waiting], [workers + capacity + 1, capacity])
        }).pipe(manager({ workers, capacity })))

      it.effect("never more than `workers` tasks run nor more than `capacity` wait", () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const seen = { running: 0, waiting: 0, delayed: 0 }
          const look = Effect.map(tasks.stats, ({ delayed, running, waiting }) => {
            seen.running = Math.max(seen.running, running)
            seen.waiting = Math.max(seen.waiting, waiting)
            seen.delayed = Math.max(seen.delayed, delayed)
          })
          const task = (i: number) =>
            Effect.gen(function*() {
              yield* look
              if (i % 3 === 0) yield* Effect.sleep(i)
              if (i % 3 === 1) yield* Effect.yieldNow
              yield* look
              if (i % 5 === 0) return yield* Effect.fail("again")
            })
          const producers = yield* times(200, (i) =>
            start(Effect.andThen(tasks.submit(task(i), { retry: { times: 1 } }), look)))
          yield* TestClock.adjust("1 minute")
          for (const producer of producers) {
            yield* Fiber.join(producer)
          }
          assert.deepStrictEqual([seen.running, seen.waiting], [workers, capacity])
          assert.isAbove(seen.delayed, 0)
          const { completed, failed } = yield* tasks.stats
          assert.deepStrictEqual([completed, failed], [160, 40])
        }).pipe(manager({ workers, capacity })))
    })
  }

  describe("with capacity 0", () => {
    it.effect("a worker is free again only when the last task's finalizers have run", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.trySubmit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
        yield* TestClock.adjust(1)
        yield* start(handle.cancel)
        const suspended = yield* start(tasks.submit(Effect.void))
        yield* TestClock.adjust("999 millis")
        assert.isUndefined(suspended.pollUnsafe())
        assertFull(yield* Effect.exit(tasks.trySubmit(Effect.void)))
        yield* TestClock.adjust("1 millis")
        yield* Fiber.join(suspended)
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("who learns that a task has ended finds its worker free", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.run(Effect.void)
        yield* tasks.trySubmit(Effect.void)
        yield* tasks.awaitIdle
        const handle = yield* tasks.trySubmit(Effect.void)
        yield* handle.await
        yield* tasks.trySubmit(Effect.void)
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("nothing is handed over while the manager is paused", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        assertFull(yield* Effect.exit(tasks.trySubmit(Effect.void)))
        const suspended = yield* times(3, (i) => start(tasks.submit(Effect.succeed(i))))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* tasks.stats).submitted, 0)
        yield* tasks.resume
        const handles = yield* Effect.forEach(suspended, Fiber.join)
        assert.deepStrictEqual(yield* Effect.forEach(handles, ({ join }) => join), [0, 1, 2])
      }).pipe(manager({ workers: 2, capacity: 0 })))

    it.effect("a retry that is due takes the freed worker before a suspended submit", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const order: Array<string> = []
        const failing = Effect.suspend(() => order.push("retried") === 1 ? Effect.fail("x") : Effect.void)
        yield* tasks.submit(failing, { retry: Schedule.spaced("1 second") })
        yield* TestClock.adjust(1)
        const blocker = yield* busy()
        yield* TestClock.adjust("1 second")
        const suspended = yield* start(tasks.submit(Effect.sync(() => order.push("submitted"))))
        yield* blocker.letGo
        yield* Fiber.join(suspended)
        yield* tasks.awaitIdle
        assert.deepStrictEqual(order, ["retried", "retried", "submitted"])
      }).pipe(manager({ workers: 1, capacity: 0 })))
  })

  describe("order of suspended submits", () => {
    for (const capacity of [0, 1]) {
      it.effect(`they are admitted first come, first served, whatever their priority, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy()
          yield* times(capacity, () => tasks.submit(Effect.void))
          const admitted: Array<number> = []
          const producers = yield* times(20, (i) =>
            start(Effect.andThen(
              tasks.submit(Effect.void, { priority: i * 100 }),
              Effect.sync(() => admitted.push(i))
            )))
          yield* letGo
          for (const producer of producers) yield* Fiber.join(producer)
          assert.deepStrictEqual(admitted, Array.from({ length: 20 }, (_, i) => i))
        }).pipe(manager({ workers: 1, capacity })))

      it.effect(`a place that comes is the first one's at once, so trySubmit cannot take it, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy()
          yield* times(capacity, () => tasks.submit(Effect.never))
          const first = yield* start(tasks.submit(Effect.never))
          yield* letGo
          assertFull(yield* Effect.exit(tasks.trySubmit(Effect.never)))
          assert.strictEqual(yield* (yield* Fiber.join(first)).state, capacity === 0 ? "running" : "waiting")
        }).pipe(manager({ workers: 1, capacity })))
    }

    it.effect("a failed task that is run again by id does not overtake them either", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const failed = yield* tasks.submit(Effect.fail("x"))
        yield* failed.await
        yield* tasks.submit(Effect.never)
        const waiting = yield* tasks.submit(Effect.never)
        const suspended = yield* start(tasks.submit(Effect.never))
        yield* waiting.cancel
        assert.isTrue(Option.isNone(yield* tasks.retry(failed.id)))
        const admitted = yield* Fiber.join(suspended)
        yield* admitted.cancel
        assert.isTrue(Option.isSome(yield* tasks.retry(failed.id)))
      }).pipe(manager({ workers: 1, capacity: 1 })))

    it.effect("the one behind gets the place when the first is interrupted", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        const [first, second] = yield* times(2, () => start(tasks.submit(Effect.never)))
        yield* Fiber.interrupt(first!)
        yield* letGo
        yield* Fiber.join(second!)
        assert.strictEqual((yield* tasks.stats).submitted, 2)
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("an interrupted one counts no longer for awaitIdle", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.pause
        const suspended = yield* start(tasks.submit(Effect.void))
        const idle = yield* start(tasks.awaitIdle)
        yield* TestClock.adjust("1 minute")
        assert.isUndefined(idle.pollUnsafe())
        yield* Fiber.interrupt(suspended)
        yield* Fiber.join(idle)
      }).pipe(manager({ workers: 1, capacity: 0 })))
  })

  for (const capacity of [0, 1]) {
    it.effect(`room that comes while a submit is being suspended is not missed, with capacity ${capacity}`, () =>
      Effect.gen(function*() {
        for (let steps = 0; steps < 30; steps++) {
          const { completed } = yield* Effect.gen(function*() {
            const tasks = yield* TaskManager
            const { letGo } = yield* busy()
            yield* times(capacity, () => tasks.submit(Effect.void))
            const producer = yield* start(stepwise(tasks.submit(Effect.void)))
            yield* turns(steps)
            yield* letGo
            yield* Fiber.join(producer)
            yield* tasks.awaitIdle
            return yield* tasks.stats
          }).pipe(manager({ workers: 1, capacity }))
          assert.strictEqual(completed, capacity + 2)
        }
      }))

    it.effect(`a shutdown while a submit is being suspended refuses it, with capacity ${capacity}`, () =>
      Effect.gen(function*() {
        for (let steps = 0; steps < 30; steps++) {
          yield* Effect.gen(function*() {
            const tasks = yield* TaskManager
            yield* busy()
            yield* times(capacity, () => tasks.submit(Effect.void))
            const producer = yield* start(stepwise(tasks.submit(Effect.void)))
            yield* turns(steps)
            yield* tasks.shutdown()
            assert.instanceOf(yield* Effect.flip(Fiber.join(producer)), TaskManagerStoppedError)
          }).pipe(manager({ workers: 1, capacity }))
        }
      }))
  }

  describe("interrupting a suspended submit", () => {
    /**
     * Opens the gate of the running task, lets the others take `steps` turns, and interrupts the first suspended
     * producer, which yields after each of its operations.
     */
    const interruptAfter = (
      capacity: number,
      steps: number,
      produce: (tasks: typeof TaskManager.Service, task: Effect.Effect<void>) => Effect.Effect<unknown, unknown>,
      task: Effect.Effect<void>
    ) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const blocker = yield* busy()
        yield* times(capacity, () => tasks.submit(Effect.void))
        const producer = yield* start(stepwise(produce(tasks, task)))
        yield* turns(50)
        const next = yield* start(tasks.submit(Effect.succeed("next")))
        yield* blocker.letGo
        yield* turns(steps)
        yield* Fiber.interrupt(producer)
        assert.strictEqual(yield* (yield* Fiber.join(next)).join, "next")
        yield* tasks.awaitIdle
        const { aborted, completed, submitted } = yield* tasks.stats
        assert.strictEqual(completed + aborted, submitted)
        return { admitted: submitted === capacity + 3, aborted, exit: yield* Fiber.await(producer) }
      }).pipe(manager({ workers: 1, capacity }))

    for (const capacity of [0, 1]) {
      it.effect(`leaves a task that is in or nothing, at every instant, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const seen = new Set<string>()
          for (let steps = 0; steps < 30; steps++) {
            let runs = 0
            const { aborted, admitted, exit } = yield* interruptAfter(
              capacity,
              steps,
              (tasks, task) => tasks.submit(task),
              Effect.sync(() => void runs++)
            )
            assert.strictEqual(runs + aborted, admitted ? 1 : 0)
            if (Exit.isSuccess(exit)) assert.strictEqual(runs, 1)
            seen.add(exit._tag)
          }
          assert.deepStrictEqual([...seen], ["Failure", "Success"])
        }))

      it.effect(`cancels the task of a run, at every instant, with capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const seen = new Set<string>()
          for (let steps = 0; steps < 30; steps++) {
            let running = 0
            const { aborted, admitted } = yield* interruptAfter(
              capacity,
              steps,
              (tasks, task) => tasks.run(task),
              Effect.acquireUseRelease(Effect.sync(() => running++), () =>
                Effect.never, () =>
                Effect.sync(() => running--))
            )
            assert.deepStrictEqual([aborted, running], [admitted ? 1 : 0, 0])
            seen.add(`admitted ${admitted}`)
          }
          assert.include([...seen], "admitted true")
        }))
    }

    it.effect("before there is room leaves no trace", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const blocker = yield* busy()
        let runs = 0
        const producers = yield* times(50, () => start(tasks.submit(Effect.sync(() => runs++))))
        for (const producer of producers) yield* Fiber.interrupt(producer)
        yield* blocker.letGo
        yield* tasks.awaitIdle
        assert.strictEqual(runs, 0)
        assert.strictEqual((yield* tasks.stats).submitted, 1)
      }).pipe(manager({ workers: 1, capacity: 0 })))
  })

  it.effect("a run that was suspended takes a failure in the tick of its admission to its caller, not to the log", () =>
    Effect.gen(function*() {
      const levels: Array<string> = []
      const logger = Logger.make(({ logLevel }) => void levels.push(logLevel))
      const { letGo } = yield* busy()
      const producer = yield* start(TaskManager.run(Effect.fail("x")).pipe(Effect.provide(Logger.layer([logger]))))
      yield* letGo
      assert.strictEqual(yield* Effect.flip(Fiber.join(producer)), "x")
      assert.notInclude(levels, "Error")
    }).pipe(manager({ workers: 1, capacity: 0 })))

  describe("Effect.timeout(submit)", () => {
    it.effect("gives up exactly at its time and leaves nothing behind", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        let runs = 0
        const producer = yield* start(Effect.timeout(tasks.submit(Effect.sync(() => runs++)), "1 second"))
        yield* TestClock.adjust("999 millis")
        assert.isUndefined(producer.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.isTrue(Cause.isTimeoutError(yield* Effect.flip(Fiber.join(producer))))
        yield* letGo
        yield* tasks.awaitIdle
        assert.deepStrictEqual([runs, (yield* tasks.stats).submitted], [0, 1])
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("bounds the wait for room, not the task", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.sleep("999 millis"))
        const producer = yield* start(
          Effect.timeout(tasks.submit(Effect.as(Effect.sleep("1 hour"), "done")), "1 second")
        )
        yield* TestClock.adjust("1 second")
        const handle = yield* Fiber.join(producer)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* handle.join, "done")
      }).pipe(manager({ workers: 1, capacity: 0 })))
  })

  describe("when the manager stops", () => {
    /** 100 each of all that can be suspended: for room, for room in the group, for a delayed place, and as a run. */
    const suspendAll = (tasks: typeof TaskManager.Service) =>
      Effect.gen(function*() {
        yield* tasks.submit(Effect.never)
        yield* tasks.submit(Effect.never, { group: "g" })
        yield* tasks.submit(Effect.never, { delay: "1 day" })
        return yield* Effect.map(
          times(100, () =>
            Effect.all([
              start(tasks.submit(Effect.void)),
              start(tasks.submit(Effect.void, { group: "g" })),
              start(tasks.submit(Effect.void, { delay: "1 minute" })),
              start(tasks.run(Effect.void))
            ])),
          (fibers) => fibers.flat()
        )
      })
    const full = { workers: 1, capacity: 1, maxDelayed: 1 }

    it.effect("shutdown ends hundreds of suspended submits at once with TaskManagerStoppedError", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const suspended = yield* suspendAll(tasks)
        const shutdown = yield* start(tasks.shutdown({ gracePeriod: "1 minute" }))
        for (const fiber of suspended) {
          assert.instanceOf(yield* Effect.flip(Fiber.join<unknown, unknown>(fiber)), TaskManagerStoppedError)
        }
        assert.isUndefined(shutdown.pollUnsafe())
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(shutdown)).stats.submitted, 3)
      }).pipe(manager(full)))

    it.effect("closing the scope does the same", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const tasks = yield* Scope.provide(TaskManager.make(full), scope)
        const suspended = yield* suspendAll(tasks)
        const closing = yield* start(Scope.close(scope, Exit.void))
        for (const fiber of suspended) {
          assert.instanceOf(yield* Effect.flip(Fiber.join<unknown, unknown>(fiber)), TaskManagerStoppedError)
        }
        assert.isUndefined(closing.pollUnsafe())
        yield* TestClock.adjust("20 seconds")
        yield* Fiber.join(closing)
        assert.isTrue(yield* tasks.isStopped)
        assert.strictEqual((yield* tasks.stats).aborted, 3)
      }))

    it.effect("what got its place in the same tick is in, what did not is refused", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        const [first, second] = yield* times(2, (i) => start(tasks.submit(Effect.as(Effect.sleep("1 second"), i))))
        yield* letGo
        const shutdown = yield* start(tasks.shutdown({ gracePeriod: "2 seconds" }))
        assert.instanceOf(yield* Effect.flip(Fiber.join(second!)), TaskManagerStoppedError)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* (yield* Fiber.join(first!)).join, 0)
        const { stats } = yield* Fiber.join(shutdown)
        assert.deepStrictEqual([stats.submitted, stats.completed], [2, 2])
      }).pipe(manager({ workers: 1, capacity: 0 })))

    it.effect("submit, trySubmit and run are refused, also under a key that is held", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never, { key: "k" })
        const shutdown = yield* start(tasks.shutdown({ gracePeriod: "1 second" }))
        for (const options of [{}, { key: "k" }]) {
          assert.instanceOf(yield* Effect.flip(tasks.submit(Effect.void, options)), TaskManagerStoppedError)
          assert.instanceOf(yield* Effect.flip(tasks.trySubmit(Effect.void, options)), TaskManagerStoppedError)
          assert.instanceOf(yield* Effect.flip(tasks.run(Effect.void, options)), TaskManagerStoppedError)
        }
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(shutdown)).stats.submitted, 1)
      }).pipe(manager({ workers: 1, capacity: 1 })))
  })
})
