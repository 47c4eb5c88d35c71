import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Fiber, Layer, Logger, Schedule } from "effect"
import { TestClock } from "effect/testing"

describe("the shutdown's log entry", () => {
  it.effect("is written before the caller of shutdown goes on, who may exit the process", () => {
    const entries: Array<unknown> = []
    const logger = Logger.make(({ logLevel, message }) => void entries.push([logLevel, message]))
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.ensuring(Effect.never, Effect.sleep("1 second")))
      const seen = yield* Effect.forkChild(Effect.map(tasks.shutdown({ gracePeriod: 0 }), () => [...entries]))
      yield* TestClock.adjust("1 second")
      assert.deepEqual(yield* Fiber.join(seen), [["Warn", ["shutdown: 1 task did not complete"]]])
    }).pipe(Effect.provide(Layer.provide(TaskManager.layer(), Logger.layer([logger]))))
  })

  it.effect("says in one line how each task ended: its attempts were logged when it failed", () => {
    let entry = ""
    const logger = Logger.make(({ cause, logLevel }) => {
      if (logLevel === "Warn") entry = Cause.pretty(cause)
    })
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      const retry = { times: 1, schedule: Schedule.spaced("1 second") }
      yield* tasks.submit(Effect.fail("421"), { name: "mail", retry })
      yield* tasks.submit(Effect.never, { name: "endless" })
      yield* Effect.yieldNow
      const shutdown = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: "2 seconds" }))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(shutdown)
      assert.deepEqual(entry.split("\n"), [
        "TaskFailedError: mail failed after 2 attempts: 421",
        "TaskAbortedError: endless was aborted (shutdown) after 1 attempt"
      ])
    }).pipe(Effect.provide(Layer.provide(TaskManager.layer(), Logger.layer([logger]))))
  })
})
