import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"

const count = (n: number) => Array.from({ length: n }, (_, i) => i)

describe("workers", () => {
  it.effect("begin tasks in order, however many of them sleep", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const begun: Array<number> = []
      yield* tasks.pause
      yield* Effect.forEach(count(200), (i) => tasks.submit(Effect.sync(() => begun.push(i))))
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.deepStrictEqual(begun, count(200))
    }).pipe(Effect.provide(TaskManager.layer({ workers: 4, capacity: 200 }))))

  it.effect("begin tasks that suspend in order, one on each worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const begun: Array<number> = []
      yield* Effect.forEach(count(9), (i) =>
        tasks.submit(Effect.andThen(Effect.sync(() => begun.push(i)), Effect.sleep(1))))
      yield* Effect.yieldNow
      assert.deepStrictEqual(begun, count(4))
    }).pipe(Effect.provide(TaskManager.layer({ workers: 4, gracePeriod: 0 }))))

  it.effect("let other fibers run between tasks that never suspend", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let ended = 0
      yield* tasks.pause
      yield* Effect.forEach(count(5_000), () => tasks.submit(Effect.sync(() => ended++)))
      yield* tasks.resume
      yield* Effect.repeat(Effect.yieldNow, { until: () => ended > 0 })
      assert.isBelow(ended, 5_000)
      yield* tasks.awaitIdle
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 5_000 }))))
})
