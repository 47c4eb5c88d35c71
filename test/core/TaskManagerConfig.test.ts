import { TaskManager, type TaskManagerService } from "@effect-tasks/core"
import * as TaskManagerConfig from "@effect-tasks/core/TaskManagerConfig"
import { assert, describe, it } from "@effect/vitest"
import { Array, Config, ConfigProvider, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"

class Mail extends TaskManager.Named<Mail>()("app/Mail") {}

const env = (variables: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables }))

/** Every option from a variable of its own. */
const everything = TaskManagerConfig.layer(TaskManager, {
  workers: Config.Int("WORKERS").pipe(Config.withDefault(undefined)),
  capacity: Config.Int("CAPACITY").pipe(Config.withDefault(undefined)),
  groupCapacity: Config.Int("GROUP_CAPACITY").pipe(Config.withDefault(undefined)),
  rate: Config.all({ limit: Config.Int("RATE_LIMIT"), window: Config.Duration("RATE_WINDOW") }).pipe(
    Config.withDefault(undefined)
  ),
  maxDelayed: Config.Int("MAX_DELAYED").pipe(Config.withDefault(undefined)),
  gracePeriod: Config.Duration("GRACE_PERIOD").pipe(Config.withDefault(undefined)),
  keepFailed: Config.Int("KEEP_FAILED").pipe(Config.withDefault(undefined))
})

/** Runs `program` with a manager made of these variables. */
const withEnv = <A, E>(
  variables: Record<string, string>,
  program: (tasks: TaskManagerService) => Effect.Effect<A, E>
) => Effect.flatMap(TaskManager, program).pipe(Effect.provide(Layer.provide(everything, env(variables))))

const messageOf = <Self>(layer: Layer.Layer<Self, Config.ConfigError>, variables: Record<string, string>) =>
  Effect.scoped(Layer.build(layer)).pipe(
    Effect.provide(env(variables)),
    Effect.flip,
    Effect.map((error) => `${error._tag} ${error.message}`)
  )

describe("TaskManagerConfig.layer", () => {
  it.effect("reads workers and capacity, and has the defaults of the layer without", () =>
    Effect.gen(function*() {
      const given = yield* withEnv({ WORKERS: "2", CAPACITY: "7" }, ({ stats }) => stats)
      assert.deepInclude(given, { workers: 2, capacity: 7 })
      const defaults = yield* Effect.provide(TaskManager.use(({ stats }) => stats), TaskManager.layer())
      assert.deepStrictEqual(yield* withEnv({}, ({ stats }) => stats), defaults)
    }))

  it.effect("reads groupCapacity", () =>
    Effect.gen(function*() {
      const submits = (tasks: TaskManagerService) =>
        Effect.gen(function*() {
          yield* tasks.pause
          const submit = Effect.isSuccess(tasks.trySubmit(Effect.void, { group: "g" }))
          return (yield* Effect.forEach(Array.range(1, 20), () => submit)).filter(Boolean).length
        })
      assert.strictEqual(yield* withEnv({ GROUP_CAPACITY: "3" }, submits), 3)
      assert.strictEqual(yield* withEnv({}, submits), 16)
    }))

  it.effect("reads the rate, a duration included", () =>
    Effect.gen(function*() {
      const startedIn = (millis: number) => (tasks: TaskManagerService) =>
        Effect.gen(function*() {
          yield* Effect.forEach(Array.range(1, 10), () => tasks.submit(Effect.void))
          yield* TestClock.adjust(millis)
          return (yield* tasks.stats).completed
        })
      const variables = { RATE_LIMIT: "2", RATE_WINDOW: "3 seconds", GRACE_PERIOD: "0 seconds" }
      assert.strictEqual(yield* withEnv(variables, startedIn(2999)), 2)
      assert.strictEqual(yield* withEnv(variables, startedIn(3000)), 4)
      assert.strictEqual(yield* withEnv({}, startedIn(1)), 10)
    }))

  it.effect("reads maxDelayed", () =>
    Effect.gen(function*() {
      const admitted = (tasks: TaskManagerService) =>
        Effect.gen(function*() {
          const submit = Effect.isSuccess(tasks.trySubmit(Effect.void, { delay: "1 hour" }))
          return (yield* Effect.forEach(Array.range(1, 5), () => submit)).filter(Boolean).length
        })
      assert.strictEqual(yield* withEnv({ MAX_DELAYED: "2", GRACE_PERIOD: "0 seconds" }, admitted), 2)
      assert.strictEqual(yield* withEnv({ GRACE_PERIOD: "0 seconds" }, admitted), 5)
    }))

  it.effect("reads the grace period as a duration", () =>
    Effect.gen(function*() {
      const outcomeAfter = (millis: number, variables: Record<string, string>) =>
        Effect.gen(function*() {
          const closing = yield* Effect.forkChild(withEnv(variables, (tasks) => tasks.submit(Effect.sleep(millis))))
          yield* TestClock.adjust("1 minute")
          const exit = closing.pollUnsafe()
          return exit !== undefined && Exit.isSuccess(exit) ? yield* exit.value.state : undefined
        })
      assert.strictEqual(yield* outcomeAfter(1499, { GRACE_PERIOD: "1500 millis" }), "completed")
      assert.strictEqual(yield* outcomeAfter(1500, { GRACE_PERIOD: "1500 millis" }), "aborted")
      assert.strictEqual(yield* outcomeAfter(19_999, {}), "completed")
      assert.strictEqual(yield* outcomeAfter(20_000, {}), "aborted")
    }))

  it.effect("reads keepFailed", () =>
    Effect.gen(function*() {
      const kept = (tasks: TaskManagerService) =>
        Effect.gen(function*() {
          yield* Effect.forEach(Array.range(1, 3), () => tasks.submit(Effect.fail("x")))
          yield* tasks.awaitIdle
          return (yield* tasks.list()).length
        })
      assert.strictEqual(yield* withEnv({ KEEP_FAILED: "1" }, kept), 1)
      assert.strictEqual(yield* withEnv({}, kept), 3)
    }))

  it.effect("builds the manager that it is given", () =>
    Effect.gen(function*() {
      const layer = TaskManagerConfig.layer(Mail, { workers: Config.Int("MAIL_WORKERS") })
      const stats = yield* Effect.provide(
        Mail.use(({ stats }) => stats),
        Layer.provide(layer, env({ MAIL_WORKERS: "9" }))
      )
      assert.strictEqual(stats.workers, 9)
    }))

  it.effect("takes one Config of all options, and a provider of another kind", () =>
    Effect.gen(function*() {
      const options = Config.all({ workers: Config.Int("workers"), capacity: Config.Int("capacity") })
      const layer = TaskManagerConfig.layer(TaskManager, Config.nested(options, "tasks"))
      const provider = ConfigProvider.layer(ConfigProvider.fromUnknown({ tasks: { workers: 3, capacity: 0 } }))
      const stats = yield* Effect.provide(TaskManager.use(({ stats }) => stats), Layer.provide(layer, provider))
      assert.deepInclude(stats, { workers: 3, capacity: 0 })
    }))
})

describe("a ConfigError of TaskManagerConfig.layer", () => {
  const outOfRange = [
    ["WORKERS", "0", "workers: expected a whole number >= 1, got 0", "1"],
    ["CAPACITY", "-1", "capacity: expected a whole number >= 0, got -1", "0"],
    ["GROUP_CAPACITY", "-1", "groupCapacity: expected a whole number >= 0, got -1", "0"],
    ["MAX_DELAYED", "0", "maxDelayed: expected a whole number >= 1, got 0", "1"],
    ["KEEP_FAILED", "-1", "keepFailed: expected a whole number >= 0, got -1", "0"],
    ["GRACE_PERIOD", "-1 second", "gracePeriod: expected a duration >= 0", "0 seconds"]
  ] as const
  for (const [name, value, message, inRange] of outOfRange) {
    it.effect(`names an option out of range: ${message}`, () =>
      Effect.gen(function*() {
        assert.match(yield* messageOf(everything, { [name]: value }), /^ConfigError /)
        assert.include(yield* messageOf(everything, { [name]: value }), message)
        yield* Effect.scoped(Effect.provide(Layer.build(everything), env({ [name]: inRange })))
      }))
  }

  it.effect("names the parts of the rate", () =>
    Effect.gen(function*() {
      const rate = (limit: string, window: string) => messageOf(everything, { RATE_LIMIT: limit, RATE_WINDOW: window })
      assert.include(yield* rate("0", "1 second"), "rate.limit: expected a whole number >= 1, got 0")
      assert.include(yield* rate("1", "0 seconds"), "rate.window: expected a duration > 0")
    }))

  it.effect("names a variable that is missing and has no default", () =>
    Effect.gen(function*() {
      const layer = TaskManagerConfig.layer(TaskManager, { workers: Config.Int("TASK_WORKERS") })
      assert.match(yield* messageOf(layer, {}), /^ConfigError .*TASK_WORKERS/s)
    }))

  it.effect("names a variable that cannot be read, also when it has a default", () =>
    Effect.gen(function*() {
      assert.match(yield* messageOf(everything, { WORKERS: "many" }), /^ConfigError .*WORKERS/s)
      assert.match(yield* messageOf(everything, { WORKERS: "1.5" }), /^ConfigError .*WORKERS/s)
      assert.match(yield* messageOf(everything, { GRACE_PERIOD: "soon" }), /^ConfigError .*GRACE_PERIOD/s)
    }))

  it.effect("can be recovered from", () =>
    Effect.gen(function*() {
      const fallback = Layer.catch(everything, () => TaskManager.layer({ workers: 5 }))
      const stats = TaskManager.use(({ stats }) => stats)
      const { workers } = yield* Effect.provide(stats, Layer.provide(fallback, env({ WORKERS: "0" })))
      assert.strictEqual(workers, 5)
    }))
})
