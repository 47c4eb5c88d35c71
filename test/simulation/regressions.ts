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
const slow = { kind: 0, attempts: [{ does: [{ op: "sleep", millis: 2 }], ends: "succeeds" }] } as const
const slowInGroup = { ...slow, group: "a" }
const deaf = { kind: 0, attempts: [{ does: [{ op: "deaf", millis: 1 }], ends: "succeeds" }] } as const
const busy = {
  op: "submit",
  task: { kind: 0, group: "a", attempts: [{ does: [{ op: "sleep", millis: 5 }], ends: "succeeds" }] }
} as const
/** Waits for tasks that wait for tasks, with delays, retries and one key. */
const nest = {
  kind: 0,
  attempts: [{
    does: [{
      op: "run",
      task: {
        kind: 3,
        attempts: [{
          does: [
            {
              op: "submit",
              task: {
                kind: 0,
                attempts: [{
                  does: [
                    { op: "deaf", millis: 5 },
                    {
                      op: "run",
                      task: { kind: 3, key: "b", attempts: [{ does: [{ op: "sleep", millis: 0 }], ends: "fails" }] }
                    }
                  ],
                  ends: "interrupts"
                }]
              }
            },
            { op: "join", of: 0 }
          ],
          ends: "fails"
        }]
      }
    }],
    ends: "never"
  }]
} as const

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
  },
  {
    title: "a worker that loses its task before it slept is free again",
    seed: 551_074_713,
    program: {
      world: { yields: 0.1, late: 0 },
      manager: { ...manager, capacity: 1 },
      kinds: [{}],
      clients: [[{ op: "submit", task }, { op: "cancel", of: 0 }]]
    }
  },
  {
    title: "a group with a delayed task stays one group when another task of it ends",
    seed: 686_731_311,
    program: {
      world,
      manager: { ...manager, workers: 2, capacity: 2, gracePeriod: 100 },
      kinds: [{ delay: 20 }],
      clients: [[busy, busy, { op: "cancel", of: 0 }, busy]]
    }
  },
  {
    title: "a task whose attempt ends while its worker is lent takes no second worker for its hook",
    seed: 781_894_513,
    program: {
      world,
      manager: { workers: 2, capacity: 2, groupCapacity: 0, maxDelayed: 1, gracePeriod: 10, keepFailed: 0 },
      kinds: [{ delay: 10, onFailed: { does: [], ends: "fails" } }, {}, {}, {
        retry: { shape: "spaced", delay: 0, times: 3 }
      }],
      clients: [[{ op: "trySubmit", task: nest }, { op: "join", of: 0 }]]
    }
  },
  {
    title: "a manager that is told to stop by whoever awaited its idleness still ends what that one submitted",
    seed: 726_306_308,
    program: {
      world: { yields: 0.02, late: 0 },
      manager: { ...manager, capacity: 1, gracePeriod: 1000, rate: { limit: 1, window: 11 } },
      kinds: [{}],
      clients: [[{ op: "submit", task }, { op: "awaitIdle" }, { op: "submit", task }]]
    }
  },
  {
    title: "a recurring submit that begins while the manager stops leaves no timer",
    seed: 123,
    program: {
      world,
      manager,
      kinds: [{}],
      clients: [[{ op: "schedule", task, every: 21, times: 2 }, { op: "sleep", millis: 1 }], [{ op: "shutdown" }]]
    }
  },
  {
    title: "a manager that stops when its recurring submits do leaves no timer",
    seed: 701_980_697,
    program: {
      world: { yields: 0.02, late: 0 },
      manager: { ...manager, gracePeriod: 1000 },
      kinds: [{}],
      clients: [
        [{ op: "schedule", task, every: 1, times: 2 }, { op: "submit", task: deaf }, { op: "join", of: 0 }]
      ]
    }
  },
  {
    title: "a worker that is free at the end of the grace period starts nothing more",
    seed: 1005,
    program: {
      world: { yields: 0, late: 0 },
      manager: { ...manager, capacity: 1 },
      kinds: [{}],
      clients: [[{ op: "submit", task: deaf }, { op: "submit", task }, { op: "shutdown", grace: 1 }]]
    }
  },
  {
    title: "a task that is cancelled when another worker has just been found for it takes one, not two",
    seed: 1285,
    program: {
      world,
      manager: { ...manager, workers: 2, capacity: 2, groupCapacity: 0 },
      kinds: [{}],
      clients: [[
        { op: "submit", task: slow },
        { op: "submit", task: { kind: 0, attempts: [{ does: [{ op: "run", task: slowInGroup }], ends: "succeeds" }] } },
        { op: "deaf", millis: 2 },
        { op: "cancel", of: 1 },
        { op: "sleep", millis: 1 },
        { op: "submit", task: slow },
        { op: "submit", task: slow },
        { op: "sleep", millis: 5 }
      ]]
    }
  },
  {
    title: "a task that waits within its group lends its worker to what of it comes back from a backoff",
    seed: 1666,
    program: {
      world,
      manager: { ...manager, groupCapacity: 0 },
      kinds: [{ retry: { shape: "spaced", delay: 5, times: 1 } }],
      clients: [[{
        op: "run",
        task: {
          kind: 0,
          group: "a",
          attempts: [{
            does: [{ op: "run", task: { kind: 0, group: "a", attempts: [{ does: [], ends: "fails" }] } }],
            ends: "succeeds"
          }]
        }
      }]]
    }
  },
  {
    title: "a submit gets the place of a task that expires as it is about to start",
    seed: 3134,
    program: {
      world: { yields: 0, late: 0 },
      manager: { ...manager, capacity: 1 },
      kinds: [{ timeToStart: 2 }, {}],
      clients: [[
        { op: "submit", task: { ...slow, kind: 1 } },
        { op: "submit", task },
        { op: "submit", task: { ...task, kind: 1 } }
      ]]
    }
  }
]
