import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger } from "effect"
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
})
