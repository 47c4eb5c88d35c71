import { assert, describe, it } from "@effect/vitest"
import { generate, type Program } from "./program.ts"
import { regressions } from "./regressions.ts"
import { simulate } from "./simulation.ts"

const task = { kind: 0, attempts: [{ does: [], ends: "succeeds" }] } as const
const crowd: Program = {
  world: { yields: 0.25, late: 0 },
  manager: { workers: 2, capacity: 1, groupCapacity: 1, maxDelayed: 1, gracePeriod: 0, keepFailed: 0 },
  kinds: [{}],
  clients: Array.from({ length: 3 }, () => [{ op: "submit", task }, { op: "run", task }])
}

describe("simulation", () => {
  it("the same seed gives the same run, event for event", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const first = simulate(generate(seed), seed)
      assert.deepStrictEqual(simulate(generate(seed), seed), first)
      assert.isAbove(first.log.length, 0)
    }
  })

  it("another seed gives another run of the same program", () => {
    const runs = Array.from({ length: 50 }, (_, seed) => simulate(crowd, seed).log.join("\n"))
    assert.isAbove(new Set(runs).size, 10)
  })

  it("the laws hold for the programs of the first seeds", () => {
    for (let seed = 1; seed <= 100; seed++) {
      assert.strictEqual(simulate(generate(seed), seed).violation?.message, undefined, `SEED=${seed} pnpm simulate`)
    }
  })

  for (const { program, seed, title } of regressions) {
    it(`${title}`, () => {
      for (let schedule = seed; schedule < seed + 30; schedule++) {
        assert.strictEqual(simulate(program, schedule).violation?.message, undefined, `schedule ${schedule}`)
      }
    })
  }
})
