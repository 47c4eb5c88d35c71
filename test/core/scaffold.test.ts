import { assert, it } from "@effect/vitest"
import { Effect } from "effect"

it.effect("Effect runs", () => Effect.map(Effect.succeed(1), (n) => assert.strictEqual(n, 1)))
