import { type TaskEvent, TaskManager, type TaskManagerService } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Array, Clock, DateTime, Deferred, Effect, Exit, Fiber, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"

const one = TaskManager.layer({ workers: 1 })

/** Starts to listen, and gives what the stream will have brought when it ends. */
const listen = (tasks: TaskManagerService) =>
  Effect.forkChild(Stream.runCollect(tasks.events), { startImmediately: true })

/** What is heard of `program`, which gets a manager of its own; the manager is shut down afterwards. */
const eventsOf = <A, E>(program: (tasks: TaskManagerService) => Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const tasks = yield* TaskManager
    const listening = yield* listen(tasks)
    yield* program(tasks)
    yield* tasks.shutdown({ gracePeriod: 0 })
    return yield* Fiber.join(listening)
  }).pipe(Effect.provide(one))

const brief = ({ _tag, task }: TaskEvent) => `${_tag} ${task.name} ${task.state} ${task.attempts}`

describe("events", () => {
  it.effect("tell of a task that completes: submitted, started, completed", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) => tasks.run(Effect.void, { name: "a" }))
      assert.deepStrictEqual(events.map(brief), [
        "Submitted a waiting 0",
        "Started a running 1",
        "Completed a completed 1"
      ])
    }))

  it.effect("tell of each attempt of a task that is retried and fails, with the causes so far", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) =>
        Effect.ignore(tasks.run(Effect.fail("x"), { name: "a", retry: Schedule.recurs(1) }))
      )
      assert.deepStrictEqual(events.map((event) => [brief(event), event.task.cause?.reasons.length]), [
        ["Submitted a waiting 0", undefined],
        ["Started a running 1", undefined],
        ["Retrying a delayed 1", 1],
        ["Started a running 2", 1],
        ["Failed a failed 2", 2]
      ])
    }))

  it.effect("tell when a delayed start or a retry is due", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) =>
        Effect.gen(function*() {
          yield* tasks.submit(Effect.fail("x"), { delay: "1 second", retry: Schedule.spaced("10 seconds") })
          yield* TestClock.adjust("1 second")
        })
      )
      assert.deepStrictEqual(
        events.map(({ _tag, at, task }) => [
          _tag,
          DateTime.toEpochMillis(at),
          task.dueAt === undefined ? undefined : DateTime.toEpochMillis(task.dueAt)
        ]),
        [["Submitted", 0, 1000], ["Started", 1000, undefined], ["Retrying", 1000, 11_000], ["Aborted", 1000, undefined]]
      )
    }))

  it.effect("tell why a task was aborted", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) =>
        Effect.gen(function*() {
          const cancelled = yield* tasks.submit(Effect.never, { name: "a" })
          yield* cancelled.cancel
          yield* tasks.submit(Effect.never, { name: "b", delay: "1 second", timeToLive: "1 second" })
          yield* TestClock.adjust("1 second")
          yield* tasks.submit(Effect.never, { name: "c" })
        })
      )
      const aborted = events.filter(({ _tag }) => _tag === "Aborted")
      assert.deepStrictEqual(aborted.map(({ task }) => [task.name, task.state, task.reason]), [
        ["a", "aborted", "cancelled"],
        ["b", "aborted", "expired"],
        ["c", "aborted", "shutdown"]
      ])
    }))

  it.effect("carry the task as it was then, with its id, key, group and time of submit", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) =>
        Effect.andThen(TestClock.adjust(5), tasks.run(Effect.void, { name: "a", key: "k", group: "g" }))
      )
      assert.strictEqual(events.length, 3)
      for (const { task } of events) {
        assert.deepInclude({ ...task }, { id: "1", name: "a", key: "k", group: "g" })
        assert.strictEqual(DateTime.toEpochMillis(task.submittedAt), 5)
      }
    }))

  it.effect("do not tell of refusals, and of joins by key", () =>
    Effect.gen(function*() {
      const events = yield* eventsOf((tasks) =>
        Effect.gen(function*() {
          yield* tasks.submit(Effect.void, { key: "k" })
          yield* tasks.submit(Effect.void, { key: "k" })
          yield* tasks.awaitIdle
          yield* tasks.shutdown()
          yield* Effect.ignore(tasks.submit(Effect.void))
        })
      )
      assert.deepStrictEqual(events.map(({ _tag }) => _tag), ["Submitted", "Started", "Completed"])
    }))

  it.effect("count up by one from 1 for a reader that keeps up, and every reader gets all", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const listening = yield* Effect.forEach([1, 2, 3], () => listen(tasks))
      yield* Effect.forEach(Array.range(1, 2000), () => tasks.run(Effect.void), { discard: true })
      yield* tasks.shutdown()
      for (const events of yield* Fiber.joinAll(listening)) {
        assert.deepStrictEqual(events.map(({ seq }) => seq), Array.range(1, 6000))
      }
    }).pipe(Effect.provide(one)))

  it.effect("a reader sees what happens from when it begins to listen", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const first = yield* listen(tasks)
      yield* tasks.run(Effect.void, { name: "a" })
      const second = yield* listen(tasks)
      yield* tasks.run(Effect.void, { name: "b" })
      yield* tasks.shutdown()
      assert.deepStrictEqual((yield* Fiber.join(first)).map(({ task }) => task.name), ["a", "a", "a", "b", "b", "b"])
      assert.deepStrictEqual((yield* Fiber.join(second)).map(({ seq, task }) => [task.name, seq]), [
        ["b", 4],
        ["b", 5],
        ["b", 6]
      ])
    }).pipe(Effect.provide(one)))
})

describe("a slow reader", () => {
  /** What a reader sees that takes the first event, and the others only when there are `count` of them. */
  const seqsWhenBehind = (count: number) =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const reader = yield* tasks.events.pipe(
        Stream.map(({ seq }) => seq),
        Stream.tap((seq) => seq === 1 ? Deferred.await(gate) : Effect.void),
        Stream.takeUntil((seq) => seq === 1 + count),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* tasks.submit(Effect.void)
      yield* Effect.yieldNow
      yield* Effect.forEach(Array.range(1, count), () => tasks.submit(Effect.void), { discard: true })
      yield* Deferred.succeed(gate, undefined)
      return yield* Fiber.join(reader)
    }).pipe(Effect.provide(TaskManager.layerTest()))

  it.effect("loses nothing while it is 4096 events behind", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* seqsWhenBehind(4096), Array.range(1, 4097))
    }))

  it.effect("loses the oldest beyond that, and sees a gap in seq", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* seqsWhenBehind(4097), [1, ...Array.range(3, 4098)])
      assert.deepStrictEqual(yield* seqsWhenBehind(5000), [1, ...Array.range(906, 5001)])
    }))

  it.effect("holds up neither the tasks nor a quick reader, and gets the rest after the manager has stopped", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const slow = yield* tasks.events.pipe(
        Stream.tap(() => Deferred.await(gate)),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      const quick = yield* listen(tasks)
      yield* Effect.forEach(Array.range(1, 2000), () => tasks.run(Effect.void), { discard: true })
      const { stats } = yield* tasks.shutdown()
      assert.strictEqual(stats.completed, 2000)
      assert.strictEqual((yield* Fiber.join(quick)).length, 6000)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual((yield* Fiber.join(slow)).map(({ seq }) => seq), [1, ...Array.range(1905, 6000)])
    }).pipe(Effect.provide(one)))
})

describe("the stream of events", () => {
  it.effect("ends after the last event when the manager has stopped, and at once after that", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const listening = yield* listen(tasks)
      const slow = Effect.ensuring(Effect.never, Effect.sleep("1 second"))
      yield* tasks.submit(slow)
      yield* Effect.yieldNow
      yield* Effect.forkChild(tasks.shutdown({ gracePeriod: 0 }))
      yield* TestClock.adjust(999)
      assert.isUndefined(listening.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual((yield* Fiber.join(listening)).map(({ _tag }) => _tag), [
        "Submitted",
        "Started",
        "Aborted"
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(tasks.events), [])
    }).pipe(Effect.provide(one)))

  it.effect("is of no interest to the tasks when a reader fails, dies or is interrupted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const fork = <A, E>(reader: Effect.Effect<A, E>) => Effect.forkChild(reader, { startImmediately: true })
      const failing = yield* fork(Stream.runForEach(tasks.events, () => Effect.fail("x")))
      const dying = yield* fork(Stream.runForEach(tasks.events, () => Effect.die("x")))
      const interrupted = yield* fork(Stream.runDrain(tasks.events))
      const steady = yield* listen(tasks)
      yield* Effect.yieldNow
      yield* Fiber.interrupt(interrupted)
      yield* tasks.run(Effect.void)
      yield* tasks.run(Effect.void)
      assert.isTrue(Exit.hasFails(yield* Fiber.await(failing)))
      assert.isTrue(Exit.hasDies(yield* Fiber.await(dying)))
      yield* tasks.shutdown()
      assert.deepStrictEqual((yield* Fiber.join(steady)).map(({ seq }) => seq), [1, 2, 3, 4, 5, 6])
    }).pipe(Effect.provide(one)))

  it.effect("gives a reader its turn while many tasks run that never suspend", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let turns = 0
      const count = Stream.runForEachArray(tasks.events, () => Effect.sync(() => void turns++))
      const counting = yield* Effect.forkChild(count, { startImmediately: true })
      const steps = Effect.forEach(Array.range(1, 500), () => Effect.sync(() => {}), { discard: true })
      yield* tasks.pause
      yield* Effect.forEach(Array.range(1, 100), () => tasks.submit(steps), { discard: true })
      turns = 0
      yield* tasks.shutdown()
      yield* Fiber.join(counting)
      assert.isAtLeast(turns, 20)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 100 }))))

  it.effect("can be read by a task of the same manager", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const watcher = yield* tasks.submit(Stream.runCollect(Stream.take(tasks.events, 3)), { name: "watcher" })
      yield* Effect.yieldNow
      yield* tasks.submit(Effect.void, { name: "a" })
      assert.deepStrictEqual((yield* watcher.join).map(brief), [
        "Submitted a waiting 0",
        "Started a running 1",
        "Completed a completed 1"
      ])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 2 }))))

  it.effect("costs a task nothing before the first reader and after the last", () =>
    Effect.gen(function*() {
      const base = yield* Clock.Clock
      let readings = 0
      const clock: Clock.Clock = {
        ...base,
        currentTimeMillisUnsafe: () => (readings++, base.currentTimeMillisUnsafe())
      }
      const readingsPerTask = Effect.gen(function*() {
        readings = 0
        yield* TaskManager.run(Effect.void)
        return readings
      })
      yield* Effect.gen(function*() {
        const tasks = yield* TaskManager
        const before = yield* readingsPerTask
        const quitting = yield* Effect.forkChild(Stream.runDrain(Stream.take(tasks.events, 4)))
        const interrupted = yield* Effect.forkChild(Stream.runDrain(tasks.events))
        yield* Effect.yieldNow
        assert.isAbove(yield* readingsPerTask, before)
        assert.isAbove(yield* readingsPerTask, before)
        yield* Fiber.join(quitting)
        yield* Fiber.interrupt(interrupted)
        assert.strictEqual(yield* readingsPerTask, before)
      }).pipe(Effect.provide(one), Effect.provideService(Clock.Clock, clock))
    }))
})
