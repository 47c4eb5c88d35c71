import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { quantile, type Round } from "../round.ts"

/** Lets whatever is to do be done first. */
const idle = Effect.callback<void>((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})

/**
 * Microseconds from handing a task over to its first instruction, one by one, each when everything is idle again.
 * `start` is given the effect to start.
 */
export const latencies = <E>(
  samples: number,
  start: (started: Effect.Effect<void>) => Effect.Effect<void, E>
): Round => {
  const sample = Effect.gen(function*() {
    const done = Latch.makeUnsafe()
    let at = 0
    const started = Effect.sync(() => {
      at = performance.now()
      done.openUnsafe()
    })
    const before = performance.now()
    yield* start(started)
    yield* done.await
    yield* idle
    return (at - before) * 1000
  })
  return async () => {
    const micros = await Effect.runPromise(Effect.orDie(Effect.forEach(Array(samples).keys(), () => sample)))
    return { p50: quantile(micros, 0.5), p99: quantile(micros, 0.99) }
  }
}
