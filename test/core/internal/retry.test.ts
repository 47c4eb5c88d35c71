import { TaskManager, type TaskOptions } from "@effect-tasks/core"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer, Logger, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"

type Retry = NonNullable<TaskOptions<number>["retry"]>

const manager = Layer.merge(TaskManager.layer({ workers: 1 }), Logger.layer([]))

/** What one attempt sees: when it starts, and what its schedule says. */
interface Attempt {
  readonly at: number
  readonly metadata: Schedule.Metadata
}

/** A task that fails with 1, 2, 3, ... after `takes` milliseconds. */
const failing = (attempts: Array<Attempt>, takes: number): Effect.Effect<never, number> =>
  Effect.gen(function*() {
    attempts.push({ at: yield* Clock.currentTimeMillis, metadata: yield* Schedule.CurrentMetadata })
    yield* Effect.sleep(takes)
    return yield* Effect.fail(attempts.length)
  })

/** The attempts under the manager, and under `Effect.retry` beside it, each with the same chance. */
const bothWays = (retry: Retry, takes = 0, time: Duration.Input = "1 day") =>
  Effect.gen(function*() {
    const manager: Array<Attempt> = []
    const effect: Array<Attempt> = []
    const managed = yield* TaskManager.run(failing(manager, takes), { retry }).pipe(
      Effect.exit,
      Random.withSeed("seed"),
      Effect.forkChild
    )
    // SAFETY: `Retry` is one of the two forms that `Effect.retry` takes.
    const retried: Effect.Effect<never, unknown> = Effect.retry(
      failing(effect, takes),
      retry as typeof Schedule.forever
    )
    const plain = yield* retried.pipe(
      Effect.exit,
      Random.withSeed("seed"),
      Effect.forkChild
    )
    yield* TestClock.adjust(time)
    return { manager, effect, exits: [managed.pollUnsafe(), plain.pollUnsafe()] as const }
  })

const lastFor = <O, I, E>(schedule: Schedule.Schedule<O, I, E>, times: number) => Schedule.upTo(schedule, { times })

const schedules: Record<string, Retry> = {
  "spaced": lastFor(Schedule.spaced("1 second"), 4),
  "recurs(3)": Schedule.recurs(3),
  "recurs(0)": Schedule.recurs(0),
  "once": Schedule.once,
  "exponential": lastFor(Schedule.exponential("100 millis"), 8),
  "exponential by 1.5": lastFor(Schedule.exponential("8 millis", 1.5), 4),
  "fibonacci": lastFor(Schedule.fibonacci("50 millis"), 7),
  "fixed": lastFor(Schedule.fixed("1 second"), 6),
  "windowed": lastFor(Schedule.windowed("7 seconds"), 4),
  "cron": lastFor(Schedule.cron("*/10 * * * *", "UTC"), 4),
  "cron in a zone": lastFor(Schedule.cron("30 4 * * *", "Europe/Berlin"), 2),
  "duration": Schedule.duration("3 seconds"),
  "limited by elapsed time": Schedule.upTo(Schedule.spaced("1 second"), { duration: "5 seconds" }),
  "during": Schedule.max([Schedule.during("5 seconds"), Schedule.spaced("1 second")]),
  "max": Schedule.max([Schedule.exponential("100 millis"), Schedule.spaced("1 second"), Schedule.recurs(6)]),
  "min": lastFor(Schedule.min([Schedule.exponential("100 millis"), Schedule.fixed("1 second")]), 6),
  "concat": Schedule.concat(lastFor(Schedule.spaced("10 millis"), 2), lastFor(Schedule.spaced("1 minute"), 2)),
  "by input": Schedule.while(
    Schedule.setInputType<number>()(Schedule.spaced("1 second")),
    ({ input }) => input < 4
  ),
  "with a delay of its own input": lastFor(
    Schedule.modifyDelay(
      Schedule.passthrough(Schedule.setInputType<number>()(Schedule.forever)),
      ({ input }) => Effect.succeed(Duration.seconds(input))
    ),
    4
  ),
  "with an added delay": lastFor(
    Schedule.addDelay(Schedule.exponential("1 second"), () => Effect.succeed("250 millis")),
    4
  ),
  "without delay": lastFor(Schedule.forever, 20),
  "whose steps take time": lastFor(
    Schedule.tap(Schedule.fixed("1 second"), () => Effect.sleep("300 millis")),
    5
  ),
  "that ends only later than it was asked": Schedule.while(
    Schedule.spaced("1 second"),
    ({ attempt }) => Effect.delay(Effect.succeed(attempt < 3), "2 seconds")
  ),
  "times": { times: 3, schedule: Schedule.spaced("1 second") },
  "no times": { times: 0, schedule: Schedule.spaced("1 second") },
  "times beyond the schedule": { times: 9, schedule: Schedule.recurs(2) },
  "while": { schedule: Schedule.spaced("1 second"), while: (error) => error < 3 },
  "an effectful while": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => Effect.delay(Effect.succeed(error < 3), "2 seconds")
  },
  "until": { schedule: Schedule.exponential("1 second"), until: (error) => error === 3 },
  "an effectful until": {
    schedule: Schedule.exponential("1 second"),
    until: (error) => Effect.delay(Effect.succeed(error === 3), "2 seconds")
  },
  "while, until and times": {
    schedule: Schedule.fibonacci("1 second"),
    times: 7,
    while: (error) => error < 6,
    until: (error) => error === 4
  },
  "a while that throws": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => {
      if (error < 2) return true
      throw new Error("while")
    }
  },
  "a while that dies": {
    schedule: Schedule.spaced("1 second"),
    while: (error) => error < 2 ? Effect.succeed(true) : Effect.die("while")
  },
  "that counts from its start": Schedule.fromStep(
    Effect.map(Clock.currentTimeMillis, (start) => (now: number) =>
      now - start < 5000
        ? Effect.succeed([now - start, Duration.seconds(1)] as [number, Duration.Duration])
        : Effect.die("late"))
  )
}

/** A random tree of schedules, in whole milliseconds, for a task that takes some time too. */
const combination = Effect.gen(function*() {
  const random = yield* Random.Random
  const below = (limit: number) => Math.floor(random.nextDoubleUnsafe() * limit)
  const pick = <A>(options: ReadonlyArray<() => A>): A => options[below(options.length)]!()
  const leaf = (): Schedule.Schedule<unknown, number> =>
    pick<Schedule.Schedule<unknown, number>>([
      () => Schedule.spaced(below(2000)),
      () => Schedule.exponential(1 + below(500)),
      () => Schedule.fibonacci(1 + below(300)),
      () => Schedule.fixed(below(3000)),
      () => Schedule.windowed(1 + below(3000)),
      () => Schedule.recurs(below(6)),
      () => Schedule.duration(below(1000)),
      () => Schedule.during(below(9000))
    ])
  const tree = (depth: number): Schedule.Schedule<unknown, number> => {
    if (depth === 0) return leaf()
    const one = () => tree(depth - 1)
    return pick<Schedule.Schedule<unknown, number>>([
      leaf,
      () => Schedule.max([one(), one()]),
      () => Schedule.min([one(), one()]),
      () => Schedule.concat(lastFor(one(), 1 + below(3)), one()),
      () => Schedule.upTo(one(), { duration: below(9000) }),
      () => ((last) => Schedule.while(one(), ({ input }) => input < last))(2 + below(6)),
      () => Schedule.passthrough(one()),
      () => ((delay) => Schedule.addDelay(one(), () => Effect.succeed(delay)))(below(500)),
      () => ((delay) => Schedule.tap(one(), () => Effect.sleep(delay)))(below(500))
    ])
  }
  return { schedule: tree(3), takes: pick([() => 0, () => below(2500)]), times: below(6) }
})

describe("retry, beside Effect.retry", () => {
  for (const [name, retry] of Object.entries(schedules)) {
    it.effect(`a schedule ${name} retries as under Effect.retry, time for time, with the same metadata`, () =>
      Effect.gen(function*() {
        for (const takes of [0, 300, 2500]) {
          const { effect, exits, manager } = yield* bothWays(retry, takes, "7 days")
          assert.deepStrictEqual(manager, effect)
          assert.isTrue(exits[0] !== undefined && exits[1] !== undefined)
        }
      }).pipe(Effect.provide(manager)))
  }

  it.effect("a hundred random combinations retry as under Effect.retry, time for time, with the same metadata", () =>
    Effect.gen(function*() {
      let attempts = 0
      for (let seed = 0; seed < 100; seed++) {
        const { schedule, takes, times } = yield* Random.withSeed(combination, `retry ${seed}`)
        for (const retry of [lastFor(schedule, 8), { schedule, times, until: (error: number) => error === 5 }]) {
          const { effect, exits, manager } = yield* bothWays(retry, takes, "1 hour")
          assert.deepStrictEqual(manager, effect, `seed ${seed}`)
          assert.isTrue(exits[0] !== undefined && exits[1] !== undefined, `seed ${seed}`)
          attempts += manager.length
        }
      }
      assert.isAbove(attempts, 600)
    }).pipe(Effect.provide(manager)))

  for (
    const [name, schedule] of Object.entries({
      spaced: lastFor(Schedule.jittered(Schedule.spaced("1 second")), 12),
      exponential: lastFor(Schedule.jittered(Schedule.exponential("700 millis")), 12)
    })
  ) {
    it.effect(`${name}, jittered, gives the delays of Effect.retry for the same Random, rounded up to whole milliseconds`, () =>
      Effect.gen(function*() {
        const { effect, manager } = yield* bothWays(schedule)
        const delays = manager.map(({ metadata }) => Duration.toMillis(metadata.duration))
        assert.deepStrictEqual(delays, effect.map(({ metadata }) => Duration.toMillis(metadata.duration)))
        assert.isTrue(delays.some((delay) => delay !== Math.ceil(delay)))
        let at = 0
        assert.deepStrictEqual(manager.map((attempt) => attempt.at), delays.map((delay) => at += Math.ceil(delay)))
      }).pipe(Effect.provide(manager)))
  }
})
