import { TaskManager, type TaskManagerOptions, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, References, Schedule } from "effect"
import { after, quiet } from "./virtualTime.ts"

class A extends TaskManager.Named<A>()("A") {}
class B extends TaskManager.Named<B>()("B") {}
class C extends TaskManager.Named<C>()("C") {}

const one = { workers: 1, gracePeriod: 0 }
const manager = (options: TaskManagerOptions) => TaskManager.layer({ gracePeriod: 0, ...options })
const threeManagers = Layer.mergeAll(A.layer(one), B.layer(one), C.layer(one))

/** What the fiber ended with; fails when it has not ended. */
const ended = <X, E>(fiber: Fiber.Fiber<X, E>) =>
  Effect.andThen(quiet, Effect.suspend(() => fiber.pollUnsafe() ?? Effect.die(new Error("it has not ended"))))

const message = (exit: Exit.Exit<unknown, unknown>) => Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "no failure"

/** Counts the tasks that run and do not wait. */
const meter = () => {
  const seen = { now: 0, most: 0 }
  const change = (by: number) =>
    Effect.sync(() => {
      seen.now += by
      seen.most = Math.max(seen.most, seen.now)
    })
  return {
    seen,
    task: <X, E, R>(effect: Effect.Effect<X, E, R>) =>
      Effect.acquireUseRelease(change(1), () => effect, () => change(-1)),
    wait: <X, E, R>(effect: Effect.Effect<X, E, R>) =>
      Effect.acquireUseRelease(change(-1), () => effect, () => change(1))
  }
}

describe("a task that waits for another lends its worker", () => {
  for (const capacity of [0, 1, 64]) {
    it.effect(`to 50 runs, each within the one before, at one worker and capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { seen, task, wait } = meter()
        const nested = (depth: number): Effect.Effect<number> =>
          task(
            depth === 0
              ? Effect.as(Effect.sleep("1 second"), 0)
              : Effect.map(wait(Effect.orDie(tasks.run(nested(depth - 1)))), (below) => below + 1)
          )
        const fiber = yield* Effect.forkChild(tasks.run(nested(50)))
        yield* quiet
        yield* after(1000)
        assert.strictEqual(yield* ended(fiber), 50)
        assert.strictEqual(seen.most, 1)
      }).pipe(Effect.provide(manager({ workers: 1, capacity }))))

    it.effect(`to a hundred runs at once, at two workers and capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { seen, task, wait } = meter()
        const inner = task(Effect.sleep("1 second"))
        const all = Effect.all(Array.from({ length: 100 }, () => tasks.run(inner)), { concurrency: "unbounded" })
        const fiber = yield* Effect.forkChild(tasks.run(task(wait(all))))
        yield* quiet
        for (let second = 0; second < 50; second++) yield* after(1000)
        assert.strictEqual((yield* ended(fiber)).length, 100)
        assert.strictEqual(seen.most, 2)
      }).pipe(Effect.provide(manager({ workers: 2, capacity }))))

    for (
      const [verb, inside] of [
        [
          "join",
          TaskManager.use((tasks) => Effect.flatMap(tasks.submit(Effect.succeed("x")), (handle) => handle.join))
        ],
        [
          "await",
          TaskManager.use((tasks) =>
            Effect.map(
              Effect.flatMap(tasks.submit(Effect.succeed("x")), (handle) => handle.await),
              (outcome) => outcome._tag === "Completed" && outcome.value
            )
          )
        ],
        [
          "a run in a fiber of its own",
          TaskManager.use((tasks) => Effect.flatMap(Effect.forkChild(tasks.run(Effect.succeed("x"))), Fiber.join))
        ],
        [
          "submits beyond the capacity",
          TaskManager.use((tasks) =>
            Effect.gen(function*() {
              for (let i = 0; i < capacity + 3; i++) yield* tasks.submit(Effect.void)
              return "x"
            })
          )
        ]
      ] as const
    ) {
      it.effect(`through ${verb}, at one worker and capacity ${capacity}`, () =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(TaskManager.run(inside))
          assert.strictEqual(yield* ended(fiber), "x")
        }).pipe(Effect.provide(manager({ workers: 1, capacity }))))
    }
  }

  it.effect("to nothing but what it waits for", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      const inner = Effect.andThen(note("inner"), Effect.sleep("1 second"))
      yield* tasks.submit(Effect.andThen(Effect.andThen(Effect.sleep(1), tasks.run(inner)), note("outer goes on")))
      yield* tasks.submit(note("other"))
      yield* quiet
      yield* after(1)
      assert.deepStrictEqual(log, ["inner"])
      yield* after(1000)
      assert.deepStrictEqual(log, ["inner", "outer goes on", "other"])
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("to nothing while that is in backoff, and to its retry when that is due", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      let attempts = 0
      const inner = Effect.suspend(() => ++attempts === 1 ? Effect.fail("again") : note("retry"))
      yield* tasks.submit(tasks.run(inner, { retry: Schedule.spaced("1 second") }))
      yield* tasks.submit(note("other"))
      yield* quiet
      yield* after(999)
      assert.deepStrictEqual(log, [])
      yield* after(1)
      assert.deepStrictEqual(log, ["retry", "other"])
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("to a delayed start when that is due, and not before", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fiber = yield* Effect.forkChild(tasks.run(tasks.run(Effect.succeed("x"), { delay: "1 second" })))
      yield* quiet
      yield* after(999)
      assert.strictEqual((yield* tasks.stats).delayed, 1)
      yield* after(1)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("as the rate allows: at its time and not before", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fiber = yield* Effect.forkChild(tasks.run(tasks.run(tasks.run(Effect.succeed("x")))))
      yield* quiet
      yield* after(999)
      assert.strictEqual((yield* tasks.stats).waiting, 1)
      yield* after(1)
      assert.strictEqual((yield* tasks.stats).running, 2)
      yield* after(999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* after(1)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 1, rate: { limit: 1, window: "1 second" } }))))

  it.effect("within its group as the rate allows", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inner = tasks.run(Effect.succeed("x"), { group: "g" })
      const fiber = yield* Effect.forkChild(tasks.run(inner, { group: "g" }))
      yield* quiet
      yield* after(999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* after(1)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 1, rate: { limit: 1, window: "1 second" } }))))

  it.effect("but starts nothing while the manager is paused", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fiber = yield* Effect.forkChild(tasks.run(Effect.andThen(Effect.sleep(1), tasks.run(Effect.succeed("x")))))
      yield* quiet
      yield* tasks.pause
      yield* after(1)
      assert.strictEqual((yield* tasks.stats).waiting, 1)
      yield* tasks.resume
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("from its finalizer and from onFailed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const inner = (text: string) => Effect.ignore(tasks.run(Effect.sync(() => log.push(text))))
      const handle = yield* tasks.submit(Effect.ensuring(Effect.fail("x"), inner("finalizer")), {
        onFailed: () => inner("onFailed")
      })
      yield* quiet
      assert.deepStrictEqual(log, ["finalizer", "onFailed"])
      assert.strictEqual(yield* handle.state, "failed")
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("and goes on when the lent attempt has ended, however that ended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.gen(function*() {
        const cancelled = yield* tasks.submit(Effect.never)
        yield* Effect.forkChild(Effect.delay(cancelled.cancel, "1 second"))
        return [
          yield* Effect.flip(tasks.run(Effect.fail("failed"))),
          (yield* Effect.flip(cancelled.join)).reason,
          (yield* Effect.exit(tasks.run(Effect.die("died"))))._tag
        ]
      }))
      yield* quiet
      yield* after(1000)
      assert.deepStrictEqual(yield* handle.join, ["failed", "cancelled", "Failure"])
    }).pipe(Effect.provide(manager({ workers: 1 }))))
})

it.effect("a wait misses no end that comes while its fiber yields", () =>
  Effect.gen(function*() {
    const tasks = yield* TaskManager
    for (let before = 0; before < 40; before++) {
      const waits = yield* Effect.forkChild(tasks.run(Effect.gen(function*() {
        const handle = yield* tasks.submit(Effect.void)
        for (let i = 0; i < before; i++) yield* Effect.void
        return yield* handle.join
      })))
      yield* quiet
      assert.isDefined(waits.pollUnsafe(), `after ${before} operations`)
    }
  }).pipe(Effect.provide(manager({ workers: 2 })), Effect.provideService(References.MaxOpsBeforeYield, 7)))

describe("a task that waits within its group lends the group", () => {
  const grouped: TaskOptions = { group: "g" }

  it.effect("to what it waits for, after what stands before that", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      yield* tasks.submit(
        Effect.gen(function*() {
          yield* tasks.submit(note("before"), grouped)
          yield* tasks.run(note("inner"), grouped)
          yield* note("outer")
        }),
        grouped
      )
      yield* quiet
      assert.deepStrictEqual(log, ["before", "inner", "outer"])
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("when two groups wait for each other's", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const first = yield* tasks.submit(Effect.delay(tasks.run(Effect.void, { group: "h" }), "1 second"), grouped)
      const second = yield* tasks.submit(Effect.delay(tasks.run(Effect.void, grouped), "1 second"), { group: "h" })
      yield* quiet
      yield* after(1000)
      assert.deepStrictEqual([yield* first.state, yield* second.state], ["completed", "completed"])
    }).pipe(Effect.provide(manager({ workers: 4 }))))
})

describe("lending goes through other managers", () => {
  it.effect("from A to B and back to A, at one worker each", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(A.run(B.run(A.run(B.run(A.run(Effect.succeed("x")))))))
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(threeManagers)))

  it.effect("round three managers", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(A.run(B.run(C.run(A.run(B.run(C.run(Effect.succeed("x"))))))))
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(threeManagers)))

  it.effect("although the task of A begins to wait after that of B", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(A.run(Effect.gen(function*() {
        const handle = yield* B.submit(A.run(Effect.succeed("x")))
        yield* Effect.sleep("1 second")
        return yield* handle.join
      })))
      yield* quiet
      yield* after(1000)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(threeManagers)))

  it.effect("although the link in the middle is the last", () =>
    Effect.gen(function*() {
      const link = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(A.run(B.run(Effect.gen(function*() {
        const handle = yield* C.submit(A.run(Effect.succeed("x")))
        yield* Deferred.await(link)
        return yield* handle.join
      }))))
      yield* quiet
      yield* Deferred.succeed(link, undefined)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(threeManagers)))

  it.effect("although somebody else submitted the task of B", () =>
    Effect.gen(function*() {
      const handle = yield* B.submit(Effect.delay(A.run(Effect.succeed("x")), "1 second"))
      const fiber = yield* Effect.forkChild(A.run(handle.join))
      yield* quiet
      yield* after(1000)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(threeManagers)))

  for (const capacity of [0, 1, 64]) {
    it.effect(`when two managers run each other's tasks at the same time, at capacity ${capacity}`, () =>
      Effect.gen(function*() {
        const a = yield* A
        const b = yield* B
        const handles = [
          yield* a.submit(Effect.delay(b.run(Effect.delay(a.run(Effect.void), 1)), 1)),
          yield* b.submit(Effect.delay(a.run(Effect.delay(b.run(Effect.void), 1)), 1))
        ]
        yield* quiet
        for (let i = 0; i < 3; i++) yield* after(1)
        for (const handle of handles) assert.strictEqual(yield* handle.state, "completed")
      }).pipe(Effect.provide(Layer.merge(A.layer({ ...one, capacity }), B.layer({ ...one, capacity })))))
  }

  it.effect("when three managers run each other's in a ring, and the last to wait waits elsewhere", () =>
    Effect.gen(function*() {
      const [a, b, c] = [yield* A, yield* B, yield* C]
      const handles = [
        yield* a.submit(Effect.delay(b.run(Effect.void), 1)),
        yield* b.submit(Effect.delay(c.run(Effect.void), 2)),
        yield* c.submit(Effect.delay(a.run(Effect.void), 3))
      ]
      yield* quiet
      for (const handle of handles) assert.strictEqual(yield* handle.state, "running")
      for (let i = 0; i < 3; i++) yield* after(1)
      for (const handle of handles) assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(threeManagers)))

  it.effect("but not when the task of A no longer waits", () =>
    Effect.gen(function*() {
      const a = yield* A
      const b = yield* B
      let busy = false
      let overlapped: boolean | undefined
      yield* a.submit(Effect.gen(function*() {
        const late = yield* a.submit(Effect.sync(() => void (overlapped = busy)), { delay: "3 seconds" })
        const handle = yield* b.submit(late.join)
        yield* Effect.timeoutOption(handle.join, "1 second")
        busy = true
        yield* Effect.sleep("10 seconds")
        busy = false
      }))
      yield* quiet
      yield* after(10_999)
      assert.isUndefined(overlapped)
      yield* after(1)
      assert.isFalse(overlapped)
    }).pipe(Effect.provide(threeManagers)))

  it.effect("and the task of A goes on only when its worker is back", () =>
    Effect.gen(function*() {
      const a = yield* A
      let wentOn = false
      yield* a.submit(Effect.gen(function*() {
        yield* B.run(Effect.gen(function*() {
          const lent = yield* a.submit(Effect.sleep("10 seconds"))
          yield* Effect.timeoutOption(lent.join, "1 second")
        }))
        wentOn = true
      }))
      yield* quiet
      yield* after(1000)
      assert.strictEqual((yield* (yield* B).stats).completed, 1)
      yield* after(8999)
      assert.isFalse(wentOn)
      yield* after(1)
      assert.isTrue(wentOn)
    }).pipe(Effect.provide(threeManagers)))
})

describe("a wait that is interrupted", () => {
  it.effect("lets its task go on at once, and the next freed worker takes nothing instead", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { seen, task, wait } = meter()
      let wentOn = false
      yield* tasks.submit(task(Effect.gen(function*() {
        const lent = yield* tasks.submit(task(Effect.sleep("3 seconds")))
        yield* wait(Effect.timeoutOption(lent.join, "1 second"))
        wentOn = true
        yield* Effect.sleep("10 seconds")
      })))
      yield* tasks.submit(task(Effect.sleep("2 seconds")))
      yield* quiet
      const next = yield* tasks.submit(task(Effect.sleep("1 second")))
      yield* after(999)
      assert.isFalse(wentOn)
      yield* after(1)
      assert.isTrue(wentOn)
      assert.strictEqual(seen.now, 3) // it, what it lent its worker to, and the other
      yield* after(1999)
      assert.strictEqual(seen.now, 2)
      assert.strictEqual(yield* next.state, "waiting")
      yield* after(1)
      assert.strictEqual(yield* next.state, "running")
      assert.strictEqual(seen.now, 2)
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("does so too in the turn in which its worker is lent", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const outer = yield* tasks.submit(Effect.gen(function*() {
        const handle = yield* tasks.submit(Effect.sleep("1 second"))
        yield* Effect.sleep(1)
        const join = yield* Effect.forkChild(handle.join, { startImmediately: true })
        yield* Fiber.interrupt(join)
        return "outer"
      }))
      const joined = yield* Effect.forkChild(outer.join)
      yield* quiet
      yield* after(1)
      assert.strictEqual(yield* ended(joined), "outer")
      const fiber = yield* Effect.forkChild(tasks.run(Effect.succeed("x")))
      yield* quiet
      assert.isUndefined(fiber.pollUnsafe())
      yield* after(1000)
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("takes the worker back that was lent to a task which is cancelled with it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.sleep("1 second"))
      yield* tasks.submit(Effect.gen(function*() {
        yield* Effect.sleep(1)
        const run = yield* Effect.forkChild(tasks.run(Effect.void), { startImmediately: true })
        yield* Fiber.interrupt(run)
        return yield* Effect.never
      }))
      yield* quiet
      yield* after(1000)
      const fiber = yield* Effect.forkChild(tasks.run(Effect.succeed("x")))
      assert.strictEqual(yield* ended(fiber), "x")
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("gives the spared worker back when its task waits again", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const done = yield* Deferred.make<void>()
      const handle = yield* tasks.submit(Effect.gen(function*() {
        const lent = yield* tasks.submit(Deferred.await(done))
        yield* Effect.timeoutOption(lent.join, "1 second")
        yield* tasks.run(Deferred.succeed(done, undefined))
      }))
      yield* tasks.submit(Effect.sleep("500 millis"))
      yield* quiet
      yield* after(1000)
      assert.strictEqual(yield* handle.state, "completed")
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("gives the spared worker back when its own returns", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.gen(function*() {
        const lent = yield* tasks.submit(Effect.sleep("3 seconds"))
        yield* Effect.timeoutOption(lent.join, "1 second")
        return yield* Effect.never
      }))
      yield* tasks.submit(Effect.sleep("2 seconds"))
      yield* quiet
      yield* after(2000)
      const next = yield* tasks.submit(Effect.void)
      yield* after(999)
      assert.strictEqual(yield* next.state, "waiting")
      yield* after(1)
      assert.strictEqual(yield* next.state, "completed")
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("gives the spared worker back when its task ends", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.gen(function*() {
        const lent = yield* tasks.submit(Effect.never)
        yield* Effect.timeoutOption(lent.join, "1 second")
        yield* Effect.sleep("2 seconds")
      }))
      yield* tasks.submit(Effect.sleep("500 millis"))
      yield* quiet
      yield* after(1000)
      const next = yield* tasks.submit(Effect.void)
      yield* after(1999)
      assert.strictEqual(yield* next.state, "waiting")
      yield* after(1)
      assert.strictEqual(yield* handle.state, "completed")
      assert.strictEqual(yield* next.state, "completed")
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("of a run cancels the task, which may have begun before the run knows", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const hour = tasks.submit(Effect.sleep("1 hour"))
      const begun = Effect.andThen(Effect.sync(() => log.push("begun")), Effect.never)
      const run = tasks.run(Effect.onInterrupt(begun, () => Effect.sync(() => log.push("interrupted"))))
      yield* tasks.submit(Effect.sleep("100 millis"))
      yield* tasks.submit(Effect.all([hour, Effect.timeoutOption(run, "1 second")], { concurrency: "unbounded" }))
      yield* quiet
      yield* after(999)
      assert.deepStrictEqual(log, ["begun"])
      yield* after(1)
      assert.deepStrictEqual(log, ["begun", "interrupted"])
    }).pipe(Effect.provide(manager({ workers: 2, capacity: 0 }))))
})

describe("a waiting task goes on", () => {
  it.effect("with the next free worker when its own is still lent, which then takes nothing else", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let wentOn = false
      yield* tasks.submit(Effect.sleep("1 second"))
      yield* tasks.submit(Effect.gen(function*() {
        yield* tasks.submit(Effect.sleep("1 hour")) // waits until this task's worker is lent, and makes room
        yield* tasks.submit(Effect.void)
        wentOn = true
        yield* Effect.sleep("1 second")
      }))
      yield* quiet
      yield* after(999)
      assert.isFalse(wentOn)
      yield* after(1)
      assert.isTrue(wentOn)
      yield* after(999)
      const { completed, running, waiting } = yield* tasks.stats
      assert.deepStrictEqual([completed, running, waiting], [1, 2, 1])
      yield* after(1)
      assert.strictEqual((yield* tasks.stats).completed, 3)
    }).pipe(Effect.provide(manager({ workers: 2, capacity: 1 }))))

  it.effect("at once when it waits for something else too", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.sleep("1 second"))
      const race = yield* tasks.submit(Effect.race(tasks.run(Effect.never), tasks.run(Effect.succeed("fast"))))
      yield* quiet
      yield* after(999)
      assert.strictEqual(yield* race.state, "running")
      yield* after(1)
      assert.strictEqual(yield* race.join, "fast")
      assert.strictEqual((yield* tasks.stats).aborted, 1)
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  it.effect("and a fiber that an attempt has left behind lends nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const late = yield* tasks.submit(Effect.void, { delay: "2 seconds" })
      let attempts = 0
      const leaves = Effect.andThen(Effect.forkDetach(late.join), Effect.andThen(Effect.sleep(1), Effect.fail("again")))
      yield* tasks.submit(Effect.suspend(() => ++attempts === 1 ? leaves : Effect.sleep("10 seconds")), {
        retry: Schedule.spaced("1 second")
      })
      yield* quiet
      yield* after(11_000)
      assert.deepStrictEqual([attempts, yield* late.state], [2, "delayed"])
      yield* after(1)
      assert.strictEqual(yield* late.state, "completed")
    }).pipe(Effect.provide(manager({ workers: 1 }))))

  it.effect("at once when it is cancelled, and its worker finishes what it was lent to", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const lent = yield* Deferred.make<string>()
      const outer = yield* tasks.submit(Effect.gen(function*() {
        const inner = yield* tasks.submit(Deferred.await(lent))
        return yield* inner.join
      }))
      yield* quiet
      assert.isTrue(yield* outer.cancel)
      assert.strictEqual((yield* tasks.stats).running, 1)
      const next = yield* Effect.forkChild(tasks.run(Effect.succeed("next")))
      yield* quiet
      assert.isUndefined(next.pollUnsafe())
      yield* Deferred.succeed(lent, "x")
      assert.strictEqual(yield* ended(next), "next")
    }).pipe(Effect.provide(manager({ workers: 1 }))))
})

describe("a wait that would never end dies", () => {
  /** The outcomes of tasks of which each joins the next, the last the first; all begin before any waits. */
  const circleOf = (size: number) =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const joins = yield* Effect.all(
        Array.from({ length: size }, () => Deferred.make<Effect.Effect<unknown, unknown>>())
      )
      const handles = yield* Effect.forEach(joins, (join, i) =>
        tasks.submit(Effect.flatten(Deferred.await(join)), { name: `task-${i}` }))
      for (const [i, join] of joins.entries()) {
        yield* Deferred.succeed(join, handles[(i + 1) % size]!.join)
        yield* quiet
      }
      return yield* Effect.forEach(handles, (handle) =>
        Effect.exit(handle.join))
    })

  for (const size of [1, 2, 3, 10]) {
    it.effect(`when ${size} tasks wait in a circle, and ends them all`, () =>
      Effect.gen(function*() {
        const exits = yield* circleOf(size)
        assert.strictEqual(exits.filter(Exit.isFailure).length, size)
        assert.match(
          message(exits[0]!),
          size === 1 ? /waits for its own end, which would never come/ : /neither would ever end/
        )
        assert.match(message(exits[0]!), new RegExp(`task task-${size - 1} \\(${size}\\) waits for`))
      }).pipe(Effect.provide(manager({ workers: 10 }))))
  }

  it.effect("when a task runs another under its own key", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fiber = yield* Effect.forkChild(Effect.exit(tasks.run(tasks.run(Effect.void, { key: "k" }), { key: "k" })))
      assert.match(message(yield* ended(fiber)), /waits for its own end/)
    }).pipe(Effect.provide(manager({ workers: 4 }))))

  it.effect("when a task waits for the run that its key allows only after it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const keyed: TaskOptions = { key: "k", keyUntil: "start" }
      const fiber = yield* Effect.forkChild(Effect.exit(tasks.run(tasks.run(Effect.void, keyed), keyed)))
      assert.match(message(yield* ended(fiber)), /neither would ever end/)
    }).pipe(Effect.provide(manager({ workers: 4 }))))

  it.effect("when a circle goes through another manager", () =>
    Effect.gen(function*() {
      const a = yield* A
      const join = yield* Deferred.make<Effect.Effect<unknown, unknown>>()
      const handle = yield* a.submit(B.run(Effect.flatten(Deferred.await(join))))
      yield* quiet
      yield* Deferred.succeed(join, handle.join)
      yield* quiet
      assert.match(message(yield* Effect.exit(handle.join)), /neither would ever end/)
    }).pipe(Effect.provide(threeManagers)))

  it.effect("but not when the other's wait was interrupted before", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const join = yield* Deferred.make<Effect.Effect<string, unknown>>()
      const second = yield* tasks.submit(Effect.flatten(Deferred.await(join)))
      const first = yield* tasks.submit(
        Effect.as(Effect.andThen(Effect.timeoutOption(second.join, "1 second"), Effect.sleep("1 second")), "x")
      )
      yield* quiet
      yield* after(1000)
      yield* Deferred.succeed(join, first.join)
      yield* after(1000)
      assert.strictEqual(yield* second.join, "x")
    }).pipe(Effect.provide(manager({ workers: 2 }))))

  for (const verb of ["awaitIdle", "shutdown"] as const) {
    const call = A.use((a): Effect.Effect<unknown> => verb === "awaitIdle" ? a.awaitIdle : a.shutdown())

    it.effect(`when it is for ${verb} of its own manager, in a fiber of its own too`, () =>
      Effect.gen(function*() {
        const inside = yield* Effect.exit(A.run(call, { name: "mail" }))
        assert.match(
          message(inside),
          new RegExp(`${verb} was called inside task mail \\(1\\), which it would wait for`)
        )
        const forked = yield* Effect.exit(A.run(Effect.flatMap(Effect.forkChild(call), Fiber.join)))
        assert.match(message(forked), /was called inside task/)
        assert.strictEqual((yield* (yield* A).stats).manager, "running")
      }).pipe(Effect.provide(threeManagers)))

    it.effect(`when it is for ${verb} of a manager whose task waits for it`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(A.run(B.run(C.run(call)), { name: "mail" }))
        assert.match(message(exit), new RegExp(`${verb} was called inside task mail \\(1\\)`))
      }).pipe(Effect.provide(threeManagers)))

    it.effect(`but not when ${verb} is of another manager`, () =>
      Effect.gen(function*() {
        yield* B.run(call)
        assert.isTrue((yield* (yield* A).isStopped) === (verb === "shutdown"))
      }).pipe(Effect.provide(threeManagers)))
  }
})
