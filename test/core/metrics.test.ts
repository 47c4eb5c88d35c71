import { TaskManager } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Layer, Metric, Schedule, Scope } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"

class Mail extends TaskManager.Named<Mail>()("app/Mail") {}

const one = TaskManager.layer({ workers: 1, capacity: 3 })

/** Provides the layer, and a registry of its own. */
const isolated = <R>(layer: Layer.Layer<R>) => <A, E>(effect: Effect.Effect<A, E, R | Scope.Scope>) =>
  effect.pipe(Effect.provide(layer), Effect.provideService(Metric.MetricRegistry, new Map()))

interface Series {
  readonly id: string
  readonly attributes?: Readonly<Record<string, string>> | undefined
  readonly state: unknown
}

/** `id{label=…}` of each series, with what `value` makes of its state. */
const seriesOf = <A>(snapshot: ReadonlyArray<Series>, value: (series: Series) => A) =>
  Object.fromEntries(snapshot.map((series) => {
    const labels = Object.entries(series.attributes ?? {}).filter(([key]) => key !== "manager").toSorted()
    return [
      `${series.id.replace("effect_tasks_", "")} ${labels.map(([, label]) => label).join(" ")}`.trim(),
      value(series)
    ]
  }))

/** The count of a counter or histogram, the value of a gauge. */
const number = ({ state }: Series): number => {
  const { count, value } = state as { readonly count?: number; readonly value?: number } // SAFETY: Effect's metric states
  return count ?? value!
}

const numbers = Effect.map(Metric.snapshot, (snapshot) => seriesOf(snapshot, number))

const histogram = (name: string) =>
  Effect.map(Metric.snapshot, (snapshot) =>
    // SAFETY: the state of a histogram.
    snapshot.find(({ id }) => id === name)!.state as Metric.HistogramState)

describe("metrics", () => {
  it.effect("exist under these names, each tagged with the manager, and all but the capacity with the task", () =>
    Effect.gen(function*() {
      yield* TaskManager.run(Effect.void, { name: "mail", key: "k", group: "g" })
      const snapshot = yield* Metric.snapshot
      assert.deepStrictEqual(
        snapshot.map(({ attributes, id, type }) => [id, type, { ...attributes }]),
        [
          ["effect_tasks_capacity", "Gauge", {}],
          ["effect_tasks_submitted_total", "Counter", { task: "mail" }],
          ["effect_tasks_attempts_total", "Counter", { task: "mail" }],
          ["effect_tasks_retries_total", "Counter", { task: "mail" }],
          ["effect_tasks_skipped_total", "Counter", { task: "mail" }],
          ["effect_tasks_outcomes_total", "Counter", { task: "mail", outcome: "completed" }],
          ["effect_tasks_outcomes_total", "Counter", { task: "mail", outcome: "failed" }],
          ["effect_tasks_outcomes_total", "Counter", { task: "mail", outcome: "aborted" }],
          ["effect_tasks_waiting", "Gauge", { task: "mail" }],
          ["effect_tasks_delayed", "Gauge", { task: "mail" }],
          ["effect_tasks_running", "Gauge", { task: "mail" }],
          ["effect_tasks_wait_seconds", "Histogram", { task: "mail" }],
          ["effect_tasks_run_seconds", "Histogram", { task: "mail" }]
        ].map(([id, type, labels]) => [id, type, { manager: "@effect-tasks/core/TaskManager", ...labels as object }])
      )
      for (const { description } of snapshot) assert.isNotEmpty(description)
    }).pipe(isolated(one)))

  it.effect("count what a mixed program did, per name", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.run(Effect.void, { name: "good" })
      yield* tasks.run(Effect.void, { name: "good" })
      yield* Effect.ignore(tasks.run(Effect.fail("x"), { name: "bad", retry: Schedule.recurs(2) }))
      yield* Effect.exit(tasks.run(Effect.die("x"), { name: "bad" }))
      const cancelled = yield* tasks.submit(Effect.never, { name: "bad", delay: "1 hour" })
      yield* cancelled.cancel
      const values = yield* numbers
      assert.deepInclude(values, {
        "submitted_total good": 2,
        "attempts_total good": 2,
        "retries_total good": 0,
        "outcomes_total completed good": 2,
        "outcomes_total failed good": 0,
        "outcomes_total aborted good": 0,
        "submitted_total bad": 3,
        "attempts_total bad": 4,
        "retries_total bad": 2,
        "outcomes_total completed bad": 0,
        "outcomes_total failed bad": 2,
        "outcomes_total aborted bad": 1,
        "wait_seconds bad": 2,
        "run_seconds bad": 4
      })
    }).pipe(isolated(one)))

  it.effect("show where the tasks are at each instant", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const places = Effect.map(numbers, (all) => ["waiting", "delayed", "running"].map((name) => all[`${name} task`]))
      const flaky = Effect.andThen(Deferred.await(gate), Effect.fail("x"))
      yield* tasks.submit(flaky, { retry: Schedule.upTo(Schedule.spaced("1 second"), { times: 1 }) })
      assert.deepStrictEqual(yield* places, [0, 0, 1])
      yield* tasks.submit(Effect.void)
      yield* tasks.submit(Effect.void, { delay: "1 minute" })
      assert.deepStrictEqual(yield* places, [1, 1, 1])
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(yield* places, [0, 2, 0])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* places, [0, 1, 0])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* places, [0, 0, 0])
    }).pipe(isolated(one)))

  it.effect("count a retry when it is planned, not when the shutdown has cut it off", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      const gate = yield* Deferred.make<void>()
      const flaky = Effect.andThen(Deferred.await(gate), Effect.fail("x"))
      yield* tasks.submit(flaky, { name: "planned", retry: Schedule.spaced("1 hour") })
      yield* Effect.yieldNow
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.yieldNow
      assert.strictEqual((yield* tasks.stats).delayed, 1)
      yield* tasks.submit(Effect.fail("x"), { name: "cut off", retry: Schedule.spaced("1 hour") })
      yield* tasks.shutdown({ gracePeriod: "1 minute" })
      const values = yield* numbers
      assert.deepInclude(values, { "retries_total planned": 1, "retries_total cut off": 0 })
    }).pipe(isolated(one)))

  it.effect("take the capacity from the options", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* numbers, { capacity: 3 })
    }).pipe(isolated(one)))

  it.effect("count an occurrence that a schedule skips", () =>
    Effect.gen(function*() {
      yield* TaskManager.schedule(Effect.never, Schedule.spaced("1 second"), { name: "tick" })
      yield* TestClock.adjust(1999)
      assert.deepInclude(yield* numbers, { "submitted_total tick": 1, "skipped_total tick": 0 })
      yield* TestClock.adjust(2001)
      assert.deepInclude(yield* numbers, { "submitted_total tick": 1, "skipped_total tick": 3 })
      yield* TaskManager.use((tasks) => tasks.shutdown({ gracePeriod: 0 }))
    }).pipe(isolated(one)))

  it.effect("count neither a refused submit nor one that joins by key", () =>
    Effect.gen(function*() {
      const tasks = yield* TaskManager
      yield* tasks.submit(Effect.never, { name: "a", key: "k" })
      yield* tasks.submit(Effect.never, { name: "a", key: "k" })
      yield* Effect.ignore(tasks.trySubmit(Effect.never, { name: "b" }))
      assert.deepInclude(yield* numbers, { "submitted_total a": 1, "submitted_total b": 0 })
      yield* tasks.shutdown({ gracePeriod: 0 })
    }).pipe(isolated(TaskManager.layer({ workers: 1, capacity: 0 }))))

  it.effect("have one series per name, however many tasks, keys and groups there are", () =>
    Effect.gen(function*() {
      const size = Effect.map(Metric.snapshot, ({ length }) => length)
      yield* TaskManager.run(Effect.void, { name: "a" })
      const before = yield* size
      yield* Effect.forEach(Array.from({ length: 50 }, String), (id) =>
        TaskManager.run(Effect.void, { name: "a", key: id, group: id }))
      assert.strictEqual(yield* size, before)
      yield* TaskManager.run(Effect.void, { name: "b" })
      assert.strictEqual(yield* size, 2 * before - 1)
    }).pipe(isolated(one)))

  it.effect("of two managers are apart, also under one task name", () =>
    Effect.gen(function*() {
      yield* TaskManager.run(Effect.void)
      yield* Mail.run(Effect.void)
      yield* Mail.run(Effect.void)
      const submitted = (yield* Metric.snapshot).filter(({ id }) => id === "effect_tasks_submitted_total")
      assert.deepStrictEqual(submitted.map((series) => [series.attributes!.manager, number(series)]), [
        ["@effect-tasks/core/TaskManager", 1],
        ["app/Mail", 2]
      ])
    }).pipe(isolated(Layer.merge(one, Mail.layer()))))

  it.effect("live in the registry of the manager's layer, whatever registry the submitter has", () =>
    Effect.gen(function*() {
      const registry = new Map()
      const submitter = new Map()
      const provide = Effect.provideService(Metric.MetricRegistry)
      yield* Effect.gen(function*() {
        yield* Effect.provideService(TaskManager.run(Effect.void), Metric.MetricRegistry, submitter)
        assert.strictEqual((yield* numbers)["submitted_total task"], 1)
      }).pipe(Effect.provide(one), provide(registry))
      assert.strictEqual(submitter.size, 0)
    }))

  it.effect("keep their last counts when the manager has stopped, so that a late export has them", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const tasks = yield* Scope.provide(TaskManager.make({ workers: 1 }), scope)
      yield* tasks.submit(Effect.never, { name: "a" })
      yield* tasks.submit(Effect.void, { name: "a" })
      yield* Effect.yieldNow
      yield* tasks.shutdown({ gracePeriod: 0 })
      assert.deepInclude(yield* numbers, { "running a": 0, "waiting a": 0, capacity: 64 })
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      const last = yield* numbers
      assert.deepInclude(last, { "submitted_total a": 2, "outcomes_total aborted a": 2, "run_seconds a": 1 })
      assert.notProperty(last, "capacity")
      assert.notProperty(last, "waiting a")
    }).pipe(isolated(Layer.empty)))

  it.effect("start anew with a new manager of the same id", () =>
    Effect.gen(function*() {
      const use = Effect.provide(TaskManager.run(Effect.void), TaskManager.layer({ workers: 1 }))
      yield* use
      yield* use
      assert.strictEqual((yield* numbers)["submitted_total task"], 1)
    }).pipe(isolated(one)))
})

describe("the times", () => {
  it.effect("wait is from admission to the first start, run is that of each attempt with its finalizers", () =>
    Effect.gen(function*() {
      const slow = Effect.acquireRelease(Effect.sleep("3 seconds"), () => Effect.sleep("1 second"))
      yield* TaskManager.submit(slow, { name: "blocker" })
      const flaky = Effect.andThen(Effect.sleep("2 seconds"), Effect.fail("x"))
      const handle = yield* TaskManager.submit(flaky, {
        name: "a",
        retry: Schedule.upTo(Schedule.spaced("10 seconds"), { times: 1 })
      })
      yield* TestClock.adjust("1 minute")
      yield* handle.await
      const snapshot = yield* Metric.snapshot
      const timesOf = (task: string) =>
        seriesOf(
          snapshot.filter(({ attributes, type }) => type === "Histogram" && attributes!.task === task),
          ({ state }) => {
            const { count, max, min, sum } = state as Metric.HistogramState // SAFETY: a histogram, as filtered
            return { count, min, max, sum }
          }
        )
      assert.deepStrictEqual(timesOf("blocker"), {
        "wait_seconds blocker": { count: 1, min: 0, max: 0, sum: 0 },
        "run_seconds blocker": { count: 1, min: 4, max: 4, sum: 4 }
      })
      assert.deepStrictEqual(timesOf("a"), {
        "wait_seconds a": { count: 1, min: 4, max: 4, sum: 4 },
        "run_seconds a": { count: 2, min: 2, max: 2, sum: 4 }
      })
    }).pipe(isolated(one)))

  it.effect("a delayed start waits from its due time", () =>
    Effect.gen(function*() {
      yield* TaskManager.submit(Effect.void, { name: "a", delay: "10 seconds" })
      yield* TestClock.adjust("9 seconds")
      yield* TaskManager.submit(Effect.sleep("3 seconds"), { name: "blocker" })
      yield* TestClock.adjust("1 minute")
      const snapshot = yield* Metric.snapshot
      const wait = snapshot.find(({ attributes, id }) =>
        id === "effect_tasks_wait_seconds" && attributes!.task === "a"
      )!
      assert.strictEqual((wait.state as Metric.HistogramState).sum, 2) // SAFETY: the state of a histogram
    }).pipe(isolated(one)))

  it.effect("fall into the buckets of Effect's own histogram, on both sides of each boundary", () =>
    Effect.gen(function*() {
      let nanos = 0n
      const clock: Clock.Clock = { ...yield* Clock.Clock, monotonicTimeNanosUnsafe: () => nanos }
      yield* Effect.gen(function*() {
        yield* TaskManager.run(Effect.void)
        const boundaries = (yield* histogram("effect_tasks_run_seconds")).buckets.map(([bound]) => bound)
        assert.deepStrictEqual([boundaries.length, boundaries[0], boundaries.at(-1)], [26, 64e-6, 2 ** 31 / 1e6])
        const reference = Metric.histogram("reference", { boundaries })
        yield* Metric.update(reference, 0)
        const edges = boundaries.map((bound) => Math.round(bound * 1e6))
        for (const micros of [1, 10, ...edges.flatMap((edge) => [edge - 1, edge, edge + 1])]) {
          yield* TaskManager.run(Effect.sync(() => nanos += BigInt(micros) * 1000n))
          yield* Metric.update(reference, micros / 1e6)
        }
        const expected = yield* Metric.value(reference)
        const actual = yield* histogram("effect_tasks_run_seconds")
        assert.deepStrictEqual(actual.buckets, expected.buckets)
        assert.deepStrictEqual([actual.count, actual.min], [expected.count, expected.min])
        assert.closeTo(actual.max, expected.max, 1e-6)
        assert.closeTo(actual.sum, expected.sum, 1e-6)
      }).pipe(isolated(TaskManager.layer({ workers: 1 })), Effect.provideService(Clock.Clock, clock))
    }))

  it.effect("of a name that has not run yet are those of an empty histogram", () =>
    Effect.gen(function*() {
      yield* TaskManager.submit(Effect.void, { delay: "1 hour" })
      const boundaries = (yield* histogram("effect_tasks_run_seconds")).buckets.map(([bound]) => bound)
      assert.deepStrictEqual(
        yield* histogram("effect_tasks_run_seconds"),
        yield* Metric.value(Metric.histogram("empty", { boundaries }))
      )
    }).pipe(isolated(one)))
})

describe("exports", () => {
  it.effect("Prometheus' text has every metric with its labels, units in the names", () =>
    Effect.gen(function*() {
      yield* TaskManager.run(Effect.void, { name: "send \"mail\"\n" })
      const text = yield* PrometheusMetrics.format()
      const labels = `manager="@effect-tasks/core/TaskManager",task="send \\"mail\\"\\n"`
      for (
        const line of [
          `# TYPE effect_tasks_submitted_total counter`,
          `# HELP effect_tasks_submitted_total Tasks accepted`,
          `effect_tasks_submitted_total{${labels}} 1`,
          `effect_tasks_outcomes_total{manager="@effect-tasks/core/TaskManager",task="send \\"mail\\"\\n",outcome="completed"} 1`,
          `# TYPE effect_tasks_waiting gauge`,
          `# TYPE effect_tasks_run_seconds histogram`,
          `effect_tasks_run_seconds_bucket{${labels},le="0.000064"} 1`,
          `effect_tasks_run_seconds_bucket{${labels},le="+Inf"} 1`,
          `effect_tasks_run_seconds_count{${labels}} 1`
        ]
      ) assert.include(text.split("\n"), line)
    }).pipe(isolated(one)))

  it.effect("Metric.dump shows them", () =>
    Effect.gen(function*() {
      yield* TaskManager.run(Effect.void, { name: "mail" })
      const dump = yield* Metric.dump
      for (const text of ["effect_tasks_submitted_total", "effect_tasks_wait_seconds", "task: mail"]) {
        assert.include(dump, text)
      }
    }).pipe(isolated(one)))
})
