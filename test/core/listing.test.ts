import { CurrentTask, TaskManager, type TaskManagerService } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Array, Cause, Context, DateTime, Deferred, Effect, Exit, Fiber, Option, Schedule } from "effect"
import { TestClock } from "effect/testing"

class Tenant extends Context.Service<Tenant, string>()("test/Tenant") {}

/** Paused, with room for whatever a test submits. */
const paused = TaskManager.layerTest({ workers: 1 })
const one = TaskManager.layer({ workers: 1 })

const ids = (tasks: TaskManagerService, filter?: Parameters<TaskManagerService["list"]>[0]) =>
  Effect.map(tasks.list(filter), Array.map(({ id }) => id))

const submitMany = (tasks: TaskManagerService, count: number) =>
  Effect.forEach(Array.range(1, count), () => tasks.submit(Effect.void), { discard: true })

/** Submits a task that fails for good, and waits for that. */
const failed = (tasks: TaskManagerService, name = "task") =>
  Effect.tap(tasks.submit(Effect.fail("x"), { name }), ({ await: end }) => end)

const defectOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "no defect")

describe("list", () => {
  it.effect("gives the tasks that have not settled and the failed ones, not those that completed or were aborted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.run(Effect.void)
      const cancelled = yield* tasks.submit(Effect.never)
      yield* cancelled.cancel
      yield* failed(tasks)
      yield* tasks.submit(Effect.never)
      yield* tasks.submit(Effect.void)
      yield* tasks.submit(Effect.void, { delay: "1 minute" })
      yield* Effect.yieldNow
      assert.deepStrictEqual((yield* tasks.list()).map(({ id, state }) => [id, state]), [
        ["3", "failed"],
        ["4", "running"],
        ["5", "waiting"],
        ["6", "delayed"]
      ])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, gracePeriod: 0 }))))

  it.effect("ascends by id as a number, whatever the order of starts", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* Effect.forEach(Array.range(1, 12), (priority) => tasks.submit(Effect.void, { priority }))
      assert.deepStrictEqual(yield* ids(tasks), Array.range(1, 12).map(String))
    }).pipe(Effect.provide(paused)))

  it.effect("gives a page of 100 by default, and what `limit` says otherwise", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* submitMany(tasks, 101)
      assert.deepStrictEqual(yield* ids(tasks), Array.range(1, 100).map(String))
      assert.deepStrictEqual(yield* ids(tasks, { limit: 1 }), ["1"])
      assert.strictEqual((yield* ids(tasks, { limit: 101 })).length, 101)
      assert.strictEqual((yield* ids(tasks, { limit: Number.MAX_SAFE_INTEGER })).length, 101)
    }).pipe(Effect.provide(paused)))

  it.effect("`after` gives the next page, also when that task has gone", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* submitMany(tasks, 25)
      const pages: Array<ReadonlyArray<string>> = []
      for (let after: string | undefined = "0"; after !== undefined;) {
        const page: ReadonlyArray<string> = yield* ids(tasks, { after, limit: 10 })
        if (page.length > 0) pages.push(page)
        after = page.at(-1)
      }
      assert.deepStrictEqual(pages.flat(), Array.range(1, 25).map(String))
      assert.deepStrictEqual(pages.map(({ length }) => length), [10, 10, 5])
      yield* tasks.cancel("10")
      assert.deepStrictEqual(yield* ids(tasks, { after: "9", limit: 2 }), ["11", "12"])
      assert.deepStrictEqual(yield* ids(tasks, { after: "10", limit: 2 }), ["11", "12"])
      assert.deepStrictEqual(yield* ids(tasks, { after: "25" }), [])
      assert.deepStrictEqual(yield* ids(tasks, { after: "1000" }), [])
    }).pipe(Effect.provide(paused)))

  it.effect("filters by state, name and group, alone and together", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.void, { name: "a", group: "g" })
      yield* tasks.submit(Effect.void, { name: "b", group: "g" })
      yield* tasks.submit(Effect.void, { name: "a", group: "h", delay: 1 })
      yield* tasks.submit(Effect.void, { name: "a" })
      assert.deepStrictEqual(yield* ids(tasks, { name: "a" }), ["1", "3", "4"])
      assert.deepStrictEqual(yield* ids(tasks, { group: "g" }), ["1", "2"])
      assert.deepStrictEqual(yield* ids(tasks, { state: "waiting" }), ["1", "2", "4"])
      assert.deepStrictEqual(yield* ids(tasks, { state: "delayed" }), ["3"])
      assert.deepStrictEqual(yield* ids(tasks, { state: "completed" }), [])
      assert.deepStrictEqual(yield* ids(tasks, { name: "c" }), [])
      assert.deepStrictEqual(yield* ids(tasks, { name: "a", group: "g" }), ["1"])
      assert.deepStrictEqual(yield* ids(tasks, { name: "a", state: "waiting", after: "1", limit: 1 }), ["4"])
      assert.deepStrictEqual(yield* ids(tasks, { name: undefined, state: undefined, group: undefined }), [
        "1",
        "2",
        "3",
        "4"
      ])
    }).pipe(Effect.provide(paused)))

  it.effect("counts the limit after the filter", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* submitMany(tasks, 200)
      yield* tasks.submit(Effect.void, { name: "last" })
      assert.deepStrictEqual(yield* ids(tasks, { name: "last", limit: 1 }), ["201"])
    }).pipe(Effect.provide(paused)))

  it.effect("dies on a limit or an `after` that is none, naming it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      for (const limit of [0, -1, 1.5, NaN, Infinity, "5" as never]) {
        assert.match(
          yield* defectOf(tasks.list({ limit })),
          /limit: expected a whole number >= 1, got/
        )
      }
      for (const after of ["x", "", "-1", "1.5", "01", "1e3", 3 as never]) {
        assert.match(yield* defectOf(tasks.list({ after })), /after: expected an id of list, got/)
      }
    }).pipe(Effect.provide(one)))

  it.effect("describes a task: id, name, state, attempts, times, key, group, and the causes so far", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* TestClock.adjust(5)
      yield* tasks.submit(Effect.fail("x"), { name: "a", key: "k", group: "g", retry: Schedule.spaced("10 seconds") })
      yield* TestClock.adjust(1)
      const [info] = yield* tasks.list()
      const { cause, dueAt, submittedAt, ...rest } = info!
      assert.deepInclude(rest, { id: "1", name: "a", state: "delayed", attempts: 1, key: "k", group: "g" })
      assert.strictEqual(DateTime.toEpochMillis(submittedAt), 5)
      assert.strictEqual(DateTime.toEpochMillis(dueAt!), 10_005)
      assert.deepStrictEqual(cause!.reasons.map(({ _tag }) => _tag), ["Fail"])
      assert.match(Cause.pretty(cause!), /attempt 1: x/)
    }).pipe(Effect.provide(TaskManager.layer({ gracePeriod: 0 }))))

  it.effect("is a snapshot: what happens later does not change it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.void)
      const [info] = yield* tasks.list()
      yield* tasks.resume
      yield* handle.join
      assert.strictEqual(info!.state, "waiting")
      assert.deepStrictEqual(yield* tasks.list(), [])
    }).pipe(Effect.provide(paused)))
})

describe("get", () => {
  it.effect("finds a task by the id of its handle, in each of its states", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const state = (id: string) => Effect.map(tasks.get(id), Option.map(({ state }) => state))
      const { id } = yield* tasks.submit(Effect.andThen(Deferred.await(gate), Effect.fail("x")), { delay: 1 })
      assert.deepStrictEqual(yield* state(id), Option.some("delayed"))
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* state(id), Option.some("running"))
      yield* Deferred.succeed(gate, undefined)
      yield* tasks.awaitIdle
      assert.deepStrictEqual(yield* state(id), Option.some("failed"))
    }).pipe(Effect.provide(one)))

  it.effect("gives none for what has completed, was aborted, or never was", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.run(Effect.void)
      const aborted = yield* tasks.submit(Effect.never)
      yield* aborted.cancel
      yield* tasks.submit(Effect.void, { delay: "1 minute" })
      for (const id of ["1", "2", "4", "0", "-1", "03", "3.0", " 3", "3 ", "NaN", "Infinity", "", "x", "1e0"]) {
        assert.deepStrictEqual(yield* tasks.get(id), Option.none(), id)
      }
      assert.isTrue(Option.isSome(yield* tasks.get("3")))
    }).pipe(Effect.provide(TaskManager.layer({ gracePeriod: 0 }))))

  it.effect("tells the running task what it is, from inside", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inside = Effect.flatMap(CurrentTask, ({ id }) => tasks.get(id))
      const info = Option.getOrThrow(yield* tasks.run(inside, { name: "self" }))
      assert.deepInclude({ ...info }, { id: "1", name: "self", state: "running", attempts: 1 })
    }).pipe(Effect.provide(one)))
})

describe("cancel by id", () => {
  it.effect("aborts what has not started, and waits for the finalizers of what runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const running = yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
      const waiting = yield* tasks.submit(Effect.void)
      assert.isTrue(yield* tasks.cancel(waiting.id))
      assert.strictEqual(yield* waiting.state, "aborted")
      yield* Effect.yieldNow
      const cancelling = yield* Effect.forkChild(tasks.cancel(running.id))
      yield* TestClock.adjust(999)
      assert.isUndefined(cancelling.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isTrue(yield* Fiber.join(cancelling))
    }).pipe(Effect.provide(one)))

  it.effect("is false for a task that has ended or never was", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.run(Effect.void)
      const { id } = yield* failed(tasks)
      for (const none of ["1", id, "99", "x"]) assert.isFalse(yield* tasks.cancel(none), none)
      assert.isTrue(Option.isSome(yield* tasks.get(id)))
    }).pipe(Effect.provide(one)))
})

describe("keepFailed", () => {
  for (const keepFailed of [0, 1, 2, 3]) {
    const kept = ["1", "2", "3"].slice(3 - keepFailed)
    it.effect(`of ${keepFailed} keeps the last ${keepFailed} failed tasks`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        for (let i = 0; i < 3; i++) yield* failed(tasks)
        assert.deepStrictEqual(yield* ids(tasks), kept)
        assert.deepStrictEqual(yield* ids(tasks, { state: "failed" }), kept)
        for (const id of ["1", "2", "3"]) {
          assert.strictEqual(Option.isSome(yield* tasks.get(id)), kept.includes(id))
          assert.strictEqual(Option.isSome(yield* tasks.retry(id)), kept.includes(id))
        }
        assert.strictEqual((yield* tasks.stats).failed, 3)
      }).pipe(Effect.provide(TaskManager.layer({ workers: 1, keepFailed }))))
  }

  it.effect("is 100 by default", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* Effect.forEach(Array.range(1, 101), () => failed(tasks), { discard: true })
      assert.deepStrictEqual(yield* ids(tasks, { limit: 1000 }), Array.range(2, 101).map(String))
    }).pipe(Effect.provide(one)))

  it.effect("counts the last by when they failed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.fail("x"), { delay: "1 minute" })
      yield* failed(tasks)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* ids(tasks), ["1"])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, keepFailed: 1 }))))
})

describe("retry by id", () => {
  it.effect("submits the task again under a new id, once, with all its attempts", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const attempts: Array<string> = []
      const task = Effect.gen(function*() {
        const self = yield* CurrentTask
        attempts.push(`${self.id}.${self.attempts}`)
        if (attempts.length < 4) return yield* Effect.fail("x")
      })
      yield* Effect.ignore(tasks.run(task, { name: "a", group: "g", retry: Schedule.recurs(1) }))
      assert.deepStrictEqual(attempts, ["1.1", "1.2"])
      assert.deepStrictEqual(yield* tasks.retry("1"), Option.some("2"))
      assert.deepStrictEqual(yield* tasks.retry("1"), Option.none())
      assert.deepStrictEqual(yield* tasks.get("1"), Option.none())
      const again = Option.getOrThrow(yield* tasks.get("2"))
      assert.deepInclude({ ...again }, { name: "a", group: "g" })
      yield* tasks.awaitIdle
      assert.deepStrictEqual(attempts, ["1.1", "1.2", "2.1", "2.2"])
      const { completed, failed, submitted } = yield* tasks.stats
      assert.deepStrictEqual({ submitted, completed, failed }, { submitted: 2, completed: 1, failed: 1 })
    }).pipe(Effect.provide(one)))

  it.effect("may be done again when it failed again", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let { id } = yield* failed(tasks)
      for (let i = 0; i < 3; i++) {
        id = Option.getOrThrow(yield* tasks.retry(id))
        yield* tasks.awaitIdle
        assert.deepStrictEqual(yield* ids(tasks), [id])
      }
    }).pipe(Effect.provide(one)))

  it.effect("starts at once, whatever the delay of the first submit was", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* tasks.submit(Effect.fail("x"), { delay: "1 hour" })
      yield* TestClock.adjust("1 hour")
      const again = Option.getOrThrow(yield* tasks.retry(id))
      yield* tasks.awaitIdle
      assert.deepStrictEqual(yield* ids(tasks, { state: "failed" }), [again])
    }).pipe(Effect.provide(one)))

  it.effect("has its times to start and to live anew", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* tasks.submit(Effect.fail("x"), { timeToStart: "2 seconds", timeToLive: "3 seconds" })
      yield* TestClock.adjust("1 hour")
      yield* tasks.pause
      const again = Option.getOrThrow(yield* tasks.retry(id))
      yield* TestClock.adjust(1999)
      assert.isTrue(Option.isSome(yield* tasks.get(again)))
      yield* TestClock.adjust(1)
      assert.isTrue(Option.isNone(yield* tasks.get(again)))
    }).pipe(Effect.provide(one)))

  it.effect("does nothing without room, and the task can still be retried later", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* failed(tasks)
      yield* tasks.pause
      yield* tasks.submit(Effect.void)
      assert.deepStrictEqual(yield* tasks.retry(id), Option.none())
      assert.deepStrictEqual(yield* ids(tasks), ["1", "2"])
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.deepStrictEqual(yield* tasks.retry(id), Option.some("3"))
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 1 }))))

  it.effect("does nothing when the manager has stopped, which keeps its failed tasks", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* failed(tasks)
      yield* tasks.shutdown()
      assert.deepStrictEqual(yield* tasks.retry(id), Option.none())
      assert.deepStrictEqual(yield* ids(tasks), [id])
    }).pipe(Effect.provide(one)))

  it.effect("does nothing while the manager drains", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* failed(tasks)
      yield* tasks.submit(Effect.sleep("1 second"))
      const shutdown = yield* Effect.forkChild(tasks.shutdown(), { startImmediately: true })
      assert.deepStrictEqual(yield* tasks.retry(id), Option.none())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(shutdown)
    }).pipe(Effect.provide(one)))

  it.effect("is for failed tasks only", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.run(Effect.void)
      const aborted = yield* tasks.submit(Effect.never)
      yield* aborted.cancel
      yield* tasks.submit(Effect.never)
      yield* tasks.submit(Effect.void)
      yield* Effect.yieldNow
      for (const id of ["1", "2", "3", "4", "5", "x"]) assert.deepStrictEqual(yield* tasks.retry(id), Option.none(), id)
      assert.strictEqual((yield* tasks.stats).submitted, 4)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, gracePeriod: 0 }))))

  it.effect("joins the task that holds the key meanwhile", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const { id } = yield* Effect.tap(tasks.submit(Effect.fail("x"), { key: "k" }), ({ await: end }) => end)
      yield* tasks.pause
      const holder = yield* tasks.submit(Effect.void, { key: "k" })
      assert.deepStrictEqual(yield* tasks.retry(id), Option.some(holder.id))
      assert.deepStrictEqual(yield* ids(tasks), [holder.id])
    }).pipe(Effect.provide(one)))

  it.effect("runs it with the services of its first submitter", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const seen: Array<string> = []
      const look = Effect.map(Effect.all([CurrentTask, Tenant]), ([{ id }, tenant]) => void seen.push(id + tenant))
      const submit = tasks.submit(Effect.andThen(look, Effect.fail("x")), { onFailed: () => look })
      const { id } = yield* Effect.provideService(submit, Tenant, "a")
      yield* tasks.awaitIdle
      yield* Effect.provideService(tasks.retry(id), Tenant, "b")
      yield* tasks.awaitIdle
      assert.deepStrictEqual(seen, ["1a", "1a", "2a", "2a"])
    }).pipe(Effect.provide(one)))
})
