import { Effect } from "effect"

/** Runs an effect `count` times, at the least cost that Effect has for it. */
export const times = <A, E, R>(count: number, effect: () => Effect.Effect<A, E, R>): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let done = 0
    return Effect.whileLoop({
      while: () => done++ < count,
      body: effect,
      step: () => {}
    })
  })
