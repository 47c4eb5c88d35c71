import { QueueFullError, TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Redacted } from "effect"

class SmtpError extends Data.TaggedError("SmtpError")<{ readonly code: number; readonly token: unknown }> {}
class Offline extends Data.TaggedError("Offline") {}

const failed = (error: SmtpError | Offline) =>
  Effect.gen(function*() {
    const tasks = yield* TaskManager
    const handle = yield* tasks.submit(Effect.fail(error), { name: "send-mail" })
    const outcome = yield* handle.await
    const info = (yield* tasks.list())[0]!
    assert.strictEqual(outcome._tag, "Failed")
    return [outcome._tag === "Failed" && outcome.error.message, Cause.pretty(info.cause!).split("\n")[0]]
  }).pipe(Effect.provide(TaskManager.layer()))

describe("a failure without a message", () => {
  it.effect("is told by its fields, secrets redacted", () =>
    Effect.gen(function*() {
      assert.deepEqual(yield* failed(new SmtpError({ code: 421, token: Redacted.make("secret") })), [
        `send-mail failed after 1 attempt: SmtpError: {"code":421,"token":<redacted>}`,
        `SmtpError: attempt 1: {"code":421,"token":<redacted>}`
      ])
    }))

  it.effect("is told by its name when it has no fields", () =>
    Effect.gen(function*() {
      assert.deepEqual(yield* failed(new Offline()), [
        "send-mail failed after 1 attempt: Offline",
        "Offline: attempt 1"
      ])
    }))
})

describe("QueueFullError", () => {
  it("says how many tasks may wait", () => {
    assert.strictEqual(new QueueFullError({ capacity: 1 }).message, "the queue is full: 1 task may wait")
    assert.strictEqual(new QueueFullError({ capacity: 2 }).message, "the queue is full: 2 tasks may wait")
  })
})
