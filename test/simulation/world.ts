/**
 * A world in which nothing happens by accident: which fiber goes on, where it is made to yield, what time it is and
 * what chance gives all follow from one seed.
 *
 *     while something can run: run any of it → step;  nothing can run → rest → move the clock to the next sleeper
 *
 * Everything is synchronous, so a run of some thousand steps takes milliseconds. A resume in Effect runs the resumed
 * fiber on the spot; without forced yields little would be shuffled.
 */
import { Clock, Context, Duration, Effect, Metric, Random, Scheduler } from "effect"
import { SeededRandom } from "./random.ts"

export interface WorldOptions {
  /** Probability of a forced yield before each operation of a fiber, below 1. */
  readonly yields: number
  /** Timers come up to this many milliseconds late. */
  readonly late: number
}

interface Sleeper {
  readonly at: number
  /** Of the clock, as opposed to a program's own sleep. */
  readonly timer: boolean
  readonly wake: () => void
}

const tooMany = 20_000

export class World {
  readonly #random: SeededRandom
  readonly #options: WorldOptions
  readonly #runnable: Array<() => void> = []
  readonly #sleepers = new Set<Sleeper>()
  /** A monotonic clock between two milliseconds, as real ones are; a half, so that sums of it are exact. */
  #now = 12_345.5
  /** What makes a wall clock of it. */
  #wallOffset = Date.UTC(2030, 0, 1)
  #steps = 0
  #fibers = 0

  constructor(seed: number, options: WorldOptions) {
    this.#random = new SeededRandom(seed)
    this.#options = options
  }

  /** Milliseconds of the monotonic clock. */
  get now(): number {
    return this.#now
  }

  /** Fibers that have begun and not ended. */
  get fibers(): number {
    return this.#fibers
  }

  /** Timers that are set on the clock. */
  get timers(): number {
    return Array.from(this.#sleepers).filter(({ timer }) => timer).length
  }

  get steps(): number {
    return this.#steps
  }

  /** Somebody sets the wall clock; the monotonic one does not notice. */
  correctWallClock(millis: number): void {
    this.#wallOffset += millis
  }

  /** What a fiber needs to live in this world. */
  get context(): Context.Context<never> {
    return Context.empty().pipe(
      Context.add(Scheduler.Scheduler, this.#scheduler),
      Context.add(Clock.Clock, this.#clock),
      Context.add(Random.Random, {
        nextDoubleUnsafe: () => this.#random.next(),
        nextIntUnsafe: () => Math.floor((this.#random.next() - 0.5) * Number.MAX_SAFE_INTEGER)
      }),
      Context.add(Metric.MetricRegistry, new Map()),
      Context.add(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => void this.#fibers++,
        recordFiberEnd: () => void this.#fibers--
      })
    )
  }

  /** Runs until nothing can run and nobody sleeps. */
  run(onStep: () => void, onRest: () => void): void {
    while (true) {
      while (this.#runnable.length > 0) {
        if (++this.#steps > tooMany) throw new Error(`does not come to rest within ${tooMany} steps`)
        this.#takeAny()()
        onStep()
      }
      onRest()
      if (this.#sleepers.size === 0) return
      this.#moveClock()
    }
  }

  #takeAny(): () => void {
    const chosen = this.#random.below(this.#runnable.length)
    const last = this.#runnable.pop()!
    if (chosen === this.#runnable.length) return last
    const task = this.#runnable[chosen]!
    this.#runnable[chosen] = last
    return task
  }

  #moveClock(): void {
    const next = Math.min(...Array.from(this.#sleepers, ({ at }) => at))
    const late = this.#options.late > 0 && this.#random.chance(0.3) ? this.#random.below(this.#options.late + 1) : 0
    this.#now = Math.max(this.#now, next) + late
    for (const sleeper of this.#sleepers) {
      if (sleeper.at > this.#now) continue
      this.#sleepers.delete(sleeper)
      this.#runnable.push(sleeper.wake)
    }
  }

  readonly #scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    // Never before a fiber has done anything in its turn: Effect's own scheduler does not, and a fiber that is interrupted
    // before it has begun would begin all the same.
    shouldYield: (fiber) => fiber.currentOpCount > 1 && this.#random.chance(this.#options.yields),
    makeDispatcher: () => ({
      // Nothing may depend on priorities, so they are not kept: what runs next is anybody's guess.
      scheduleTask: (task) => void this.#runnable.push(task),
      flush: () => {
        throw new Error("nothing in a simulated world may run synchronously")
      }
    })
  }

  readonly #clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => Math.floor(this.#now + this.#wallOffset),
    currentTimeMillis: Effect.sync(() => this.#clock.currentTimeMillisUnsafe()),
    currentTimeNanosUnsafe: () => BigInt(this.#clock.currentTimeMillisUnsafe()) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => this.#clock.currentTimeNanosUnsafe()),
    monotonicTimeNanosUnsafe: () => BigInt(Math.round(this.#now * 1e6)),
    monotonicTimeNanos: Effect.sync(() => this.#clock.monotonicTimeNanosUnsafe()),
    sleep: (duration) => this.#sleep(Duration.toMillis(duration), true)
  }

  /** A program's sleep, which does not count as a timer. */
  sleep(millis: number): Effect.Effect<void> {
    return this.#sleep(millis, false)
  }

  #sleep(millis: number, timer: boolean): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const sleeper: Sleeper = { at: this.#now + millis, timer, wake: () => resume(Effect.void) }
      this.#sleepers.add(sleeper)
      return Effect.sync(() => void this.#sleepers.delete(sleeper))
    })
  }
}
