import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A clock that stands until it is moved. `TestClock` would cost more than what is measured. */
export class ManualClock implements Clock.Clock {
  readonly layer = Layer.succeed(Clock.Clock, this)
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = this.currentTimeNanos
  readonly #sleepers = new Map<() => void, number>()
  #millis = 0

  get sleeping(): number {
    return this.#sleepers.size
  }

  currentTimeMillisUnsafe(): number {
    return this.#millis
  }

  currentTimeNanosUnsafe(): bigint {
    return BigInt(this.#millis) * 1_000_000n
  }

  monotonicTimeNanosUnsafe(): bigint {
    return this.currentTimeNanosUnsafe()
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const wake = () => resume(Effect.void)
      this.#sleepers.set(wake, this.#millis + Duration.toMillis(duration))
      return Effect.sync(() => this.#sleepers.delete(wake))
    })
  }

  /** Moves on, and lets run what that wakes. */
  async advance(millis: number): Promise<void> {
    this.#millis += millis
    for (const [wake, at] of this.#sleepers) {
      if (at > this.#millis) continue
      this.#sleepers.delete(wake)
      wake()
    }
    await new Promise(setImmediate)
  }
}
