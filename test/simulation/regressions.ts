/**
 * What the simulator has found in core: each program failed under the schedule of its seed. A changed core runs
 * differently under the same seed, so some seeds after it are run as well.
 */
import type { Program } from "./program.ts"

export interface Regression {
  readonly title: string
  readonly seed: number
  readonly program: Program
}

const world = { yields: 0.25, late: 0 }
const manager = { workers: 1, capacity: 0, groupCapacity: 1, maxDelayed: 10, gracePeriod: 0, keepFailed: 1 }
const task = { kind: 0, attempts: [{ does: [], ends: "succeeds" }] } as const

export const regressions: ReadonlyArray<Regression> = [
  {
    title: "a submit that found no room is refused when the manager stops before it is suspended",
    seed: 117,
    program: {
      world,
      manager,
      kinds: [{}],
      clients: [[{ op: "pause" }, { op: "submit", task }], [{ op: "shutdown" }]]
    }
  },
  {
    title: "a worker takes what it was handed before it slept",
    seed: 163,
    program: { world, manager, kinds: [{}], clients: [[{ op: "trySubmit", task }]] }
  }
]
