import { TaskManager, type TaskManagerService } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger, Metric, Schedule, Scope, Stream, Tracer } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")
const gc: () => void = runInNewContext("gc")

/** Lets pending work end, then collects: what only weak references hold is gone afterwards. */
const collect = Effect.promise(async () => {
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    gc()
  }
})

/** Weak references to objects that the tests hand to tasks. */
class Traces {
  readonly #references: Array<WeakRef<object>> = []

  /** Something to hold, which is remembered weakly. */
  make(): { readonly size: number } {
    const trace = { size: 1 }
    this.add(trace)
    return trace
  }

  add(trace: object): void {
    this.#references.push(new WeakRef(trace))
  }

  get made(): number {
    return this.#references.length
  }

  /** How many are still held by somebody. */
  get alive(): Effect.Effect<number> {
    return Effect.map(collect, () => this.#references.filter((reference) => reference.deref() !== undefined).length)
  }
}

/** A task that holds a trace, and gives another as its result. */
const holding = (traces: Traces) => {
  const held = traces.make()
  return Effect.sync(() => held.size > 0 ? traces.make() : undefined)
}

class Tenant extends Context.Service<Tenant, object>()("test/Tenant") {}

const quiet = <R>(layer: Layer.Layer<R>) => Layer.provideMerge(layer, Logger.layer([]))
const one = quiet(TaskManager.layer({ workers: 1, gracePeriod: 0, keepFailed: 0 }))

const times = (count: number) => Array.from({ length: count }, (_, i) => i)

/** Megabytes that `program` leaves behind when it is done once more, after it has been done before. */
const growth = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    yield* program
    yield* collect
    const before = process.memoryUsage().heapUsed
    yield* program
    yield* collect
    return (process.memoryUsage().heapUsed - before) / 1e6
  })

describe("after a task has ended", () => {
  it.live("a handle that nobody keeps is collected, with the task and its result", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      yield* Effect.forEach(times(20), () =>
        Effect.flatMap(tasks.submit(holding(traces)), (handle) => {
          traces.add(handle)
          return handle.join
        }), { discard: true })
      assert.strictEqual(traces.made, 60)
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provide(one)))

  it.live("a handle that is kept keeps the result, and not what the task held", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      const results = new Traces()
      const handle = yield* tasks.submit(Effect.map(holding(traces), () => results.make()))
      yield* handle.await
      assert.strictEqual(yield* results.alive, 1)
      assert.strictEqual(yield* traces.alive, 0)
      assert.strictEqual((yield* handle.join).size, 1)
    }).pipe(Effect.provide(one)))

  it.live("a handle of a failed task that is not kept for a retry keeps no more either", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      const handle = yield* tasks.submit(Effect.andThen(holding(traces), Effect.fail("x")))
      yield* handle.await
      assert.strictEqual(yield* traces.alive, 0)
      assert.strictEqual(yield* Effect.flip(handle.join), "x")
    }).pipe(Effect.provide(one)))

  it.live("a failed, a died and a cancelled task are collected when none are kept", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      const end = <E>(after: Effect.Effect<never, E>) =>
        Effect.flatMap(tasks.submit(Effect.andThen(holding(traces), after)), (handle) =>
          Effect.andThen(Effect.yieldNow, Effect.andThen(handle.cancel, handle.await)))
      for (const after of [Effect.fail("x"), Effect.die("x"), Effect.never]) {
        yield* Effect.asVoid(end<string>(after))
      }
      assert.strictEqual(traces.made, 6)
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provide(one)))

  it.live("the failed tasks that are kept keep their work, and the others do not", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      const failing = () => {
        const held = traces.make()
        return Effect.suspend(() => held.size > 0 ? Effect.fail("x") : Effect.void)
      }
      yield* Effect.forEach(times(50), () => tasks.submit(failing()), { discard: true })
      yield* tasks.awaitIdle
      assert.strictEqual(yield* traces.alive, 3)
    }).pipe(Effect.provide(quiet(TaskManager.layer({ workers: 1, capacity: 50, keepFailed: 3 })))))

  it.live("its timeToLive, hours away, holds nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      yield* Effect.forEach(times(20), () =>
        tasks.run(holding(traces), { timeToLive: "5 hours", timeToStart: "2 hours" }), { discard: true })
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provide(one)))

  it.live("a delayed start, hours away, that was cancelled holds nothing", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      yield* Effect.forEach(times(20), () =>
        Effect.flatMap(tasks.submit(holding(traces), { delay: "5 hours" }), ({ cancel }) => cancel), { discard: true })
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provide(one)))
})

describe("before a task has ended", () => {
  it.live("it holds its submitter's services, and neither its scope nor its span", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const services = new Traces()
      const extent = new Traces()
      const tracer = Tracer.make({
        span(options) {
          const span = new Tracer.NativeSpan(options)
          extent.add(span)
          return span
        }
      })
      yield* tasks.pause
      const submit = Effect.gen(function*() {
        extent.add(yield* Scope.Scope)
        yield* tasks.submit(Tenant)
      })
      yield* submit.pipe(
        Effect.withSpan("request"),
        Effect.scoped,
        Effect.provideServiceEffect(Tenant, Effect.sync(() => services.make())),
        Effect.provideService(Tracer.Tracer, tracer),
        // In a fiber of its own, whose frames are gone afterwards.
        Effect.forkChild,
        Effect.flatMap(Fiber.await),
        Effect.asVoid
      )
      assert.strictEqual(extent.made, 2)
      assert.strictEqual(yield* extent.alive, 0)
      assert.strictEqual(yield* services.alive, 1)
      yield* tasks.resume
      yield* tasks.awaitIdle
      assert.strictEqual(yield* services.alive, 0)
    }).pipe(Effect.provide(one)))
})

describe("a task that submits its successor", () => {
  /** Tasks that each submit the next one and end; each holds a trace, and gives one as its result. */
  const chain = (tasks: TaskManagerService, traces: Traces, length: number, done: Deferred.Deferred<void>) => {
    const gate: Effect.Effect<void> = Effect.never
    const link = (index: number): Effect.Effect<unknown> =>
      Effect.suspend(() => {
        const held = traces.make()
        return Effect.gen(function*() {
          if (index < length) yield* Effect.orDie(tasks.submit(link(index + 1)))
          else yield* Effect.andThen(Deferred.succeed(done, undefined), gate)
          return held
        }).pipe(Effect.provideService(Tenant, held), Effect.annotateLogs("index", index))
      })
    return link(1)
  }

  it.live("retains none of 3,000 predecessors, what they were given, and their spans", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      const tracer = Tracer.make({
        span(options) {
          const span = new Tracer.NativeSpan(options)
          traces.add(span)
          return span
        }
      })
      const done = yield* Deferred.make<void>()
      const start = Effect.asVoid(tasks.submit(chain(tasks, traces, 3_000, done)))
      yield* Effect.provideService(start, Tracer.Tracer, tracer)
      yield* Deferred.await(done)
      assert.strictEqual(traces.made, 6_000)
      assert.isAtMost(yield* traces.alive, 4)
    }).pipe(Effect.provide(one)))
})

describe("what was never more than an attempt to submit", () => {
  it.live("leaves nothing: refused, interrupted while suspended, or joined by key", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const traces = new Traces()
      yield* tasks.submit(Effect.never, { key: "k", name: "a" })
      yield* Effect.yieldNow
      yield* Effect.forEach(times(10), (i) =>
        Effect.gen(function*() {
          yield* Effect.ignore(tasks.trySubmit(holding(traces), { group: `g${i}` }))
          const suspended = yield* Effect.forkChild(tasks.submit(holding(traces), { group: `h${i}` }), {
            startImmediately: true
          })
          yield* Fiber.interrupt(suspended)
          yield* tasks.submit(holding(traces), { key: "k", name: "a" })
        }), { discard: true })
      assert.strictEqual(traces.made, 30)
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provide(quiet(TaskManager.layer({ workers: 1, capacity: 0, gracePeriod: 0 })))))
})

describe("a manager that lives long", () => {
  const many = 10_000

  it.live("does not grow with the number of tasks, keys and groups that it has seen", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      let count = 0
      const another = Effect.suspend(() => {
        const key = String(++count)
        return tasks.run(Effect.void, { key, keyUntil: "start", group: key })
      })
      assert.isBelow(yield* growth(Effect.repeat(another, { times: many })), 0.3)
    }).pipe(Effect.provide(one)))

  it.live("does not grow with tasks whose start or end was hours away", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const another = Effect.flatMap(
        tasks.submit(Effect.void, { delay: "5 hours", timeToLive: "6 hours" }),
        ({ cancel }) => cancel
      )
      assert.isBelow(yield* growth(Effect.repeat(another, { times: many })), 0.3)
    }).pipe(Effect.provide(one)))

  it.live("does not grow with waits that were interrupted, on a task or for idleness", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.never)
      const giveUp = <A, E>(wait: Effect.Effect<A, E>) =>
        Effect.flatMap(Effect.forkChild(wait, { startImmediately: true }), Fiber.interrupt)
      const another = Effect.all([giveUp(handle.await), giveUp(handle.join), giveUp(tasks.awaitIdle)])
      assert.isBelow(yield* growth(Effect.repeat(another, { times: many })), 0.3)
    }).pipe(Effect.provide(one)))

  it.live("does not grow with readers of events that have left", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const read = Effect.flatMap(
        Effect.forkChild(Stream.runDrain(tasks.events), { startImmediately: true }),
        Fiber.interrupt
      )
      assert.isBelow(yield* growth(Effect.repeat(read, { times: many })), 0.3)
    }).pipe(Effect.provide(one)))

  it.live("does not grow with schedules whose scope has closed", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const schedule = Effect.scoped(tasks.schedule(Effect.void, Schedule.spaced("1 hour")))
      assert.isBelow(yield* growth(Effect.repeat(schedule, { times: many })), 0.3)
    }).pipe(Effect.provide(one)))

  it.live("does not grow with tasks that run again by id", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.fail("x"))
      yield* tasks.awaitIdle
      const again = Effect.gen(function*() {
        const [failed] = yield* tasks.list()
        yield* tasks.retry(failed!.id)
        yield* tasks.awaitIdle
      })
      assert.isBelow(yield* growth(Effect.repeat(again, { times: many / 10 })), 0.3)
    }).pipe(Effect.provide(quiet(TaskManager.layer({ workers: 1, keepFailed: 1 })))))
})

describe("a manager that has stopped", () => {
  it.live("is collected with its tasks, though its last counts can still be read", () =>
    Effect.gen(function*() {
      const traces = new Traces()
      const use = Effect.gen(function*() {
        const tasks = yield* TaskManager
        traces.add(tasks)
        yield* tasks.submit(Effect.andThen(holding(traces), Effect.fail("x")), { name: "a" })
        yield* tasks.submit(holding(traces), { delay: "1 hour" })
        yield* Effect.yieldNow
      })
      yield* Effect.flatMap(Effect.forkChild(Effect.provide(use, one)), Fiber.join)
      const submitted = (yield* Metric.snapshot).filter(({ id }) => id === "effect_tasks_submitted_total")
      assert.strictEqual(submitted.length, 2)
      assert.strictEqual(traces.made, 4)
      assert.strictEqual(yield* traces.alive, 0)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
