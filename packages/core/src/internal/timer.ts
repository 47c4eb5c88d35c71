/**
 * The manager's one wake-up: a single sleeping fiber for the earliest of all times that matter.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

export class Timer {
  readonly #context: Context.Context<never>
  readonly #clock: Clock.Clock
  readonly #tick: () => void
  #sleeper: Fiber.Fiber<void> | undefined
  #at = Infinity

  constructor(context: Context.Context<never>, tick: () => void) {
    this.#context = context
    this.#clock = Context.get(context, Clock.Clock)
    this.#tick = tick
  }

  /** Milliseconds of the monotonic clock, which no correction of the wall clock moves. */
  now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  wallNow(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  get isSet(): boolean {
    return this.#at !== Infinity
  }

  /** Wakes at `at` or, when it is set for an earlier time, then, to be set again. `Infinity` switches it off. */
  set(at: number): void {
    if (at >= this.#at && at !== Infinity) return
    if (at === this.#at) return
    const sleeper = this.#sleeper
    this.#sleeper = undefined
    this.#at = at
    sleeper?.interruptUnsafe()
    if (at === Infinity) return
    const millis = Math.max(0, Math.ceil(at - this.now()))
    const fiber = Effect.runForkWith(this.#context)(Effect.sleep(Duration.millis(millis)))
    this.#sleeper = fiber
    fiber.addObserver(() => {
      if (this.#sleeper !== fiber) return
      this.#sleeper = undefined
      this.#at = Infinity
      this.#tick()
    })
  }
}
