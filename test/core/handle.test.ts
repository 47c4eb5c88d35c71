import { CurrentTask, QueueFullError, TaskManager, TaskManagerStoppedError } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Equal, Logger, Schedule } from "effect"
import { inspect } from "node:util"

class TooFar extends Data.TaggedError("TooFar")<{ readonly message: string }> {}

const one = TaskManager.layer({ workers: 1 })

/** As somebody sees it who logs it. */
const shown = (value: unknown): string => inspect(value, { depth: 0, compact: true, breakLength: Infinity })

describe("what is printed", () => {
  it.effect("a handle shows its id, its name and the state of its task", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const handle = yield* tasks.submit(Effect.void, { name: "mail" })
      assert.strictEqual(shown(handle), "{ _id: 'TaskHandle', id: '1', name: 'mail', state: 'waiting' }")
      yield* tasks.resume
      yield* handle.join
      assert.strictEqual(shown(handle), "{ _id: 'TaskHandle', id: '1', name: 'mail', state: 'completed' }")
      const json = `{"_id":"TaskHandle","id":"1","name":"mail","state":"completed"}`
      assert.deepStrictEqual([JSON.stringify(handle), String(handle)], [json, json])
    }).pipe(Effect.provide(one)))

  it.effect("a handle in a log line shows the same", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))
      const handle = yield* TaskManager.submit(Effect.void, { name: "mail" })
      yield* Effect.provide(Effect.log(handle), Logger.layer([logger]))
      assert.match(lines[0]!, /TaskHandle.*mail/s)
    }).pipe(Effect.provide(one)))

  it.effect("the running task shows what it is, and nothing of how it is run", () =>
    Effect.gen(function*() {
      const look = Effect.map(CurrentTask, (task) => [shown(task), JSON.stringify(task), String(task)] as const)
      const [text, json, string] = yield* TaskManager.run(look, { name: "mail", group: "g" })
      assert.match(text, /^\{ id: '1', name: 'mail', state: 'running', attempts: 1, submittedAt: .*group: 'g' \}$/)
      assert.include(string, `"name":"mail"`)
      assert.deepStrictEqual(JSON.parse(json), {
        id: "1",
        name: "mail",
        state: "running",
        attempts: 1,
        submittedAt: "1970-01-01T00:00:00.000Z",
        group: "g"
      })
    }).pipe(Effect.provide(one)))

  it.effect("what list gives is plain data, ready for JSON", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      yield* tasks.submit(Effect.void, { name: "mail", delay: "1 second", key: "k" })
      assert.deepStrictEqual(JSON.parse(JSON.stringify(yield* tasks.list())), [{
        id: "1",
        name: "mail",
        state: "delayed",
        attempts: 0,
        submittedAt: "1970-01-01T00:00:00.000Z",
        dueAt: "1970-01-01T00:00:01.000Z",
        key: "k"
      }])
      yield* tasks.shutdown({ gracePeriod: 0 })
    }).pipe(Effect.provide(one)))

  it.effect("errors say in one line what happened", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      assert.strictEqual(
        String(new QueueFullError({ capacity: 3 })),
        "QueueFullError: the queue is full: 3 tasks may wait"
      )
      assert.strictEqual(
        String(new TaskManagerStoppedError()),
        "TaskManagerStoppedError: the task manager has been shut down and takes no new task"
      )
      const cancelled = yield* tasks.submit(Effect.never, { name: "mail" })
      yield* Effect.yieldNow
      yield* cancelled.cancel
      assert.strictEqual(
        String(yield* Effect.flip(cancelled.join)),
        "TaskAbortedError: mail was aborted (cancelled) after 1 attempt"
      )
      const failing = yield* tasks.submit(new TooFar({ message: "too far\nand more" }), {
        name: "mail",
        retry: Schedule.recurs(1)
      })
      const outcome = yield* failing.await
      assert.strictEqual(
        outcome._tag === "Failed" ? String(outcome.error) : outcome._tag,
        "TaskFailedError: mail failed after 2 attempts: TooFar: too far"
      )
    }).pipe(Effect.provide(one)))
})

describe("handles", () => {
  it.effect("two handles are not equal, though one task may have several", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const [a, b] = [yield* tasks.submit(Effect.void), yield* tasks.submit(Effect.void)]
      assert.isFalse(Equal.equals(a, b))
      const [c, d] = [yield* tasks.submit(Effect.never, { key: "k" }), yield* tasks.submit(Effect.never, { key: "k" })]
      assert.strictEqual(c.id, d.id)
      yield* d.cancel
      assert.strictEqual(yield* c.state, "aborted")
    }).pipe(Effect.provide(one)))

  it.effect("can be taken apart: each of their effects works alone, and again", () =>
    Effect.gen(function*() {
      const { await: end, cancel, id, join, name, state } = yield* TaskManager.submit(Effect.succeed(1), { name: "a" })
      assert.deepStrictEqual([id, name], ["1", "a"])
      assert.strictEqual(yield* join, 1)
      assert.strictEqual(yield* join, 1)
      assert.strictEqual((yield* end)._tag, "Completed")
      assert.strictEqual(yield* state, "completed")
      assert.isFalse(yield* cancel)
    }).pipe(Effect.provide(one)))

  it.effect("are of use after the manager's scope has closed", () =>
    Effect.gen(function*() {
      const [done, aborted] = yield* Effect.all([
        TaskManager.submit(Effect.succeed(1)),
        TaskManager.submit(Effect.never, { delay: "1 hour" })
      ]).pipe(Effect.provide(TaskManager.layer({ gracePeriod: "1 second" })))
      assert.strictEqual(yield* done.join, 1)
      assert.strictEqual((yield* Effect.flip(aborted.join)).reason, "shutdown")
      assert.isFalse(yield* aborted.cancel)
    }))
})
