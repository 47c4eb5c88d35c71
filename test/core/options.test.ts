import { TaskManager, type TaskManagerOptions, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit } from "effect"

/** What an effect dies with, as its message. */
const defectOf = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    return Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Error).message : ""
  })

describe("options of a submit", () => {
  const bad: ReadonlyArray<readonly [options: object, message: string]> = [
    [{ name: 1 }, "name: expected a string, got 1"],
    [{ key: {} }, "key: expected a string, got {}"],
    [{ group: null }, "group: expected a string, got null"],
    [{ keyUntil: "never" }, `keyUntil: expected "start" or "end", got "never"`],
    [{ priority: NaN }, "priority: expected a finite number, got NaN"],
    [{ priority: Infinity }, "priority: expected a finite number, got Infinity"],
    [{ priority: "5" }, `priority: expected a finite number, got "5"`],
    [{ delay: "soon" }, `delay: expected a duration, got "soon"`],
    [{ delay: NaN }, "delay: expected a duration, got NaN"],
    [{ delay: null }, "delay: expected a duration, got null"],
    [{ timeToStart: 0 }, "timeToStart: expected a duration > 0, got 0"],
    [{ timeToStart: "-1 second" }, `timeToStart: expected a duration > 0, got "-1 second"`],
    [{ timeToStart: NaN }, "timeToStart: expected a duration, got NaN"],
    [{ timeToLive: Duration.zero }, `timeToLive: expected a duration > 0, got 0`],
    [{ timeToLive: "1" }, `timeToLive: expected a duration, got "1"`],
    [{ retry: { times: -1 } }, "retry.times: expected a whole number >= 0, got -1"]
  ]

  for (const [options, message] of bad) {
    it.effect(`a submit dies with "${message}", and leaves no task`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        for (const submit of [tasks.submit, tasks.trySubmit, tasks.run]) {
          assert.include(yield* defectOf(submit(Effect.void, options as TaskOptions)), message)
        }
        assert.strictEqual((yield* tasks.stats).submitted, 0)
        yield* tasks.awaitIdle
      }).pipe(Effect.provide(TaskManager.layer())))
  }

  it.effect("what is at the edge, or absent, is taken", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const good: ReadonlyArray<TaskOptions> = [
        {},
        { name: "", key: "", group: "" },
        { priority: -1e9 },
        { priority: 0.5 },
        { timeToStart: 1, timeToLive: Duration.infinity },
        { retry: { times: 0 } },
        {
          name: undefined,
          key: undefined,
          group: undefined,
          keyUntil: undefined,
          priority: undefined,
          delay: undefined,
          timeToStart: undefined,
          timeToLive: undefined,
          retry: undefined,
          error: undefined,
          onFailed: undefined
        }
      ]
      for (const options of good) yield* tasks.run(Effect.void, options)
      assert.strictEqual((yield* tasks.stats).completed, good.length)
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("what is submitted has to be an Effect", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      for (const value of [undefined, () => Effect.void, Promise.resolve()]) {
        assert.include(yield* defectOf(tasks.submit(value as never)), "task: expected an Effect, got")
      }
    }).pipe(Effect.provide(TaskManager.layer())))
})

describe("options of a manager", () => {
  const bad: ReadonlyArray<readonly [options: object, message: string]> = [
    [{ gracePeriod: NaN }, "gracePeriod: expected a duration, got NaN"],
    [{ rate: 5 }, "rate: expected { limit, window }, got 5"],
    [{ rate: null }, "rate: expected { limit, window }, got null"],
    [{ rate: { limit: 5 } }, "rate.window: expected a duration, got undefined"],
    [{ rate: { limit: 5, window: NaN } }, "rate.window: expected a duration, got NaN"],
    [{ rate: { window: 5 } }, "rate.limit: expected a whole number >= 1, got undefined"]
  ]
  for (const [options, message] of bad) {
    it.effect(`a manager dies with "${message}"`, () =>
      Effect.gen(function*() {
        const made = Effect.scoped(TaskManager.make(options as TaskManagerOptions))
        assert.include(yield* defectOf(made), message)
      }))
  }

  it.effect("shutdown checks its grace period too", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      for (const gracePeriod of [-1, NaN, "soon" as never]) {
        assert.include(yield* defectOf(tasks.shutdown({ gracePeriod })), "gracePeriod: expected a duration")
      }
      assert.strictEqual((yield* tasks.stats).manager, "running")
    }).pipe(Effect.provide(TaskManager.layer())))
})
