import * as Effect from "effect/Effect"

/** Fails three times, then succeeds and tells so; for one task. */
export const failingThrice = (succeeded: () => void): Effect.Effect<void, string> => {
  let attempts = 0
  return Effect.suspend(() => {
    if (++attempts < 4) return Effect.fail("not yet")
    succeeded()
    return Effect.void
  })
}
