import type { Effect } from "effect"
import { expectTypeOf, it } from "vitest"

it("an Effect's success type is read from its first parameter", () => {
  expectTypeOf<Effect.Success<Effect.Effect<number, string>>>().toEqualTypeOf<number>()
})
