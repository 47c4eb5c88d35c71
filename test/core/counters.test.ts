import {
  QueueFullError,
  type TaskHandle,
  TaskManager,
  type TaskManagerService,
  type TaskState
} from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Metric, Option, Schedule, Scheduler, Stream } from "effect"
import { after, quiet } from "./virtualTime.ts"

const states: ReadonlyArray<TaskState> = ["waiting", "delayed", "running", "completed", "failed", "aborted"]

const ownMetrics = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

/** All series of one metric added up. */
const sum = (snapshot: ReadonlyArray<Metric.Metric.Snapshot>, id: string, outcome?: string) =>
  snapshot
    .filter((metric) => metric.id === id && (outcome === undefined || metric.attributes?.outcome === outcome))
    .reduce(
      (total, { state }) =>
        total + ("count" in state ? Number(state.count) : "value" in state ? Number(state.value) : 0),
      0
    )

/** Law 8 in the numbers of `stats`, in the lists, and in the metrics. */
const check = (tasks: TaskManagerService, metrics: boolean) =>
  Effect.gen(function*() {
    const stats = yield* tasks.stats
    for (const state of states) assert.isAtLeast(stats[state], 0, state)
    assert.strictEqual(states.reduce((total, state) => total + stats[state], 0), stats.submitted, JSON.stringify(stats))
    for (const state of ["waiting", "delayed", "running"] as const) {
      assert.strictEqual((yield* tasks.list({ state, limit: 100_000 })).length, stats[state], state)
    }
    if (!metrics) return
    const snapshot = yield* Metric.snapshot
    assert.strictEqual(sum(snapshot, "effect_tasks_submitted_total"), stats.submitted)
    for (const gauge of ["waiting", "delayed", "running"] as const) {
      assert.strictEqual(sum(snapshot, `effect_tasks_${gauge}`), stats.manager === "stopped" ? 0 : stats[gauge], gauge)
    }
    for (const outcome of ["completed", "failed", "aborted"] as const) {
      assert.strictEqual(sum(snapshot, "effect_tasks_outcomes_total", outcome), stats[outcome], outcome)
    }
  })

/** A seeded generator (mulberry32) and choices made with it. */
const seeded = (seed: number) => {
  let state = seed
  const next = (): number => {
    state = state + 0x6d2b79f5 | 0
    let t = Math.imul(state ^ state >>> 15, 1 | state)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
  const below = (bound: number): number => Math.floor(next() * bound)
  return {
    below,
    chance: (p: number): boolean => next() < p,
    pick: <A>(all: ReadonlyArray<A>): A => all[below(all.length)]!
  }
}

/** Runs `check` after each task of the scheduler: whatever a fiber did, the next one finds the numbers right. */
const checkedScheduler = (check: () => void) =>
  Effect.map(Scheduler.Scheduler, (scheduler): Scheduler.Scheduler => ({
    executionMode: scheduler.executionMode,
    shouldYield: (fiber) => scheduler.shouldYield(fiber),
    makeDispatcher() {
      const dispatcher = scheduler.makeDispatcher()
      return {
        flush: () => dispatcher.flush(),
        scheduleTask: (task, priority) =>
          dispatcher.scheduleTask(() => {
            task()
            check()
          }, priority)
      }
    }
  }))

/** A program of random submits, failures, cancels, pauses and waits, ended by a shutdown. */
const program = (seed: number, problems: Array<unknown>) =>
  Effect.gen(function*() {
    const tasks = yield* TaskManager
    const registry = yield* Metric.MetricRegistry
    const note = (run: () => void) => {
      try {
        run()
      } catch (problem) {
        problems.push(problem)
      }
    }
    const look = (metrics: boolean) =>
      note(() => Effect.runSync(Effect.provideService(check(tasks, metrics), Metric.MetricRegistry, registry)))
    const scheduler = yield* checkedScheduler(() => look(false))
    const { below, chance, pick } = seeded(seed)
    const handles: Array<TaskHandle<unknown, unknown>> = []
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    const gates: Array<Deferred.Deferred<void>> = []

    const body = (depth: number): Effect.Effect<unknown, unknown> =>
      Effect.suspend(() => {
        look(true)
        const gate = Deferred.makeUnsafe<void>()
        switch (below(depth > 2 ? 7 : 9)) {
          case 0:
            return Effect.fail("failed")
          case 1:
            return Effect.die("died")
          case 2:
            return Effect.sleep(1 + below(300))
          case 3:
            gates.push(gate)
            return Deferred.await(gate)
          case 4:
            return Effect.ensuring(Effect.sleep(below(100)), Effect.sleep(below(50)))
          case 5:
            return Effect.interrupt
          case 6:
            return Effect.void
          case 7:
            return tasks.run(body(depth + 1), options())
          default:
            return Effect.timeoutOption(tasks.run(body(depth + 1), options()), 1 + below(100))
        }
      })
    const options = () => ({
      name: pick(["a", "b", "c"]),
      ...(chance(0.3) ? { retry: Schedule.upTo(Schedule.spaced(below(200)), { times: below(4) }) } : {}),
      ...(chance(0.2) ? { delay: below(200) } : {}),
      ...(chance(0.2) ? { key: pick(["k", "l"]), keyUntil: pick(["start", "end"] as const) } : {}),
      ...(chance(0.3) ? { group: pick(["g", "h"]) } : {}),
      ...(chance(0.2) ? { timeToStart: 1 + below(200) } : {}),
      ...(chance(0.2) ? { timeToLive: 1 + below(300) } : {}),
      ...(chance(0.1) ? { priority: below(3) } : {}),
      ...(chance(0.1) ? { onFailed: () => Effect.sync(() => look(true)) } : {})
    })
    const fork = (effect: Effect.Effect<unknown, unknown>) =>
      Effect.map(Effect.forkChild(effect, { startImmediately: true }), (fiber) => void fibers.push(fiber))
    const keep = (handle: TaskHandle<unknown, unknown>) => void handles.push(handle)

    const steps: ReadonlyArray<() => Effect.Effect<unknown, unknown>> = [
      () => fork(Effect.map(tasks.submit(body(0), options()), keep)),
      () => fork(Effect.map(tasks.submit(body(0), options()), keep)),
      () => Effect.map(tasks.trySubmit(body(0), options()), keep),
      () => fork(tasks.run(body(0), options())),
      () => Effect.suspend(() => fibers.length === 0 ? Effect.void : fork(Fiber.interrupt(pick(fibers)))),
      () => Effect.suspend(() => handles.length === 0 ? Effect.void : fork(pick(handles).cancel)),
      () => Effect.suspend(() => gates.length === 0 ? Effect.void : Deferred.succeed(pick(gates), undefined)),
      () => tasks.pause,
      () => tasks.resume,
      () =>
        Effect.flatMap(tasks.list({ state: "failed" }), (failed) =>
          failed.length === 0 ? Effect.void : tasks.retry(pick(failed).id)),
      () =>
        after(below(150)),
      () => Effect.yieldNow
    ]
    const run = Effect.gen(function*() {
      for (let i = 0; i < 150; i++) {
        yield* Effect.ignore(pick(steps)())
        look(true)
      }
      const shutdown = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: pick([0, 100, 1000]) }))
      for (let i = 0; i < 20; i++) yield* after(100)
      return yield* Fiber.join(shutdown)
    })
    const report = yield* Effect.provideService(run, Scheduler.Scheduler, scheduler)
    look(true)
    return report.stats
  })

describe("the counters add up", () => {
  for (let seed = 1; seed <= 12; seed++) {
    it.effect(`after everything that a random program does, seed ${seed}`, () => {
      const problems: Array<unknown> = []
      const options = {
        workers: 1 + seed % 3,
        capacity: seed % 5,
        maxDelayed: 10,
        groupCapacity: seed % 2,
        gracePeriod: 0
      }
      return Effect.gen(function*() {
        const { aborted, completed, failed, manager, submitted } = yield* program(seed, problems)
        assert.deepStrictEqual(problems.slice(0, 1), [])
        assert.strictEqual(manager, "stopped")
        assert.strictEqual(completed + failed + aborted, submitted)
        assert.isAbove(submitted, 10)
      }).pipe(Effect.provide(TaskManager.layer(options)), ownMetrics)
    })
  }

  it.effect("through each state that a task passes", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const counts = Effect.map(tasks.stats, (stats) => states.map((state) => stats[state]).join(" "))
      const gate = yield* Deferred.make<void>()
      let attempts = 0
      yield* tasks.pause
      yield* tasks.submit(
        Effect.andThen(Deferred.await(gate), Effect.suspend(() => ++attempts < 2 ? Effect.fail("x") : Effect.void)),
        {
          delay: "1 second",
          retry: Schedule.spaced("1 second")
        }
      )
      assert.strictEqual(yield* counts, "0 1 0 0 0 0")
      yield* after(1000)
      assert.strictEqual(yield* counts, "0 1 0 0 0 0") // due, but not started
      yield* tasks.submit(Effect.fail("x"))
      assert.strictEqual(yield* counts, "1 1 0 0 0 0")
      yield* tasks.resume
      yield* quiet
      assert.strictEqual(yield* counts, "1 0 1 0 0 0")
      yield* Deferred.succeed(gate, undefined)
      yield* quiet
      assert.strictEqual(yield* counts, "0 1 0 0 1 0")
      const cancelled = yield* tasks.submit(Effect.never)
      assert.strictEqual(yield* counts, "0 1 1 0 1 0") // handed to a worker
      yield* cancelled.cancel
      assert.strictEqual(yield* counts, "0 1 0 0 1 1")
      yield* after(1000)
      assert.strictEqual(yield* counts, "0 0 0 1 1 1")
      assert.strictEqual((yield* tasks.stats).submitted, 3)
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1 }))))

  it.effect("without joins by key, refusals and submits that were given up", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const submitted = Effect.map(tasks.stats, (stats) => stats.submitted)
      yield* tasks.submit(Effect.never, { key: "k" })
      yield* tasks.submit(Effect.never, { key: "k" })
      const run = yield* Effect.forkChild(tasks.run(Effect.never, { key: "k" }))
      yield* quiet
      assert.strictEqual(yield* submitted, 1)
      yield* tasks.submit(Effect.void)
      assert.instanceOf(yield* Effect.flip(tasks.trySubmit(Effect.void)), QueueFullError)
      const suspended = yield* Effect.forkChild(tasks.submit(Effect.void))
      yield* quiet
      assert.strictEqual(yield* submitted, 2)
      yield* Fiber.interrupt(suspended)
      yield* Fiber.interrupt(run)
      yield* tasks.shutdown({ gracePeriod: 0 })
      yield* Effect.flip(tasks.submit(Effect.void))
      const stats = yield* tasks.stats
      assert.deepStrictEqual([stats.submitted, stats.aborted], [2, 2])
    }).pipe(Effect.provide(TaskManager.layer({ workers: 1, capacity: 1 }))))

  it.effect("with one more for a failed task that is run again by id", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const handle = yield* tasks.submit(Effect.fail("x"))
      yield* handle.await
      assert.isTrue(Option.isSome(yield* tasks.retry(handle.id)))
      yield* tasks.awaitIdle
      const stats = yield* tasks.stats
      assert.deepStrictEqual([stats.submitted, stats.failed], [2, 2])
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("as events do, which have no gap", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const events = yield* Effect.forkChild(Stream.runCollect(tasks.events))
      yield* quiet
      yield* tasks.submit(Effect.void)
      yield* tasks.submit(Effect.fail("x"), { retry: Schedule.recurs(2) })
      yield* tasks.submit(Effect.void, { delay: "1 hour" })
      yield* tasks.submit(Effect.never)
      yield* quiet
      yield* tasks.shutdown({ gracePeriod: 0 })
      const seen = yield* Fiber.join(events)
      assert.deepStrictEqual(seen.map(({ seq }) => seq), seen.map((_, i) => i + 1))
      const count = (tag: string) => seen.filter(({ _tag }) => _tag === tag).length
      assert.deepStrictEqual(
        ["Submitted", "Started", "Retrying", "Completed", "Failed", "Aborted"].map(count),
        [4, 5, 2, 1, 1, 2]
      )
    }).pipe(Effect.provide(TaskManager.layer())))

  it.effect("in attempts and retries: a retry is counted when another attempt follows", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const total = (name: string) =>
        Effect.map(Metric.snapshot, (snapshot) => sum(snapshot, `effect_tasks_${name}_total`))
      yield* tasks.submit(Effect.fail("x"), { retry: Schedule.recurs(2) })
      const late = yield* tasks.submit(Effect.andThen(Effect.sleep("1 second"), Effect.fail("x")), {
        retry: Schedule.spaced("1 hour")
      })
      yield* quiet
      assert.deepStrictEqual([yield* total("attempts"), yield* total("retries")], [4, 2])
      const shutdown = yield* Effect.forkChild(tasks.shutdown({ gracePeriod: "1 minute" }))
      yield* after(1000)
      assert.strictEqual(yield* late.state, "aborted")
      yield* Fiber.join(shutdown)
      assert.deepStrictEqual([yield* total("attempts"), yield* total("retries")], [4, 2])
    }).pipe(Effect.provide(TaskManager.layer()), ownMetrics))

  it.effect("apart for each manager and each task name", () => {
    class Mail extends TaskManager.Named<Mail>()("Mail") {}
    return Effect.gen(function*() {
      yield* Mail.run(Effect.void, { name: "a" })
      yield* Mail.run(Effect.void, { name: "b" })
      yield* Mail.run(Effect.void, { name: "b" })
      yield* TaskManager.run(Effect.void, { name: "a" })
      const snapshot = yield* Metric.snapshot
      const of = (manager: string, task: string) =>
        sum(
          snapshot.filter(({ attributes }) => attributes?.manager === manager && attributes.task === task),
          "effect_tasks_outcomes_total",
          "completed"
        )
      const id = "@effect-tasks/core/TaskManager"
      assert.deepStrictEqual([of("Mail", "a"), of("Mail", "b"), of(id, "a"), of(id, "b")], [1, 2, 1, 0])
      assert.deepStrictEqual([(yield* (yield* Mail).stats).submitted, (yield* (yield* TaskManager).stats).submitted], [
        3,
        1
      ])
    }).pipe(Effect.provide(Layer.merge(Mail.layer(), TaskManager.layer())), ownMetrics)
  })
})
