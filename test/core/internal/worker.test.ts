import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, References } from "effect"

describe("a worker", () => {
  for (const operations of [5, 6, 7, 8]) {
    it.effect(`takes what is submitted while its fiber yields, every ${operations} operations`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        for (let queued = 1; queued <= 40; queued++) {
          for (let i = 0; i < queued; i++) yield* tasks.submit(Effect.void)
          for (let i = 0; i < 10; i++) yield* Effect.andThen(Effect.yieldNow, tasks.submit(Effect.void))
          yield* Effect.repeat(Effect.yieldNow, { times: 100 })
          assert.strictEqual((yield* tasks.stats).running, 0, `after ${queued} tasks`)
        }
      }).pipe(Effect.provide(
        TaskManager.layer({ workers: 1, gracePeriod: 0 }).pipe(
          Layer.provide(Layer.succeed(References.MaxOpsBeforeYield, operations))
        )
      )))
  }
})
