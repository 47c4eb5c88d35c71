import { TaskManager, type TaskManagerOptions, type TaskManagerService } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, ManagedRuntime, References, Scope } from "effect"
import { TestClock } from "effect/testing"

class Mail extends TaskManager.Named<Mail>()("app/Mail") {}
class Push extends TaskManager.Named<Push>()("app/Push") {}

/** Two services that each hold the manager they were built with. */
class A extends Context.Service<A, TaskManagerService>()("test/A") {}
class B extends Context.Service<B, TaskManagerService>()("test/B") {}
const aLayer = Layer.effect(A, TaskManager)
const bLayer = Layer.effect(B, TaskManager)
const both = Effect.all([A, B])

/** The defect with which an effect ends. */
const defectOf = <X, E, R>(effect: Effect.Effect<X, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "none")

describe("layer", () => {
  it("without options is always the same value", () => {
    assert.strictEqual(TaskManager.layer(), TaskManager.layer())
    assert.strictEqual(TaskManager.layer(undefined), TaskManager.layer())
    assert.strictEqual(Mail.layer(), Mail.layer())
    assert.notStrictEqual<unknown>(Mail.layer(), TaskManager.layer())
    assert.notStrictEqual(TaskManager.layer({}), TaskManager.layer())
  })

  it.effect("without options is built once in a graph, however often it is provided", () =>
    Effect.gen(function*() {
      const graph = Layer.merge(
        Layer.provide(aLayer, TaskManager.layer()),
        Layer.provide(bLayer, TaskManager.layer())
      )
      const [a, b] = yield* Effect.provide(both, graph)
      assert.strictEqual(a, b)
    }))

  it.effect("with options is a manager of its own for each call", () =>
    Effect.gen(function*() {
      const graph = Layer.merge(
        Layer.provide(aLayer, TaskManager.layer({ workers: 1 })),
        Layer.provide(bLayer, TaskManager.layer({ workers: 1 }))
      )
      const [a, b] = yield* Effect.provide(both, graph)
      assert.notStrictEqual(a, b)
    }))

  it.effect("with options is built once in a graph when it is one value", () =>
    Effect.gen(function*() {
      const layer = TaskManager.layer({ workers: 1 })
      const [a, b] = yield* Effect.provide(
        both,
        Layer.merge(Layer.provide(aLayer, layer), Layer.provide(bLayer, layer))
      )
      assert.strictEqual(a, b)
    }))

  it.effect("has 4 workers and a capacity of 64 by default", () =>
    Effect.gen(function*() {
      const { capacity, manager, workers } = yield* TaskManager.use(({ stats }) => stats)
      assert.deepStrictEqual({ capacity, manager, workers }, { capacity: 64, manager: "running", workers: 4 })
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("takes an option that is undefined as absent", () =>
    Effect.gen(function*() {
      const { capacity, workers } = yield* TaskManager.use(({ stats }) => stats)
      assert.deepStrictEqual({ capacity, workers }, { capacity: 64, workers: 4 })
    }).pipe(Effect.provide(TaskManager.layer({
      workers: undefined,
      capacity: undefined,
      groupCapacity: undefined,
      rate: undefined,
      maxDelayed: undefined,
      gracePeriod: undefined,
      keepFailed: undefined
    }))))

  it.effect("drains for the grace period when its scope closes, then interrupts", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const task = (name: string, millis: number) =>
        Effect.onInterrupt(
          Effect.andThen(Effect.sleep(millis), Effect.sync(() => void log.push(name))),
          () => Effect.sync(() => void log.push(`${name} interrupted`))
        )
      const program = Effect.forEach([["short", 999], ["long", 1000]] as const, ([name, millis]) =>
        TaskManager.submit(task(name, millis)))
      const closing = yield* Effect.forkChild(Effect.provide(program, TaskManager.layer({ gracePeriod: "1 second" })))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(log, ["short", "long interrupted"])
    }))

  it.effect("drains when a ManagedRuntime is disposed", () =>
    Effect.gen(function*() {
      const runtime = ManagedRuntime.make(TaskManager.layer())
      const handle = yield* Effect.promise(() => runtime.runPromise(TaskManager.submit(Effect.succeed(1))))
      yield* Effect.promise(() => runtime.dispose())
      assert.strictEqual(yield* handle.join, 1)
    }))

  const bad: ReadonlyArray<readonly [TaskManagerOptions, string, TaskManagerOptions]> = [
    [{ workers: 0 }, "workers: expected a whole number >= 1, got 0", { workers: 1 }],
    [{ workers: 1.5 }, "workers: expected a whole number >= 1, got 1.5", { workers: 2 }],
    [{ capacity: -1 }, "capacity: expected a whole number >= 0, got -1", { capacity: 0 }],
    [{ capacity: NaN }, "capacity: expected a whole number >= 0, got NaN", { capacity: 1 }],
    [{ capacity: Infinity }, "capacity: expected a whole number >= 0, got Infinity", { capacity: 1e9 }],
    [{ groupCapacity: -1 }, "groupCapacity: expected a whole number >= 0, got -1", { groupCapacity: 0 }],
    [
      { rate: { limit: 0, window: 1 } },
      "rate.limit: expected a whole number >= 1, got 0",
      { rate: { limit: 1, window: 1 } }
    ],
    [{ rate: { limit: 1, window: 0 } }, "rate.window: expected a duration > 0, got 0", {
      rate: { limit: 1, window: 1 }
    }],
    [{ maxDelayed: 0 }, "maxDelayed: expected a whole number >= 1, got 0", { maxDelayed: 1 }],
    [{ gracePeriod: -1 }, "gracePeriod: expected a duration >= 0, got -1", { gracePeriod: 0 }],
    [{ gracePeriod: "soon" as never }, `gracePeriod: expected a duration, got "soon"`, { gracePeriod: Infinity }],
    [{ keepFailed: -1 }, "keepFailed: expected a whole number >= 0, got -1", { keepFailed: 0 }],
    [{ workers: "4" as never }, `workers: expected a whole number >= 1, got "4"`, { workers: 4 }]
  ]
  for (const [options, message, good] of bad) {
    it.effect(`dies while it is built, and not before: ${message}`, () =>
      Effect.gen(function*() {
        for (const layer of [TaskManager.layer(options), TaskManager.layerTest(options)]) {
          assert.include(yield* defectOf(Layer.build(layer)), message)
        }
        assert.include(yield* defectOf(TaskManager.make(options)), message)
        assert.strictEqual(yield* defectOf(Layer.build(TaskManager.layer(good))), "none")
      }))
  }
})

describe("layerTest", () => {
  it.effect("starts paused, with a capacity of 10,000: submits can be listed before anything runs", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const ran: Array<string> = []
      yield* TaskManager.submit(Effect.sync(() => void ran.push("a")), { name: "mail" })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(ran, [])
      const { capacity, manager, waiting } = yield* tasks.stats
      assert.deepStrictEqual({ capacity, manager, waiting }, { capacity: 10_000, manager: "paused", waiting: 1 })
      assert.deepStrictEqual((yield* tasks.list()).map(({ name }) => name), ["mail"])
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.deepStrictEqual(ran, ["a"])
    }).pipe(Effect.provide(TaskManager.layerTest())))

  it.effect("has a grace period of 0: what was only submitted does not run when the test ends", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      const handle = yield* Effect.provide(
        TaskManager.submit(Effect.sync(() => void ran.push("a"))),
        TaskManager.layerTest()
      )
      assert.strictEqual(yield* handle.state, "aborted")
      assert.deepStrictEqual(ran, [])
    }))

  it.effect("takes other options, and keeps its own where one is undefined", () =>
    Effect.gen(function*() {
      const stats = TaskManager.use(({ stats }) => stats)
      const given = yield* Effect.provide(stats, TaskManager.layerTest({ workers: 2, capacity: 5 }))
      assert.deepInclude(given, { workers: 2, capacity: 5, manager: "paused" })
      const unset = yield* Effect.provide(stats, TaskManager.layerTest({ capacity: undefined, gracePeriod: undefined }))
      assert.deepInclude(unset, { workers: 4, capacity: 10_000 })
    }))

  it.effect("takes another grace period", () =>
    Effect.gen(function*() {
      const program = Effect.flatMap(TaskManager, (tasks) => tasks.submit(Effect.succeed(1)))
      const handle = yield* Effect.provide(program, TaskManager.layerTest({ gracePeriod: "1 second" }))
      assert.strictEqual(yield* handle.join, 1)
    }))

  it.effect("of a named manager is that manager", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Mail.use(({ stats }) => stats)).manager, "paused")
    }).pipe(Effect.provide(Mail.layerTest())))
})

describe("make", () => {
  it.effect("gives a manager that shuts down with the scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const tasks = yield* Scope.provide(TaskManager.make({ workers: 1, gracePeriod: 0 }), scope)
      const handle = yield* tasks.submit(Effect.never)
      yield* Effect.yieldNow
      assert.isFalse(yield* tasks.isStopped)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* tasks.isStopped)
      assert.strictEqual(yield* handle.state, "aborted")
    }))

  it.effect("gives another manager each time", () =>
    Effect.gen(function*() {
      const make = TaskManager.make()
      const [first, second] = [yield* make, yield* make]
      yield* first.shutdown()
      assert.isTrue(yield* first.isStopped)
      assert.strictEqual(yield* second.run(Effect.succeed(1)), 1)
    }))
})

describe("the statics", () => {
  it.effect("use the manager that the context has at each run", () =>
    Effect.gen(function*() {
      const submit = TaskManager.submit(Effect.void)
      const [a, b] = [yield* TaskManager.make(), yield* TaskManager.make()]
      for (const tasks of [a, b, b]) yield* Effect.provideService(submit, TaskManager, tasks)
      assert.deepStrictEqual([(yield* a.stats).submitted, (yield* b.stats).submitted], [1, 2])
    }))

  it.effect("do as the methods do", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* TaskManager.run(Effect.succeed(1)), 1)
      assert.strictEqual(yield* (yield* TaskManager.submit(Effect.succeed(2))).join, 2)
      assert.strictEqual(yield* (yield* TaskManager.trySubmit(Effect.succeed(3))).join, 3)
    }).pipe(Effect.provide(TaskManager.layer())))
})

describe("named managers", () => {
  it.effect("are apart: tasks, keys, ids and stops", () =>
    Effect.gen(function*() {
      const mail = yield* Mail
      const push = yield* Push
      const gate = yield* Deferred.make<void>()
      const a = yield* mail.submit(Deferred.await(gate), { key: "k" })
      const b = yield* push.submit(Effect.succeed(2), { key: "k" })
      assert.deepStrictEqual([a.id, b.id], ["1", "1"])
      assert.strictEqual(yield* b.join, 2)
      yield* push.shutdown()
      assert.isFalse(yield* mail.isStopped)
      yield* Deferred.succeed(gate, undefined)
      yield* a.join
      assert.strictEqual((yield* mail.stats).submitted, 1)
    }).pipe(Effect.provide(Layer.merge(Mail.layer(), Push.layer({ workers: 1 })))))

  it.effect("label the log entries of their tasks, and their own, with their ids", () =>
    Effect.gen(function*() {
      const entries: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ fiber }) =>
        void entries.push(fiber.getRef(References.CurrentLogAnnotations).manager)
      )
      const program = Effect.gen(function*() {
        const fail = Effect.fail("x")
        for (const handle of [yield* Mail.submit(fail), yield* Push.submit(fail)]) yield* handle.await
        yield* Mail.submit(Effect.never, { delay: "1 hour" })
      })
      const managers = Layer.merge(Mail.layer({ gracePeriod: 0 }), Push.layer())
      yield* Effect.provide(program, Layer.provideMerge(managers, Logger.layer([logger])))
      assert.deepStrictEqual(entries, ["app/Mail", "app/Push", "app/Mail"])
    }))

  it.effect("a task of one can use the other", () =>
    Effect.gen(function*() {
      const nested = Mail.run(Push.run(Mail.run(Effect.succeed(1))))
      assert.strictEqual(yield* nested, 1)
    }).pipe(Effect.provide(Layer.merge(Mail.layer({ workers: 1 }), Push.layer({ workers: 1 })))))
})
