import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, ErrorReporter, Schedule } from "effect"

describe("ErrorReporter", () => {
  it.effect("gets a task that failed for good as an error, once, with the task in its attributes", () => {
    const reports: Array<unknown> = []
    const reporter = ErrorReporter.make(({ attributes, error, severity }) => {
      reports.push([error.message, severity, attributes])
    })
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.fail("421"), { name: "send-mail", retry: Schedule.recurs(2) })
      yield* tasks.awaitIdle
      assert.deepEqual(reports, [
        ["send-mail failed after 3 attempts: 421", "Error", { task: "send-mail", taskId: "1", attempts: 3 }]
      ])
    }).pipe(Effect.provide([TaskManager.layer(), ErrorReporter.layer([reporter])]))
  })

  it.effect("gets nothing of a failure that run takes to its caller, nor of an aborted task", () => {
    const reports: Array<unknown> = []
    const reporter = ErrorReporter.make(({ error }) => void reports.push(error))
    return Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* Effect.flip(tasks.run(Effect.fail("421")))
      yield* (yield* tasks.submit(Effect.never)).cancel
      assert.deepEqual(reports, [])
    }).pipe(Effect.provide([TaskManager.layer(), ErrorReporter.layer([reporter])]))
  })
})
