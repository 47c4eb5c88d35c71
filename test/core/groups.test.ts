import { TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { busy, isFull, start, times } from "./submitting.ts"

const manager = (options: TaskManagerOptions) =>
  Effect.provide(Layer.provideMerge(TaskManager.layer({ gracePeriod: 0, ...options }), Logger.layer([])))

/** Tasks that note when they begin and end, in seconds. */
const journal = () => {
  const lines: Array<string> = []
  const note = (line: string) =>
    Effect.clockWith((clock) => {
      lines.push(`${clock.currentTimeMillisUnsafe() / 1000} ${line}`)
      return Effect.void
    })
  const task = (name: string, duration: number = 1) =>
    Effect.ensuring(Effect.andThen(note(`${name}+`), Effect.sleep(duration * 1000)), note(`${name}-`))
  return { lines, note, task }
}

const g = { group: "g" }

describe("groups", () => {
  describe("order", () => {
    it.effect("the tasks of a group run one at a time in the order of their submits, beside those of other groups", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        for (const name of ["a1", "b1", "a2", "b2", "a3"]) yield* tasks.submit(task(name), { group: name[0]! })
        yield* TestClock.adjust("3 seconds")
        const of = (group: string) => lines.filter((line) => line.includes(group))
        assert.deepStrictEqual(of("a"), ["0 a1+", "1 a1-", "1 a2+", "2 a2-", "2 a3+", "3 a3-"])
        assert.deepStrictEqual(of("b"), ["0 b1+", "1 b1-", "1 b2+", "2 b2-"])
      }).pipe(manager({ workers: 4 })))

    it.effect("a group is a name's own", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.never, { ...g, name: "mail" })
        const other = yield* tasks.submit(Effect.never, { ...g, name: "ship" })
        const third = yield* tasks.submit(Effect.never, { group: "lg", name: "mai" })
        yield* TestClock.adjust(1)
        assert.deepStrictEqual([yield* other.state, yield* third.state], ["running", "running"])
      }).pipe(manager({ workers: 4 })))

    it.effect("a priority overtakes within the group, though not the one that runs", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.submit(task("first"), g)
        yield* tasks.submit(task("second"), g)
        yield* tasks.submit(task("urgent"), { ...g, priority: 1 })
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(lines.filter((line) => line.endsWith("+")), ["0 first+", "1 urgent+", "2 second+"])
      }).pipe(manager({ workers: 4 })))

    it.effect("the head of a group takes its place among all tasks by its own time", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.pause
        yield* tasks.submit(task("a1"), { group: "a" })
        yield* tasks.submit(task("a2"), { group: "a" })
        yield* tasks.submit(task("b1"), { group: "b" })
        yield* tasks.submit(task("c"))
        yield* tasks.resume
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(lines.filter((line) => line.endsWith("+")), ["0 a1+", "1 a2+", "2 b1+", "3 c+"])
      }).pipe(manager({ workers: 1 })))

    it.effect("the next starts only when the finalizers of a cancelled head have run", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        const head = yield* tasks.submit(Effect.ensuring(Effect.never, task("finalizer")), g)
        yield* tasks.submit(task("next"), g)
        yield* TestClock.adjust(0)
        yield* start(head.cancel)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(lines, ["0 finalizer+", "1 finalizer-", "1 next+", "2 next-"])
      }).pipe(manager({ workers: 4 })))

    it.effect("onFailed of the head has ended before the next starts", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.submit(Effect.fail("x"), { ...g, onFailed: () => task("onFailed") })
        yield* tasks.submit(task("next"), g)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(lines, ["0 onFailed+", "1 onFailed-", "1 next+", "2 next-"])
      }).pipe(manager({ workers: 4 })))

    it.effect("cancelling or expiring one in the middle leaves the others in order", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.submit(task("a", 2), g)
        const b = yield* tasks.submit(task("b"), g)
        yield* tasks.submit(task("c"), { ...g, timeToStart: "1 second" })
        yield* tasks.submit(task("d"), g)
        assert.isTrue(yield* b.cancel)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(lines, ["0 a+", "2 a-", "2 d+", "3 d-"])
        assert.strictEqual((yield* tasks.stats).aborted, 2)
      }).pipe(manager({ workers: 4 })))
  })

  describe("backoff", () => {
    it.effect("a task in backoff holds its group, and neither a worker nor another group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, note } = journal()
        let attempts = 0
        const flaky = Effect.andThen(
          note("head"),
          Effect.suspend(() => ++attempts < 3 ? Effect.fail("x") : Effect.void)
        )
        yield* tasks.submit(flaky, { ...g, retry: Schedule.spaced("1 second") })
        yield* tasks.submit(note("next"), { ...g, priority: 1000 })
        yield* tasks.submit(note("other"), { group: "h" })
        yield* TestClock.adjust("1999 millis")
        assert.deepStrictEqual(lines, ["0 head", "0 other", "1 head"])
        assert.strictEqual((yield* tasks.stats).running, 0)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(lines.slice(3), ["2 head", "2 next"])
      }).pipe(manager({ workers: 1 })))

    it.effect("cancelling the head in its backoff starts the next at once", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const head = yield* tasks.submit(Effect.fail("x"), { ...g, retry: Schedule.spaced("1 hour") })
        const next = yield* tasks.submit(Effect.succeed("next"), g)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* next.state, "waiting")
        assert.isTrue(yield* head.cancel)
        assert.strictEqual(yield* next.join, "next")
      }).pipe(manager({ workers: 1 })))

    it.effect("a retry without delay goes before the others of its group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, note } = journal()
        const flaky = Effect.andThen(note("head"), Effect.fail("x"))
        yield* tasks.submit(flaky, { ...g, retry: Schedule.recurs(2) })
        yield* tasks.submit(note("next"), g)
        yield* tasks.awaitIdle
        assert.deepStrictEqual(lines, ["0 head", "0 head", "0 head", "0 next"])
      }).pipe(manager({ workers: 2 })))
  })

  describe("groupCapacity", () => {
    for (const [capacity, expected] of [[0, 0], [1, 1], [4, 1], [5, 2], [64, 16]] as const) {
      it.effect(`is by default ${expected} for capacity ${capacity}: a quarter, rounded up`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          yield* times(1 + expected, () => tasks.trySubmit(Effect.never, g))
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never, g)))
          yield* times(1 + capacity - expected, () => tasks.trySubmit(Effect.never))
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never)))
        }).pipe(manager({ workers: 2, capacity })))
    }

    for (const groupCapacity of [0, 1, 3]) {
      it.effect(`${groupCapacity} of a group may wait, and one runs`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy({ group: "g" })
          yield* times(groupCapacity, () => tasks.trySubmit(Effect.never, g))
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never, g)))
          yield* tasks.trySubmit(Effect.never, { group: "h" })
          const suspended = yield* start(tasks.submit(Effect.never, g))
          yield* TestClock.adjust("1 minute")
          assert.isUndefined(suspended.pollUnsafe())
          yield* letGo
          yield* Fiber.join(suspended)
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never, g)))
        }).pipe(manager({ workers: 3, capacity: 10, groupCapacity })))

      it.effect(`submits that wait for one of ${groupCapacity} places of their group hold up nobody else`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          yield* busy({ group: "g" })
          yield* times(groupCapacity + 50, () => start(tasks.submit(Effect.never, g)))
          yield* tasks.trySubmit(Effect.never, { group: "h" })
          yield* tasks.submit(Effect.never)
          yield* times(10 - groupCapacity, () => tasks.submit(Effect.never))
          assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never)))
          assert.strictEqual((yield* tasks.stats).waiting, 10)
        }).pipe(manager({ workers: 3, capacity: 10, groupCapacity })))

      it.effect(`while all workers are busy, a submit of a free group with ${groupCapacity} places holds up nobody`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { letGo } = yield* busy()
          yield* times(groupCapacity, () => tasks.submit(Effect.void, g))
          const suspended = yield* start(tasks.submit(Effect.succeed("group"), g))
          const handle = yield* tasks.trySubmit(Effect.succeed("other"))
          yield* letGo
          assert.strictEqual(yield* handle.join, "other")
          assert.strictEqual(yield* (yield* Fiber.join(suspended)).join, "group")
        }).pipe(manager({ workers: 1, capacity: 10, groupCapacity })))
    }

    it.effect("above capacity means capacity", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* times(3, () => tasks.trySubmit(Effect.never, g))
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.never, g)))
      }).pipe(manager({ workers: 1, capacity: 2, groupCapacity: 10 })))

    it.effect("a retry of the group takes none of its places", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* tasks.submit(Effect.fail("x"), { ...g, retry: Schedule.spaced("1 hour") })
        yield* TestClock.adjust(1)
        yield* tasks.trySubmit(Effect.void, g)
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, g)))
      }).pipe(manager({ workers: 1, capacity: 10, groupCapacity: 1 })))

    it.effect("submits that waited for their group come in by the order in which they were suspended", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const order: Array<string> = []
        const produce = (name: string, group?: string) =>
          start(
            Effect.andThen(
              tasks.submit(Effect.void, { group, priority: order.length }),
              Effect.sync(() => order.push(name))
            )
          )
        const head = yield* busy({ group: "g" })
        const filling = yield* busy()
        yield* tasks.submit(Effect.void, g)
        yield* tasks.submit(Effect.void)
        for (const [name, group] of [["g1", "g"], ["1", undefined], ["g2", "g"], ["2", undefined]] as const) {
          yield* produce(name, group)
        }
        yield* head.letGo
        yield* filling.letGo
        yield* tasks.awaitIdle
        yield* Effect.yieldNow
        assert.deepStrictEqual(order, ["g1", "1", "g2", "2"])
      }).pipe(manager({ workers: 2, capacity: 2, groupCapacity: 1 })))

    it.effect("an interrupted submit leaves its place in the group to the next", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy({ group: "g" })
        yield* tasks.submit(Effect.never, g)
        const [first, second, third] = yield* times(3, () => start(tasks.submit(Effect.never, g)))
        yield* Fiber.interrupt(first!)
        yield* letGo
        yield* Fiber.join(second!)
        yield* TestClock.adjust("1 minute")
        assert.isUndefined(third!.pollUnsafe())
      }).pipe(manager({ workers: 2, capacity: 10, groupCapacity: 1 })))

    it.effect("a submit that is interrupted while it waits for the queue gives back the group's place", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        yield* tasks.submit(Effect.void)
        const [first, second] = yield* times(2, () => start(tasks.submit(Effect.succeed("second"), g)))
        yield* Fiber.interrupt(first!)
        yield* letGo
        assert.strictEqual(yield* (yield* Fiber.join(second!)).join, "second")
      }).pipe(manager({ workers: 1, capacity: 1, groupCapacity: 1 })))

    it.effect("cancelling one that waits makes room for one", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* busy({ group: "g" })
        const waiting = yield* tasks.submit(Effect.never, g)
        const [first, second] = yield* times(2, () => start(tasks.submit(Effect.never, g)))
        yield* waiting.cancel
        yield* Fiber.join(first!)
        assert.isUndefined(second!.pollUnsafe())
      }).pipe(manager({ workers: 2, capacity: 10, groupCapacity: 1 })))

    it.effect("with capacity 0 a group's second task waits apart while other tasks get the free worker", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy({ group: "g" })
        const suspended = yield* times(100, () => start(tasks.submit(Effect.never, g)))
        const other = yield* busy()
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void)))
        yield* other.letGo
        yield* TestClock.adjust(1)
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, g)))
        yield* tasks.run(Effect.void)
        assert.isUndefined(suspended[0]!.pollUnsafe())
        yield* letGo
        yield* Fiber.join(suspended[0]!)
        yield* TestClock.adjust(1)
        assert.isUndefined(suspended[1]!.pollUnsafe())
      }).pipe(manager({ workers: 2, capacity: 0 })))
  })

  for (const [capacity, groupCapacity] of [[0, 0], [0, 5], [10, 0]] as const) {
    it.effect(`a delayed start that comes due takes its group from a suspended submit, with ${capacity} places, ${groupCapacity} for a group`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.submit(task("delayed"), { ...g, delay: "1 second" })
        const blockers = yield* times(2, () => busy())
        const suspended = yield* start(tasks.submit(task("suspended"), g))
        yield* TestClock.adjust("1 second")
        const other = yield* start(tasks.submit(task("other")))
        for (const { letGo } of blockers) yield* letGo
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(suspended)
        yield* Fiber.join(other)
        assert.deepStrictEqual(lines.filter((line) => line.endsWith("+")), ["1 delayed+", "1 other+", "2 suspended+"])
      }).pipe(manager({ workers: 2, capacity, groupCapacity })))

    it.effect(`a group that is busy holds up nobody, with ${capacity} places, ${groupCapacity} for a group`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy({ group: "g" })
        const suspended = yield* times(10, () => start(tasks.submit(Effect.void, g)))
        yield* tasks.trySubmit(Effect.void)
        yield* letGo
        for (const fiber of suspended) yield* Fiber.join(fiber)
      }).pipe(manager({ workers: 2, capacity, groupCapacity })))
  }

  it.effect("a group that may not wait gets a worker before tasks that were admitted after it was suspended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { lines, task } = journal()
      yield* tasks.submit(task("running"))
      yield* tasks.submit(task("older"))
      yield* TestClock.adjust("500 millis")
      const suspended = yield* times(2, (i) => start(tasks.submit(task(`group ${i}`), g)))
      yield* TestClock.adjust("100 millis")
      yield* tasks.submit(task("younger"))
      yield* TestClock.adjust("1 minute")
      for (const fiber of suspended) yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        lines.filter((line) => line.endsWith("+")),
        ["0 running+", "1 older+", "2 group 0+", "3 group 1+", "4 younger+"]
      )
    }).pipe(manager({ workers: 1, capacity: 10, groupCapacity: 0 })))

  describe("a task that submits into its own group", () => {
    /** Counts what runs at once, a task that waits in a submit apart. */
    const exclusive = () => {
      const seen = { active: 0, most: 0, runs: 0 }
      const enter = Effect.sync(() => {
        seen.most = Math.max(seen.most, ++seen.active)
      })
      const leave = Effect.sync(() => void seen.active--)
      const task = enter.pipe(
        Effect.andThen(Effect.yieldNow),
        Effect.andThen(Effect.sync(() => void seen.runs++)),
        Effect.andThen(leave)
      )
      const apart = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.ensuring(Effect.andThen(leave, effect), enter)
      return { seen, task, apart, enter, leave }
    }

    for (const [capacity, groupCapacity] of [[0, 0], [10, 0], [1, 1], [10, 1], [10, 3], [4, 10]] as const) {
      for (const workers of [1, 2]) {
        const places = `${workers} workers, ${capacity} places and ${groupCapacity} for the group`
        it.effect(`does not wait for itself, and nothing of the group runs beside it, with ${places}`, () =>
          Effect.gen(function*() {
            const tasks = yield* TaskManager
            const { apart, enter, leave, seen, task } = exclusive()
            const parent = Effect.gen(function*() {
              yield* enter
              yield* times(10, () => Effect.andThen(apart(tasks.submit(task, g)), Effect.yieldNow))
              yield* apart(tasks.run(task, g))
              yield* leave
            })
            yield* tasks.run(parent, g)
            yield* tasks.awaitIdle
            assert.deepStrictEqual(seen, { active: 0, most: 1, runs: 11 })
          }).pipe(manager({ workers, capacity, groupCapacity })))

        it.effect(`may do so on every level, with ${places}`, () =>
          Effect.gen(function*() {
            const tasks = yield* TaskManager
            let visited = 0
            const visit = (depth: number): Effect.Effect<void> =>
              Effect.gen(function*() {
                visited++
                if (depth > 0) yield* Effect.orDie(times(3, () => tasks.submit(visit(depth - 1), g)))
              })
            yield* tasks.submit(visit(4), g)
            yield* tasks.awaitIdle
            assert.strictEqual(visited, 1 + 3 + 9 + 27 + 81)
          }).pipe(manager({ workers, capacity, groupCapacity })))

        it.effect(`may do so in a task of another group that it runs, with ${places}`, () =>
          Effect.gen(function*() {
            const tasks = yield* TaskManager
            const { seen, task } = exclusive()
            const child = Effect.andThen(times(5, () => tasks.submit(task, g)), tasks.run(task, g))
            yield* tasks.run(tasks.run(child, { group: "h" }), g)
            yield* tasks.awaitIdle
            assert.deepStrictEqual(seen, { active: 0, most: 1, runs: 6 })
          }).pipe(manager({ workers, capacity, groupCapacity })))
      }
    }

    it.effect("nor does it when its group's tasks fill the queue and it submits something else", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { seen, task } = exclusive()
        yield* tasks.run(Effect.andThen(times(4, () => tasks.submit(task, g)), tasks.run(task)), g)
        yield* tasks.awaitIdle
        assert.strictEqual(seen.runs, 5)
      }).pipe(manager({ workers: 1, capacity: 4, groupCapacity: 4 })))

    for (const [workers, capacity, groupCapacity] of [[1, 0, 0], [2, 0, 0], [1, 10, 0], [2, 10, 1]] as const) {
      it.effect(`nor do two that submit into each other's, with ${workers} workers, ${capacity} places and ${groupCapacity} for a group`, () =>
        Effect.gen(function*() {
          const tasks = yield* TaskManager
          const { seen, task } = exclusive()
          const pair = [["g", "h"], ["h", "g"]] as const
          for (const [own, other] of pair) {
            const parent = Effect.andThen(Effect.yieldNow, times(10, () => tasks.submit(task, { group: other })))
            yield* tasks.submit(parent, { group: own })
          }
          yield* tasks.awaitIdle
          assert.strictEqual(seen.runs, 20)
        }).pipe(manager({ workers, capacity, groupCapacity })))
    }

    it.effect("lends the group to any free worker while its own is lent to something else", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { letGo } = yield* busy()
        const parent = Effect.gen(function*() {
          yield* tasks.submit(Effect.sleep("1 hour"))
          yield* tasks.submit(Effect.void)
          return yield* tasks.run(Effect.succeed("inner"), g)
        })
        const handle = yield* tasks.submit(parent, g)
        yield* TestClock.adjust("1 minute")
        yield* letGo
        assert.strictEqual(yield* handle.join, "inner")
        assert.strictEqual((yield* tasks.stats).running, 1)
      }).pipe(manager({ workers: 2, capacity: 1, groupCapacity: 1 })))

    it.effect("goes on at once when its wait is interrupted", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const parent = Effect.gen(function*() {
          yield* tasks.submit(Effect.sleep("1 hour"), g)
          return yield* Effect.timeoutOption(tasks.submit(Effect.void, g), "1 second")
        })
        const handle = yield* tasks.submit(parent, g)
        yield* TestClock.adjust("999 millis")
        assert.strictEqual(yield* handle.state, "running")
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* handle.state, "completed")
        yield* TestClock.adjust("1 hour")
        yield* tasks.awaitIdle
      }).pipe(manager({ workers: 1, capacity: 10, groupCapacity: 1 })))
  })

  describe("with a delay", () => {
    it.effect("a delayed start leaves its group to the others until it is due, and then waits its turn", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        yield* tasks.submit(task("delayed"), { ...g, delay: "2 seconds" })
        yield* tasks.submit(task("now"), g)
        yield* TestClock.adjust("1500 millis")
        yield* tasks.submit(task("long", 2), g)
        yield* TestClock.adjust("1 second")
        yield* tasks.submit(task("younger"), g)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(
          lines.join(", "),
          "0 now+, 1 now-, 1.5 long+, 3.5 long-, 3.5 delayed+, 4.5 delayed-, 4.5 younger+, 5.5 younger-"
        )
      }).pipe(manager({ workers: 4 })))

    it.effect("a delayed start that is cancelled, or fails to get its place, leaves the group as it was", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        const first = yield* tasks.submit(task("cancelled"), { ...g, delay: "1 second" })
        yield* tasks.submit(task("delayed"), { ...g, delay: "1 second" })
        assert.isTrue(yield* isFull(tasks.trySubmit(task("refused"), { ...g, delay: "1 second" })))
        yield* first.cancel
        yield* tasks.submit(task("now", 2), g)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(lines, ["0 now+", "2 now-", "2 delayed+", "3 delayed-"])
      }).pipe(manager({ workers: 4, maxDelayed: 2 })))

    it.effect("a delayed start that was suspended while its group emptied keeps to the group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const { lines, task } = journal()
        const { letGo } = yield* busy({ group: "g" })
        const filling = yield* times(2, () => tasks.submit(Effect.void, { delay: "1 hour" }))
        const suspended = yield* start(tasks.submit(task("delayed"), { ...g, delay: "1 second" }))
        yield* letGo
        for (const handle of filling) yield* handle.cancel
        yield* tasks.submit(task("now", 2), g)
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(suspended)
        assert.deepStrictEqual(lines, ["0 now+", "2 now-", "2 delayed+", "3 delayed-"])
      }).pipe(manager({ workers: 4, maxDelayed: 2 })))

    it.effect("a delayed start takes no place of its group", () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        yield* times(5, () => tasks.trySubmit(Effect.void, { ...g, delay: "1 second" }))
        yield* busy({ group: "g" })
        yield* tasks.trySubmit(Effect.void, g)
        assert.isTrue(yield* isFull(tasks.trySubmit(Effect.void, g)))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* tasks.stats).delayed, 5)
      }).pipe(manager({ workers: 2, capacity: 10, groupCapacity: 1 })))
  })

  it.effect("a shutdown drains each group in order", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { lines, task } = journal()
      for (const name of ["a", "b", "c"]) yield* tasks.submit(task(name), g)
      const shutdown = yield* start(tasks.shutdown({ gracePeriod: "2500 millis" }))
      yield* TestClock.adjust("2500 millis")
      yield* Fiber.join(shutdown)
      assert.deepStrictEqual(lines, ["0 a+", "1 a-", "1 b+", "2 b-", "2 c+", "2.5 c-"])
    }).pipe(manager({ workers: 4 })))
})
