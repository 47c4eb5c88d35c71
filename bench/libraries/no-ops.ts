import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** Runs an effect `count` times, at the least cost that Effect has for it. */
export const times = <A, E, R>(
  count: number,
  effect: (i: number) => Effect.Effect<A, E, R>
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let i = -1
    return Effect.whileLoop({
      while: () => ++i < count,
      body: () => effect(i),
      step: () => {}
    })
  })

/** Hands over a no-op as often as that, waits until all have run, and tells how many did. */
export const noOps = <A, E, R>(
  count: number,
  submit: (task: Effect.Effect<void>, i: number) => Effect.Effect<A, E, R>
): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const all = Latch.makeUnsafe()
    let ran = 0
    const task = Effect.sync(() => {
      if (++ran === count) all.openUnsafe()
    })
    return times(count, (i) => submit(task, i)).pipe(
      Effect.andThen(all.await),
      Effect.andThen(Effect.sync(() => ran))
    )
  })
