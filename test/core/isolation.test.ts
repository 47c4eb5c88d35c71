import { TaskManager, type TaskOutcome } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Exit, Fiber, Latch, Layer, Logger, Option, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"

class MailError extends Data.TaggedError("MailError")<{ readonly code: number }> {}

const quiet = Logger.layer([])
const withWorkers = (workers: number) => Layer.merge(TaskManager.layer({ workers }), quiet)
const single = withWorkers(1)

const thrower = (what: string) => () => {
  throw new Error(`the ${what} threw`)
}

const selfCaused = (): Error => {
  const error = new Error("circular")
  error.cause = new Error("inner", { cause: error })
  return error
}

class Endless extends Error {
  override get cause(): unknown {
    return new Endless("again")
  }
}

/** What a task may fail with: anything. */
const failures: Record<string, unknown> = {
  "an Error": new Error("boom"),
  "a tagged error": new MailError({ code: 550 }),
  "undefined": undefined,
  "null": null,
  "false": false,
  "an empty string": "",
  "a number": 0,
  "a bigint": 1n,
  "a symbol": Symbol("boom"),
  "a function": () => "boom",
  "an array": ["a", 1],
  "an object without a prototype": Object.create(null),
  "an object with a bigint": { code: 1n },
  "an error whose message is a getter that throws": Object.defineProperty(new Error(), "message", {
    get: thrower("message")
  }),
  "an error whose stack is a getter that throws": Object.defineProperty(new Error(), "stack", {
    get: thrower("stack")
  }),
  "an error whose stack is not a string": Object.assign(new Error(), { stack: 1 }),
  "an error with a field that throws": Object.defineProperty(new Error("field"), "field", {
    enumerable: true,
    get: thrower("field")
  }),
  "an object whose toString throws": { toString: thrower("toString") },
  "an object whose toJSON throws": { toJSON: thrower("toJSON") },
  "an object whose name and cause throw": {
    get name() {
      return thrower("name")()
    },
    get cause() {
      return thrower("cause")()
    }
  },
  "a proxy that refuses everything": new Proxy({}, {
    get: thrower("get"),
    has: thrower("has"),
    ownKeys: thrower("keys")
  }),
  "a revoked proxy": (() => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  })(),
  "a frozen error": Object.freeze(new Error("frozen")),
  "an error whose message is read-only": Object.defineProperty(new Error(), "message", { value: "read-only" }),
  "an error that is its own cause": selfCaused(),
  "an invalid Date": new Date(NaN),
  "an Effect": Effect.fail("boom"),
  "a Cause": Cause.fail("boom"),
  "an Exit": Exit.fail("boom")
}

/** Runs the task on the only worker, then another one on it. */
const outcomeOf = (task: Effect.Effect<unknown, unknown, Scope.Scope>): Effect.Effect<
  TaskOutcome<unknown, unknown>,
  unknown,
  TaskManager
> =>
  Effect.gen(function*() {
    const tasks = yield* TaskManager
    const outcome = yield* (yield* tasks.submit(task)).await
    assert.strictEqual(yield* tasks.run(Effect.succeed("next")), "next")
    const { completed, failed, submitted } = yield* tasks.stats
    assert.deepStrictEqual({ completed, failed, submitted }, { completed: 1, failed: 1, submitted: 2 })
    return outcome
  })

const reasonsOf = (outcome: TaskOutcome<unknown, unknown>): ReadonlyArray<Cause.Reason<unknown>> => {
  assert.strictEqual(outcome._tag, "Failed")
  return outcome._tag === "Failed" ? outcome.error.cause.reasons : []
}

const messageOf = (outcome: TaskOutcome<unknown, unknown>): string =>
  outcome._tag === "Failed" ? outcome.error.message : outcome._tag

describe("isolation", () => {
  for (const [name, failure] of Object.entries(failures)) {
    it.effect(`${name} as a failure or a defect costs no worker, and the outcome holds that very value`, () =>
      Effect.gen(function*() {
        const [fail] = reasonsOf(yield* Effect.provide(outcomeOf(Effect.fail(failure)), single))
        assert.isTrue(fail !== undefined && Cause.isFailReason(fail) && Object.is(fail.error, failure))
        const [die] = reasonsOf(yield* Effect.provide(outcomeOf(Effect.die(failure)), single))
        assert.isTrue(die !== undefined && Cause.isDieReason(die) && Object.is(die.defect, failure))
      }))

    it.effect(`${name} is described in messages, in list and in the shutdown report`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const handle = yield* tasks.submit(Effect.fail(failure), { name: "mail" })
        assert.match(messageOf(yield* handle.await), /^mail failed after 1 attempt: ./)
        const own = yield* tasks.submit(Effect.fail("boom"), { name: "mail", error: () => failure })
        assert.match(messageOf(yield* own.await), /^mail failed after 1 attempt: ./)
        for (const { cause } of yield* tasks.list({ state: "failed" })) assert.match(Cause.pretty(cause!), /attempt 1/)
        yield* tasks.submit(Effect.andThen(Effect.sleep("1 second"), Effect.fail(failure)))
        const closing = yield* Effect.forkChild(tasks.shutdown())
        yield* TestClock.adjust("1 second")
        const { cause, unfinished } = yield* Fiber.join(closing)
        assert.strictEqual(unfinished.length, 1)
        assert.isTrue(Option.isSome(cause))
      }).pipe(Effect.provide(single)))
  }

  const die = (name: string) => Effect.addFinalizer(() => Effect.die(name))
  const endings: Record<string, Effect.Effect<unknown, unknown, Scope.Scope>> = {
    "throws": Effect.sync(thrower("task")),
    "throws while it is built": Effect.suspend(thrower("task")),
    "throws in a generator": Effect.gen(thrower("task")),
    "rejects": Effect.promise(() => Promise.reject(new Error("rejected"))),
    "overflows the stack": Effect.sync(function overflow(): number {
      return 1 + overflow()
    }),
    "gives no Effect": Effect.suspend(() => 1 as never),
    "fails with no reason at all": Effect.failCause(Cause.empty),
    "fails and dies": Effect.failCause(Cause.combine(Cause.fail("a"), Cause.die("b"))),
    "fails and is interrupted": Effect.failCause(Cause.combine(Cause.fail("a"), Cause.interrupt(1))),
    "interrupts itself": Effect.interrupt,
    "interrupts its own fiber": Effect.withFiber((fiber) =>
      Effect.andThen(Effect.sync(() => fiber.interruptUnsafe()), Effect.never)
    ),
    "is interrupted by its child": Effect.withFiber((fiber) =>
      Effect.andThen(Effect.forkChild(Fiber.interrupt(fiber)), Effect.never)
    ),
    "joins an interrupted fiber": Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.never)
      yield* Fiber.interrupt(fiber)
      return yield* Fiber.join(fiber)
    }),
    "dies in ensuring after it failed": Effect.ensuring(Effect.fail("body"), Effect.die("finalizer")),
    "dies in its finalizer": die("finalizer"),
    "dies in its finalizer after it failed": Effect.andThen(die("finalizer"), Effect.fail("body")),
    "dies in its finalizer after it died": Effect.andThen(die("finalizer"), Effect.die("body")),
    "dies in its finalizer after it interrupted itself": Effect.andThen(die("finalizer"), Effect.interrupt),
    "dies in two finalizers": Effect.andThen(die("last"), Effect.andThen(die("first"), Effect.fail("body"))),
    "throws in its finalizer": Effect.andThen(Effect.addFinalizer(thrower("finalizer")), Effect.fail("body")),
    "interrupts itself in its finalizer": Effect.addFinalizer(() => Effect.interrupt),
    "closes its own scope": Effect.flatMap(
      Effect.scope,
      (scope) => Effect.andThen(Scope.close(scope as Scope.Closeable, Exit.void), Effect.fail("body"))
    )
  }

  /** What a reason is, without what differs from run to run. */
  const plain = (reason: Cause.Reason<unknown>): ReadonlyArray<unknown> =>
    Cause.isInterruptReason(reason)
      ? [reason._tag]
      : [reason._tag, String(Cause.isFailReason(reason) ? reason.error : reason.defect)]

  for (const [name, task] of Object.entries(endings)) {
    it.effect(`a task that ${name} fails alone, with the cause that Effect.scoped gives it`, () =>
      Effect.gen(function*() {
        const exit = yield* Fiber.await(yield* Effect.forkDetach(Effect.scoped(task)))
        assert.isTrue(Exit.isFailure(exit))
        const reasons = reasonsOf(yield* outcomeOf(task))
        assert.deepStrictEqual(reasons.map(plain), Exit.isFailure(exit) ? exit.cause.reasons.map(plain) : [])
      }).pipe(Effect.provide(single)))
  }

  for (
    const [name, options] of Object.entries({
      "a finalizer": {},
      "the error option": { error: () => Fiber.getCurrent()!.interruptUnsafe() }
    })
  ) {
    it.effect(`${name} that interrupts the fiber it finds itself in does not meet the worker`, () =>
      Effect.gen(function*() {
        const tasks = yield* TaskManager
        const task = Effect.andThen(
          Effect.addFinalizer(() => {
            Fiber.getCurrent()!.interruptUnsafe()
            return Effect.void
          }),
          Effect.fail("x")
        )
        yield* (yield* tasks.submit(task, options)).await
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* tasks.run(Effect.succeed("next")), "next")
      }).pipe(Effect.provide(single)))
  }

  it.effect("an error whose causes never end, and 20,000 reasons, cost no worker", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 20_000 }, (_, i) => Cause.makeFailReason(i))
      assert.strictEqual(
        reasonsOf(yield* Effect.provide(outcomeOf(Effect.fail(new Endless("first"))), single)).length,
        1
      )
      const outcome = yield* Effect.provide(outcomeOf(Effect.failCause(Cause.fromReasons(many))), single)
      assert.strictEqual(reasonsOf(outcome).length, 20_000)
    }))

  it.effect("every worker is there after each of them has met every failure", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const workers = 3
      for (const failure of Object.values(failures)) {
        yield* Effect.forEach(
          Array.from({ length: workers }),
          () => Effect.exit(tasks.run(Effect.andThen(Effect.yieldNow, Effect.fail(failure))))
        )
      }
      for (const task of Object.values(endings)) {
        yield* Effect.forEach(Array.from({ length: workers }), () => Effect.exit(tasks.run(Effect.scoped(task))), {
          concurrency: workers
        })
      }
      const arrived = yield* Latch.make()
      let running = 0
      const meet = Effect.suspend(() => ++running === workers ? Latch.open(arrived) : Latch.await(arrived))
      yield* Effect.forEach(Array.from({ length: workers }), () => tasks.run(meet), { concurrency: workers })
      assert.strictEqual(running, workers)
    }).pipe(Effect.provide(withWorkers(3))))

  it.effect("a defect or a self-interruption ends the task without a retry, a typed failure does not", () =>
    Effect.gen(function*() {
      const attempts = { fail: 0, die: 0, interrupt: 0, "fail and die": 0, "fail and interrupt": 0 }
      const causes = {
        fail: Cause.fail("x"),
        die: Cause.die("x"),
        interrupt: Cause.interrupt(1),
        "fail and die": Cause.combine(Cause.fail("x"), Cause.die("x")),
        "fail and interrupt": Cause.combine(Cause.fail("x"), Cause.interrupt(1))
      }
      for (const key of Object.keys(attempts) as Array<keyof typeof attempts>) {
        const task = Effect.suspend(() => {
          attempts[key]++
          return Effect.failCause(causes[key])
        })
        const handle = yield* TaskManager.submit(task, { retry: Schedule.recurs(2) })
        assert.strictEqual((yield* handle.await)._tag, "Failed")
      }
      assert.deepStrictEqual(attempts, { fail: 3, die: 1, interrupt: 1, "fail and die": 1, "fail and interrupt": 3 })
    }).pipe(Effect.provide(single)))

  it.effect("a failing task leaves those beside it alone", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<string>()
      const beside = yield* tasks.submit(Deferred.await(gate))
      for (const cause of [Cause.fail("x"), Cause.die("x"), Cause.interrupt()]) {
        yield* Effect.exit(tasks.run(Effect.failCause(cause)))
      }
      assert.strictEqual(yield* beside.state, "running")
      yield* Deferred.succeed(gate, "alive")
      assert.strictEqual(yield* beside.join, "alive")
    }).pipe(Effect.provide(withWorkers(2))))

  it.effect("what becomes of the options after the submit does not reach the task", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.pause
      const options: Record<string, unknown> = {
        name: "mail",
        key: "a",
        group: "g",
        retry: Schedule.recurs(2),
        error: () => "no mail"
      }
      const handle = yield* tasks.submit(Effect.fail("x"), options)
      for (const key of Object.keys(options)) options[key] = 0
      options.onFailed = thrower("hook")
      const [info] = yield* tasks.list()
      assert.deepStrictEqual([info!.name, info!.key, info!.group], ["mail", "a", "g"])
      yield* tasks.resume
      assert.strictEqual(messageOf(yield* handle.await), "mail failed after 3 attempts: no mail")
      assert.strictEqual((yield* tasks.get(handle.id)).pipe(Option.getOrThrow).key, "a")
    }).pipe(Effect.provide(single)))

  it.effect("options that throw when they are read a second time cost no worker", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const onceReadable = (value: unknown) => {
        let reads = 0
        return () => reads++ === 0 ? value : thrower("option")()
      }
      const options = {}
      for (const [key, value] of Object.entries({ name: "mail", retry: Schedule.recurs(1), error: () => "no mail" })) {
        Object.defineProperty(options, key, { enumerable: true, get: onceReadable(value) })
      }
      const handle = yield* tasks.submit(Effect.fail("x"), options)
      assert.strictEqual(messageOf(yield* handle.await), "mail failed after 2 attempts: no mail")
      const schedule = Object.defineProperty({ times: 1 }, "while", { get: onceReadable(() => true) })
      assert.strictEqual((yield* (yield* tasks.submit(Effect.fail("x"), { retry: schedule })).await)._tag, "Failed")
      assert.strictEqual(yield* tasks.run(Effect.succeed("next")), "next")
    }).pipe(Effect.provide(single)))
})
