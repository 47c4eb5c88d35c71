import { Effect } from "effect"
import { TestClock } from "effect/testing"

/** Lets everything run that can; `adjust` first, since the clock's first sleep without one is interruptible anywhere. */
export const quiet = Effect.andThen(TestClock.adjust(0), Effect.repeat(Effect.yieldNow, { times: 50 }))

export const after = (millis: number) => Effect.andThen(TestClock.adjust(millis), quiet)
