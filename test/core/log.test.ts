import { TaskFailedError, TaskManager, type TaskManagerOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, ErrorReporter, Fiber, Layer, Logger, References, Schedule } from "effect"
import { TestClock } from "effect/testing"

interface Entry {
  readonly level: string
  readonly message: unknown
  readonly cause: Cause.Cause<unknown>
  readonly annotations: Readonly<Record<string, unknown>>
}

const collect = (entries: Array<Entry>) =>
  Logger.make(({ cause, fiber, logLevel, message }) =>
    void entries.push({ level: logLevel, message, cause, annotations: fiber.getRef(References.CurrentLogAnnotations) })
  )

const short = (entries: ReadonlyArray<Entry>) =>
  entries.map(({ cause, level, message }) => [level, message, cause.reasons.length])

const atDebug = Effect.provideService(References.MinimumLogLevel, "Debug")

/** Runs with a manager of its own whose entries, and those of its tasks, are collected. */
const logged = <A, E>(
  use: (entries: Array<Entry>) => Effect.Effect<A, E, TaskManager>,
  options: TaskManagerOptions = { workers: 1, gracePeriod: 0 }
) =>
  Effect.suspend(() => {
    const entries: Array<Entry> = []
    const layer = Layer.provideMerge(TaskManager.layer(options), Logger.layer([collect(entries)]))
    return Effect.provide(use(entries), layer)
  })

const pretty = (entry: Entry | undefined): string => Cause.pretty(entry!.cause)

describe("a failed task's log entry", () => {
  it.effect("is one, an error, with the task in its annotations and the whole Cause", () =>
    logged((entries) =>
      Effect.gen(function*() {
        let attempts = 0
        const head = { _tag: "NoMail", user: 7 }
        const handle = yield* TaskManager.submit(Effect.suspend(() => Effect.fail(`error ${++attempts}`)), {
          name: "mail",
          retry: Schedule.recurs(2),
          error: () => head,
          onFailed: () => Effect.die("hook")
        }).pipe(Effect.annotateLogs("request", "r1"))
        const outcome = yield* handle.await
        assert.deepStrictEqual(short(entries), [["Error", ["task failed"], 5]])
        const [{ annotations, cause }] = entries as [Entry]
        assert.deepStrictEqual(annotations, {
          request: "r1",
          manager: "@effect-tasks/core/TaskManager",
          task: "mail",
          taskId: "1",
          attempts: 3
        })
        const [first] = cause.reasons
        assert.isTrue(first !== undefined && Cause.isFailReason(first))
        const error = first !== undefined && Cause.isFailReason(first) ? first.error : undefined
        assert.instanceOf(error, TaskFailedError)
        assert.strictEqual(error.error, head)
        assert.strictEqual(outcome._tag === "Failed" && outcome.error.message, error.message)
        assert.strictEqual(
          Cause.pretty(cause),
          [
            "TaskFailedError: mail failed after 3 attempts: {\"_tag\":\"NoMail\",\"user\":7}",
            "Error: attempt 1: error 1",
            "Error: attempt 2: error 2",
            "Error: attempt 3: error 3",
            "Error: hook"
          ].join("\n")
        )
      })
    ))

  it.effect("is there before the task counts as failed, and before join goes on", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const states: Array<unknown> = []
        const logger = Logger.make(() => void states.push(Effect.runSync(tasks.stats).failed))
        const handle = yield* Effect.provide(tasks.submit(Effect.fail("x")), Logger.layer([logger, collect(entries)]))
        const seen = yield* Effect.map(Effect.exit(handle.join), () => entries.length)
        assert.deepStrictEqual([seen, states], [1, [0]])
      })
    ))

  it.effect("goes to the submitter's loggers and at its level", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const own: Array<Entry> = []
        const handle = yield* Effect.provide(TaskManager.submit(Effect.fail("x")), Logger.layer([collect(own)]))
        yield* handle.await
        assert.deepStrictEqual([own.length, entries.length], [1, 0])
        const silent = yield* TaskManager.submit(Effect.fail("x")).pipe(
          Effect.provideService(References.MinimumLogLevel, "Fatal")
        )
        yield* silent.await
        assert.deepStrictEqual([own.length, entries.length], [1, 0])
      })
    ))

  for (const [attempts, reasons] of [[16, 17], [17, 18], [1000, 18]] as const) {
    it.effect(`of ${attempts} attempts has ${reasons} reasons`, () =>
      logged((entries) =>
        Effect.gen(function*() {
          const handle = yield* TaskManager.submit(Effect.fail("x"), { retry: Schedule.recurs(attempts - 1) })
          yield* handle.await
          assert.deepStrictEqual(short(entries), [["Error", ["task failed"], reasons]])
          const gap = pretty(entries[0]).split("\n")[9]!.slice("Error: ".length)
          assert.strictEqual(
            gap,
            { 16: "attempt 9: x", 17: "1 more attempt in between", 1000: "984 more attempts in between" }[attempts]
          )
        })
      ))
  }

  it.effect("shows each attempt with its name, its stack and its causes, and no line twice", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const error = new TypeError("first line\nsecond line", { cause: new Error("inner") })
        yield* (yield* TaskManager.submit(Effect.fail(error), { name: "mail" })).await
        const lines = pretty(entries[0]).split("\n")
        assert.strictEqual(lines[0], "TaskFailedError: mail failed after 1 attempt: TypeError: first line")
        assert.strictEqual(lines[1], "TypeError: attempt 1: first line")
        assert.strictEqual(lines[2], "second line")
        assert.match(lines[3]!, /^ +at .*log\.test\.ts/)
        assert.strictEqual(lines.filter((line) => line.includes("second line")).length, 1)
        assert.isTrue(lines.includes("  [cause]: Error: inner"))
      })
    ))

  it.effect("is written though the hook died of something that throws when it is read", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const thrower = {
          get message(): string {
            throw new Error("message")
          },
          toString: () => {
            throw new Error("toString")
          }
        }
        const written: Array<string> = []
        const logger = Logger.make(({ cause }) => void written.push(Cause.pretty(cause)))
        const handle = yield* TaskManager.submit(Effect.fail(thrower), { onFailed: () => Effect.die(thrower) }).pipe(
          Effect.provide(Logger.layer([logger, collect(entries)]))
        )
        yield* handle.await
        assert.deepStrictEqual([written.length, entries.length], [1, 1])
      })
    ))

  it.effect("is not written for an aborted task", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const handle = yield* TaskManager.submit(Effect.fail("x"), { retry: Schedule.spaced("1 minute") })
        yield* TestClock.adjust("150 seconds")
        yield* handle.cancel
        assert.deepStrictEqual(entries, [])
      })
    ))
})

describe("a failure that run takes to its caller", () => {
  it.effect("is a debug line", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const run = Effect.flip(TaskManager.run(Effect.fail("x")))
        assert.strictEqual(yield* run, "x")
        assert.deepStrictEqual(entries, [])
        yield* atDebug(run)
        assert.deepStrictEqual(short(entries), [["Debug", ["task failed"], 2]])
      })
    ))

  it.effect("is a debug line even if a submit holds the task as well", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const gate = yield* Deferred.make<void>()
        const task = Effect.andThen(Deferred.await(gate), Effect.fail("x"))
        yield* tasks.submit(task, { key: "k" })
        const caller = yield* Effect.forkChild(Effect.flip(tasks.run(task, { key: "k" })), { startImmediately: true })
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Fiber.join(caller), "x")
        assert.deepStrictEqual(entries, [])
      })
    ))

  it.effect("is an error again when every run has gone before", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const gate = yield* Deferred.make<void>()
        const task = Effect.andThen(Deferred.await(gate), Effect.fail("x"))
        const handle = yield* tasks.submit(task, { key: "k" })
        const caller = yield* Effect.forkChild(Effect.flip(tasks.run(task, { key: "k" })), { startImmediately: true })
        yield* Fiber.interrupt(caller)
        yield* Deferred.succeed(gate, undefined)
        yield* handle.await
        assert.deepStrictEqual(short(entries), [["Error", ["task failed"], 2]])
      })
    ))

  it.effect("is an error when the run goes while the hook is running: nobody has seen the failure", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const hook = { onFailed: () => Effect.never }
        const caller = yield* Effect.forkChild(tasks.run(Effect.fail("x"), hook), { startImmediately: true })
        yield* TestClock.adjust(1)
        yield* Fiber.interrupt(caller)
        yield* tasks.awaitIdle
        assert.deepStrictEqual(short(entries), [["Error", ["task failed"], 2]])
      })
    ))

  it.effect("is told once when task after task took it", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const inner = tasks.run(tasks.run(Effect.fail("x"), { name: "inner" }), { name: "middle" })
        yield* (yield* tasks.submit(inner, { name: "outer" })).await
        assert.deepStrictEqual(entries.map(({ annotations, level }) => [level, annotations.task]), [["Error", "outer"]])
      })
    ))

  it.effect("joined or awaited by a handle is still an error: the handle may be dropped", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const handle = yield* TaskManager.submit(Effect.fail("x"))
        yield* Effect.exit(handle.join)
        assert.deepStrictEqual(short(entries), [["Error", ["task failed"], 2]])
      })
    ))
})

describe("retries and successes", () => {
  const twice = Effect.suspend(() => {
    let attempts = 0
    return Effect.succeed(Effect.suspend(() => ++attempts < 3 ? Effect.fail("x") : Effect.succeed("done")))
  })
  const options = { name: "mail", retry: Schedule.exponential("1 second") }

  it.effect("are silent by default", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const handle = yield* TaskManager.submit(yield* twice, options)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(yield* handle.join, "done")
        assert.deepStrictEqual(entries, [])
      })
    ))

  it.effect("are debug lines for a submitter that logs at Debug", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const handle = yield* atDebug(TaskManager.submit(yield* twice, options))
        yield* TestClock.adjust("3 seconds")
        yield* handle.join
        assert.deepStrictEqual(short(entries), [
          ["Debug", ["task failed, next attempt in 1000 ms"], 1],
          ["Debug", ["task failed, next attempt in 2000 ms"], 1],
          ["Debug", ["task completed"], 0]
        ])
        assert.deepStrictEqual(entries.map(({ annotations }) => [annotations.task, annotations.attempts]), [
          ["mail", 1],
          ["mail", 2],
          ["mail", 3]
        ])
      })
    ))
})

describe("loggers and reporters", () => {
  const thrower = () => {
    throw new Error("thrown")
  }

  it.effect("may throw: the task settles, the worker goes on, and the report is made all the same", () =>
    logged(() =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const reports: Array<unknown> = []
        const reporter: ErrorReporter.ErrorReporter = {
          [ErrorReporter.TypeId]: ErrorReporter.TypeId,
          report: ({ cause }) => void reports.push(...cause.reasons)
        }
        const submit = Effect.provide(
          tasks.submit(Effect.fail("x")),
          Layer.merge(Logger.layer([Logger.make(thrower)]), ErrorReporter.layer([reporter]))
        )
        const outcome = yield* (yield* submit).await
        assert.deepStrictEqual(reports, [Cause.makeFailReason(outcome._tag === "Failed" && outcome.error)])
        const bad: ErrorReporter.ErrorReporter = { [ErrorReporter.TypeId]: ErrorReporter.TypeId, report: thrower }
        const entries: Array<Entry> = []
        const next = tasks.submit(Effect.fail("x")).pipe(
          Effect.provide(Layer.merge(Logger.layer([collect(entries)]), ErrorReporter.layer([bad])))
        )
        assert.strictEqual((yield* (yield* next).await)._tag, "Failed")
        assert.strictEqual(entries.length, 1)
        assert.strictEqual(yield* tasks.run(Effect.succeed("next")), "next")
      })
    ))

  it.effect("may throw at Debug too", () =>
    logged(() =>
      Effect.gen(function*() {
        const task = yield* Effect.succeed(Effect.fail("x"))
        const loud = Effect.provide(
          atDebug(Effect.exit(TaskManager.run(task, { retry: Schedule.recurs(2) }))),
          Logger.layer([Logger.make(thrower)])
        )
        assert.strictEqual((yield* loud)._tag, "Failure")
        assert.strictEqual(yield* TaskManager.run(Effect.succeed("next")), "next")
      })
    ))

  it.effect("get a report without a stack of its own, and with the attempts as its cause", () =>
    logged(() =>
      Effect.gen(function*() {
        const stacks: Array<unknown> = []
        const reporter = ErrorReporter.make(({ error }) => void stacks.push(error.stack))
        const submit = TaskManager.submit(Effect.die(new Error("boom")), { name: "mail" })
        yield* (yield* Effect.provide(submit, ErrorReporter.layer([reporter]))).await
        assert.deepStrictEqual(stacks, ["TaskFailedError: mail failed after 1 attempt: boom"])
      })
    ))
})

describe("the shutdown's entry", () => {
  it.effect("names each task in a line, whose attempts have been told before", () =>
    logged((entries) =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const late = Effect.andThen(Effect.sleep("1 second"), Effect.fail("boom"))
        yield* tasks.submit(late, { name: "mail" })
        yield* tasks.submit(Effect.fail("421"), { name: "hook", retry: Schedule.spaced("1 hour") })
        yield* TestClock.adjust(1)
        const closing = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: "1 minute" }), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(closing)
        assert.deepStrictEqual(short(entries), [
          ["Error", ["task failed"], 2],
          ["Warn", ["shutdown: 2 tasks did not complete"], 2]
        ])
        assert.deepStrictEqual(pretty(entries[1]).split("\n").toSorted(), [
          "TaskAbortedError: hook was aborted (shutdown) after 1 attempt",
          "TaskFailedError: mail failed after 1 attempt: boom"
        ])
      }), { workers: 2 }))
})
