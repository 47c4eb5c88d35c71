import {
  CurrentTask,
  type TaskFailedError,
  type TaskHandle,
  TaskManager,
  type TaskManagerOptions
} from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Data, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule } from "effect"
import { TestClock } from "effect/testing"

class MailError extends Data.TaggedError("MailError")<{ readonly code: number; readonly cause?: unknown }> {
  override get message() {
    return `smtp said ${this.code}`
  }
}

const layer = (options?: TaskManagerOptions) => Layer.merge(TaskManager.layer(options), Logger.layer([]))
const manager = layer({ workers: 1, gracePeriod: 0 })

const failureOf = <E>(handle: TaskHandle<unknown, E>): Effect.Effect<TaskFailedError<E>> =>
  Effect.map(handle.await, (outcome) => {
    if (outcome._tag !== "Failed") throw new Error(`expected a failed task, got ${outcome._tag}`)
    return outcome.error
  })

/** What a reason says: `Fail boom`. */
const text = (reason: Cause.Reason<unknown>): string => {
  const value = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : ""
  return `${reason._tag} ${value instanceof Error ? value.message : String(value)}`
}

const texts = (cause: Cause.Cause<unknown> | undefined): ReadonlyArray<string> => cause?.reasons.map(text) ?? []

/** Fails with "error 1", "error 2", ... */
const failing = Effect.suspend(() => {
  let n = 0
  return Effect.succeed(Effect.suspend(() => Effect.fail(`error ${++n}`)))
})

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe("the one Cause of a failed task", () => {
  it.effect("has the attempts' own reasons in order, and their numbers where it is told to people", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const errors = [new MailError({ code: 421 }), new MailError({ code: 450 }), new MailError({ code: 550 })]
      let attempts = 0
      const task = Effect.suspend(() => Effect.fail(errors[attempts++]!))
      const failure = yield* failureOf(yield* tasks.submit(task, { name: "mail", retry: Schedule.recurs(2) }))
      assert.deepStrictEqual(failure.cause.reasons, errors.map((error) => Cause.makeFailReason(error)))
      assert.strictEqual(failure.message, "mail failed after 3 attempts: MailError: smtp said 550")
      assert.strictEqual(failure.attempts, 3)
      const [info] = yield* tasks.list()
      assert.deepStrictEqual(texts(info!.cause), [
        "Fail attempt 1: smtp said 421",
        "Fail attempt 2: smtp said 450",
        "Fail attempt 3: smtp said 550"
      ])
      assert.match(Cause.pretty(info!.cause!), /^MailError: attempt 1: smtp said 421\n +at /)
    }).pipe(Effect.provide(manager)))

  for (const attempts of [1, 8, 9, 15, 16, 17, 18, 300]) {
    it.effect(`of ${attempts} attempts has at most the first 8 and the last 8, and says how many it left out`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const seen: Array<Cause.Cause<string>> = []
        const failure = yield* failureOf(
          yield* tasks.submit(yield* failing, {
            retry: Schedule.recurs(attempts - 1),
            onFailed: (cause) => Effect.sync(() => seen.push(cause))
          })
        )
        const gap = attempts > 16
          ? [`Die ${attempts - 16} more ${attempts === 17 ? "attempt" : "attempts"} in between`]
          : []
        const first = range(1, Math.min(8, attempts))
        const last = range(Math.max(9, attempts - 7), attempts)
        const expected = (mark: (n: number) => string) => [...first.map(mark), ...gap, ...last.map(mark)]
        assert.deepStrictEqual(texts(failure.cause), expected((n) => `Fail error ${n}`))
        const [info] = yield* tasks.list()
        assert.deepStrictEqual(texts(info!.cause), expected((n) => `Fail attempt ${n}: error ${n}`))
        assert.deepStrictEqual(seen, [failure.cause])
        assert.strictEqual(failure.attempts, attempts)
      }).pipe(Effect.provide(manager)))
  }

  it.effect("keeps equal failures apart, and the same one too", () =>
    Effect.gen(function*() {
      const error = new MailError({ code: 421 })
      for (const failed of ["boom", error, { a: 1 }]) {
        const handle = yield* TaskManager.submit(Effect.fail(failed), { retry: Schedule.recurs(4) })
        const failure = yield* failureOf(handle)
        assert.strictEqual(failure.cause.reasons.length, 5)
      }
    }).pipe(Effect.provide(manager)))

  it.effect("has every reason of an attempt that failed for several", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const both = Cause.fromReasons<string>([
        Cause.makeDieReason("first"),
        Cause.makeInterruptReason(7),
        Cause.makeFailReason("second"),
        Cause.makeFailReason("second")
      ])
      const failure = yield* failureOf(yield* tasks.submit(Effect.failCause(both), { retry: Schedule.recurs(1) }))
      assert.deepStrictEqual(texts(failure.cause), ["Die first", "Interrupt ", "Fail second", "Fail second"])
      const [info] = yield* tasks.list()
      assert.deepStrictEqual(texts(info!.cause), [
        "Die attempt 1: first",
        "Die attempt 1: interrupted itself",
        "Fail attempt 1: second",
        "Fail attempt 1: second"
      ])
    }).pipe(Effect.provide(manager)))

  it.effect("is no part of what join fails with: that is the last attempt's own cause", () =>
    Effect.gen(function*() {
      for (
        const [first, last] of [
          [Cause.fail("a"), Cause.fail("b")],
          [Cause.fail("a"), Cause.die("b")],
          [Cause.fail("a"), Cause.interrupt(7)],
          [Cause.fail("a"), Cause.combine(Cause.fail("b"), Cause.die("c"))]
        ] as const
      ) {
        let attempts = 0
        const task = Effect.suspend(() => Effect.failCause(++attempts === 1 ? first : last))
        const handle = yield* TaskManager.submit(task, { retry: Schedule.recurs(1) })
        assert.deepStrictEqual(yield* Effect.exit(handle.join), Exit.failCause(last))
        assert.deepStrictEqual(yield* Effect.exit(handle.join), Exit.failCause(last))
      }
    }).pipe(Effect.provide(manager)))

  it.effect("leaves the errors of the task as they are", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const inner = new Error("inner")
      const errors = [
        new MailError({ code: 421, cause: inner }),
        new Error("outer", { cause: inner }),
        Object.freeze(new Error("frozen")),
        Object.defineProperty(new Error("read-only"), "message", { writable: false }),
        { message: "plain", name: "Plain", stack: "Plain: plain\n    at home" },
        ["a"]
      ]
      const looks = (error: object) => [Object.getOwnPropertyDescriptors(error), Object.getPrototypeOf(error)]
      const before = [inner, ...errors].map(looks)
      for (const error of errors) {
        yield* (yield* tasks.submit(Effect.fail(error), { retry: Schedule.recurs(1) })).await
        yield* (yield* tasks.submit(Effect.die(error), { error: () => error })).await
      }
      for (const { cause } of yield* tasks.list({ state: "failed" })) Cause.pretty(cause!)
      assert.deepStrictEqual([inner, ...errors].map(looks), before)
    }).pipe(Effect.provide(manager)))

  it.effect("of an aborted task has the attempts that failed before, and is empty when none did", () =>
    Effect.gen(function*() {
      const retry = Schedule.spaced("1 minute")
      const handle = yield* TaskManager.submit(yield* failing, { retry })
      yield* TestClock.adjust("90 seconds")
      yield* handle.cancel
      const error = yield* Effect.flip(handle.join)
      assert.isTrue(typeof error === "object")
      if (typeof error === "string") return
      assert.deepStrictEqual(texts(error.failures), ["Fail attempt 1: error 1", "Fail attempt 2: error 2"])
      assert.strictEqual(error.attempts, 2)
      const early = yield* TaskManager.submit(Effect.never)
      yield* early.cancel
      assert.deepStrictEqual((yield* Effect.flip(early.join)).failures, Cause.empty)
    }).pipe(Effect.provide(manager)))

  it.effect("tells how long it took from admission to the last failure", () =>
    Effect.gen(function*() {
      const task = Effect.andThen(Effect.sleep("1 second"), Effect.fail("x"))
      const retry = Schedule.upTo(Schedule.spaced("1 minute"), { times: 1 })
      yield* TaskManager.submit(Effect.sleep("1 hour"))
      const handle = yield* TaskManager.submit(task, { retry })
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(Duration.toMillis((yield* failureOf(handle)).duration), 3_662_000)
    }).pipe(Effect.provide(manager)))
})

describe("error", () => {
  it.effect("is asked once, of a task that failed for good, and heads its message", () =>
    Effect.gen(function*() {
      let asked = 0
      const error = () => {
        asked++
        return new MailError({ code: 550 })
      }
      const handle = yield* TaskManager.submit(Effect.fail("x"), { name: "mail", retry: Schedule.recurs(3), error })
      const failure = yield* failureOf(handle)
      yield* Effect.exit(handle.join)
      assert.strictEqual(asked, 1)
      assert.strictEqual(failure.message, "mail failed after 4 attempts: MailError: smtp said 550")
      assert.instanceOf(failure.error, MailError)
      yield* Effect.exit(TaskManager.run(Effect.fail("x"), { error }))
      assert.strictEqual(asked, 2)
    }).pipe(Effect.provide(manager)))

  it.effect("is not asked of a task that completes, that waits for a retry, or that is aborted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const options = {
        retry: Schedule.spaced("1 second"),
        error: (): never => {
          throw new Error("asked")
        }
      }
      let attempts = 0
      const twice = Effect.suspend(() => ++attempts === 3 ? Effect.succeed("ok") : Effect.fail("x"))
      const completed = yield* tasks.submit(twice, options)
      const cancelled = yield* tasks.submit(Effect.never, options)
      const delayed = yield* tasks.submit(Effect.fail("x"), options)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* completed.join, "ok")
      yield* cancelled.cancel
      yield* TestClock.adjust("10 seconds")
      yield* delayed.cancel
      for (const handle of [cancelled, delayed]) assert.strictEqual(yield* handle.state, "aborted")
    }).pipe(Effect.provide(layer({ workers: 3, gracePeriod: 0 }))))

  it.effect("that throws is told by what it threw", () =>
    Effect.gen(function*() {
      const thrown = new TypeError("no user")
      const failure = yield* failureOf(
        yield* TaskManager.submit(Effect.fail("x"), {
          name: "mail",
          error: () => {
            throw thrown
          }
        })
      )
      assert.strictEqual(failure.error, thrown)
      assert.strictEqual(failure.message, "mail failed after 1 attempt: TypeError: no user")
      assert.deepStrictEqual(texts(failure.cause), ["Fail x"])
    }).pipe(Effect.provide(manager)))

  it.effect("may be any value; undefined is none", () =>
    Effect.gen(function*() {
      for (
        const [error, message] of [
          ["no such user\nmore", "no such user"],
          [undefined, "x"],
          [null, "Unknown error: null"],
          [42, "42"],
          [{ user: 7 }, "{\"user\":7}"]
        ]
      ) {
        const failure = yield* failureOf(yield* TaskManager.submit(Effect.fail("x"), { error: () => error }))
        assert.strictEqual(failure.error, error)
        assert.strictEqual(failure.message, `task failed after 1 attempt: ${message}`)
      }
    }).pipe(Effect.provide(manager)))

  it.effect("has the stack of where it was made; the report that carries it has none", () =>
    Effect.gen(function*() {
      const failure = yield* failureOf(
        yield* TaskManager.submit(Effect.fail("x"), { name: "mail", error: () => new Error("no user") })
      )
      assert.match((failure.error as Error).stack!, /failure\.test\.ts/)
      assert.notMatch(failure.stack!, /\n/)
    }).pipe(Effect.provide(manager)))
})

class Postmaster extends Context.Service<Postmaster, Array<string>>()("test/Postmaster") {}

describe("onFailed", () => {
  it.effect("runs once after the last attempt, with its Cause, and the task settles after it", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<unknown> = []
      const task = yield* failing
      const handle = yield* tasks.submit(Effect.tapError(task, (error) => Effect.sync(() => log.push(error))), {
        retry: Schedule.recurs(1),
        onFailed: (cause) => Effect.delay(Effect.sync(() => log.push(texts(cause))), "1 second")
      })
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual([log, yield* handle.state], [["error 1", "error 2"], "running"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([log.slice(2), yield* handle.state], [[["Fail error 1", "Fail error 2"]], "failed"])
    }).pipe(Effect.provide(manager)))

  it.effect("is not run for a task that completes or is aborted", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let ran = 0
      const options = { retry: Schedule.spaced("1 minute"), onFailed: () => Effect.sync(() => ran++) }
      yield* tasks.submit(Effect.void, options)
      const cancelled = yield* tasks.submit(Effect.never, options)
      yield* TestClock.adjust(1)
      yield* cancelled.cancel
      const delayed = yield* tasks.submit(Effect.fail("x"), options)
      yield* TestClock.adjust(1)
      yield* delayed.cancel
      yield* tasks.awaitIdle
      assert.strictEqual(ran, 0)
    }).pipe(Effect.provide(manager)))

  it.effect("keeps the worker, and run's caller, until it has ended", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const caller = yield* Effect.forkChild(
        Effect.exit(tasks.run(Effect.fail("x"), { onFailed: () => Effect.sleep("1 second") })),
        { startImmediately: true }
      )
      const next = yield* tasks.submit(Effect.never)
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual([caller.pollUnsafe(), yield* next.state], [undefined, "waiting"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(caller), Exit.fail("x"))
      assert.strictEqual(yield* next.state, "running")
    }).pipe(Effect.provide(manager)))

  it.effect("has the submitter's services, CurrentTask, and a scope of its own", () =>
    Effect.gen(function*() {
      const letters: Array<string> = []
      const handle = yield* TaskManager.submit(Effect.fail("x"), {
        name: "mail",
        onFailed: (cause) =>
          Effect.gen(function*() {
            const { attempts, name, state } = yield* CurrentTask
            const box = yield* Postmaster
            yield* Effect.addFinalizer(() => Effect.sync(() => box.push("closed")))
            box.push(`${name} ${state} ${attempts} ${texts(cause).join()}`)
          })
      }).pipe(Effect.provideService(Postmaster, letters))
      yield* handle.await
      assert.deepStrictEqual(letters, ["mail running 1 Fail x", "closed"])
    }).pipe(Effect.provide(manager)))

  it.effect("may submit to the manager, and await what it submits, at one worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const log: Array<string> = []
      const handle = yield* tasks.submit(Effect.fail("x"), {
        onFailed: () =>
          tasks.run(Effect.sync(() => log.push("inner"))).pipe(
            Effect.andThen(Effect.sync(() => log.push("outer"))),
            Effect.orDie
          )
      })
      assert.strictEqual((yield* handle.await)._tag, "Failed")
      assert.deepStrictEqual(log, ["inner", "outer"])
    }).pipe(Effect.provide(manager)))

  const broken: Record<string, () => Effect.Effect<unknown>> = {
    "dies": () => Effect.die("hook"),
    "throws": () => {
      throw new Error("hook")
    },
    // SAFETY: the types forbid the next three; a cast or plain JavaScript may still do them.
    "fails": () => Effect.fail("hook") as never,
    "gives no Effect": () => undefined as never,
    "gives a promise": () => Promise.resolve() as never,
    "interrupts itself": () => Effect.interrupt
  }
  for (const [name, onFailed] of Object.entries(broken)) {
    it.effect(`that ${name} changes neither the outcome nor the worker`, () =>
      Effect.gen(function*() {
        const handle = yield* TaskManager.submit(Effect.fail("x"), { name: "mail", onFailed })
        const failure = yield* failureOf(handle)
        assert.strictEqual(failure.message, "mail failed after 1 attempt: x")
        assert.deepStrictEqual(texts(failure.cause), ["Fail x"])
        assert.deepStrictEqual(yield* Effect.exit(handle.join), Exit.fail("x"))
        assert.strictEqual(yield* TaskManager.run(Effect.succeed("next")), "next")
      }).pipe(Effect.provide(manager)))
  }

  const endings: Record<string, (handle: TaskHandle<never, string>) => Effect.Effect<unknown, never, TaskManager>> = {
    "a cancel, which then gives false": (handle) => Effect.map(handle.cancel, (aborted) => assert.isFalse(aborted)),
    "the end of its time to live": () => TestClock.adjust("9 minutes"),
    "a shutdown": () => TaskManager.use((tasks) => tasks.shutdown({ gracePeriod: 0 }))
  }
  for (const [name, end] of Object.entries(endings)) {
    it.effect(`that never ends is ended by ${name}: the task has failed all the same`, () =>
      Effect.gen(function*() {
        const interrupted: Array<string> = []
        const handle = yield* TaskManager.submit(Effect.fail("x"), {
          timeToLive: "10 minutes",
          onFailed: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push("hook")))
        })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* handle.state, "running")
        yield* end(handle)
        assert.deepStrictEqual(texts((yield* failureOf(handle)).cause), ["Fail x"])
        assert.deepStrictEqual(interrupted, ["hook"])
        const { aborted, failed } = yield* (yield* TaskManager).stats
        assert.deepStrictEqual({ aborted, failed }, { aborted: 0, failed: 1 })
      }).pipe(Effect.provide(manager)))
  }

  it.effect("is waited for by a cancel until its finalizers have run", () =>
    Effect.gen(function*() {
      const handle = yield* TaskManager.submit(Effect.fail("x"), {
        onFailed: () => Effect.ensuring(Effect.never, Effect.sleep("1 second"))
      })
      yield* TestClock.adjust(1)
      const cancelling = yield* Effect.forkChild(handle.cancel, { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual([cancelling.pollUnsafe(), yield* handle.state], [undefined, "running"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([yield* Fiber.join(cancelling), yield* handle.state], [false, "failed"])
    }).pipe(Effect.provide(manager)))

  it.effect("is ended at once when the cancel came after the failure, while the attempt's finalizers ran", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const task = Effect.andThen(Effect.addFinalizer(() => Deferred.await(gate)), Effect.fail("x"))
      const hook = Effect.andThen(Effect.sync(() => log.push("begun")), Effect.never)
      const handle = yield* TaskManager.submit(task, {
        onFailed: () => Effect.onInterrupt(hook, () => Effect.sync(() => log.push("interrupted")))
      })
      yield* TestClock.adjust(1)
      const cancelling = yield* Effect.forkChild(handle.cancel, { startImmediately: true })
      yield* Deferred.succeed(gate, undefined)
      assert.isFalse(yield* Fiber.join(cancelling))
      assert.deepStrictEqual(log, ["begun", "interrupted"])
      assert.deepStrictEqual(texts((yield* failureOf(handle)).cause), ["Fail x"])
    }).pipe(Effect.provide(manager)))
})
