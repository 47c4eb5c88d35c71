/**
 * Programs for the simulator: plain data, so that one can be generated from a seed, shrunk, printed and run again.
 */
import { SeededRandom } from "./random.ts"
import type { WorldOptions } from "./world.ts"

export interface Program {
  readonly world: WorldOptions
  /** Who watches: a reader of the events, a tracer, a logger that wants debug entries. */
  readonly watched?: { readonly events?: true; readonly spans?: true; readonly debug?: true }
  readonly manager: ManagerSpec
  /** What all tasks of one kind have in common; a task's name tells its kind. */
  readonly kinds: ReadonlyArray<Kind>
  /** Fibers that use the manager at the same time. */
  readonly clients: ReadonlyArray<ReadonlyArray<Op>>
}

/** Durations are in milliseconds, here and everywhere below. */
interface ManagerSpec {
  readonly workers: number
  readonly capacity: number
  readonly groupCapacity: number
  readonly maxDelayed: number
  readonly gracePeriod: number
  readonly keepFailed: number
  readonly rate?: { readonly limit: number; readonly window: number }
}

export interface Kind {
  readonly priority?: number
  readonly delay?: number
  readonly timeToStart?: number
  readonly timeToLive?: number
  readonly keyUntil?: "start" | "end"
  readonly retry?: RetrySpec
  /** Whether a failed task is reported under an error of the caller's. */
  readonly headed?: boolean
  readonly onFailed?: Behaviour
}

/** `spaced` waits `delay` each time, `doubling` twice as long as before; `fatal` failures are not retried. */
export interface RetrySpec {
  readonly shape: "spaced" | "doubling"
  readonly delay: number
  readonly times: number
}

export interface TaskSpec {
  readonly kind: number
  readonly key?: string
  readonly group?: string
  /** What its attempts do; the last one repeats. */
  readonly attempts: ReadonlyArray<Behaviour>
}

export interface Behaviour {
  readonly does: ReadonlyArray<Op>
  readonly ends: "succeeds" | "fails" | "fatal" | "dies" | "interrupts" | "never"
  readonly finalizer?: { readonly millis: number; readonly dies: boolean }
  /** A fiber that the attempt leaves behind, and how long it takes to stop. */
  readonly child?: { readonly millis: number }
}

/** `of` is a handle: any that was given out so far. `giveUp` interrupts the operation after that time. */
export type Op =
  | { readonly op: "sleep" | "deaf"; readonly millis: number }
  | { readonly op: "submit" | "trySubmit" | "run"; readonly task: TaskSpec; readonly giveUp?: number }
  | { readonly op: "await" | "join" | "cancel" | "retry"; readonly of: number; readonly giveUp?: number }
  | { readonly op: "schedule"; readonly task: TaskSpec; readonly every: number; readonly times: number }
  | { readonly op: "pause" | "resume" | "close" }
  | { readonly op: "awaitIdle"; readonly giveUp?: number }
  | { readonly op: "shutdown"; readonly grace?: number; readonly giveUp?: number }
  | { readonly op: "correctClock"; readonly millis: number }

export const generate = (seed: number): Program => new Generator(new SeededRandom(seed)).program()

const upTo = 4

class Generator {
  readonly #random: SeededRandom
  #budget = 12

  constructor(random: SeededRandom) {
    this.#random = random
  }

  program(): Program {
    const kinds = this.#some(1, 4, () => this.#kind())
    return {
      world: {
        yields: this.#random.pick([0, 0.02, 0.1, 0.3, 0.6]),
        late: this.#random.pick([0, 0, 0, 3])
      },
      watched: {
        ...this.#maybe(0.25, () => ({ events: true })),
        ...this.#maybe(0.25, () => ({ spans: true })),
        ...this.#maybe(0.25, () => ({ debug: true }))
      },
      manager: this.#manager(),
      kinds,
      clients: this.#some(
        1,
        4,
        () => [this.#submit(kinds.length), ...this.#some(1, 6, () => this.#clientOp(kinds.length))]
      )
    }
  }

  #manager(): ManagerSpec {
    const capacity = this.#random.pick([0, 1, 1, 2, 3, 8])
    return {
      workers: this.#random.pick([1, 1, 2, 3]),
      capacity,
      groupCapacity: this.#random.pick([0, 1, Math.ceil(capacity / 4), capacity]),
      maxDelayed: this.#random.pick([1, 2, 10]),
      gracePeriod: this.#random.pick([0, 10, 1000]),
      keepFailed: this.#random.pick([0, 1, 10]),
      ...this.#maybe(0.15, () => ({ rate: { limit: 1 + this.#random.below(3), window: this.#millis() + 1 } }))
    }
  }

  #kind(): Kind {
    return {
      ...this.#maybe(0.3, () => ({ priority: this.#random.pick([-0.02, 0.01, 0.05, 1]) })),
      ...this.#maybe(0.2, () => ({ delay: this.#millis() })),
      ...this.#maybe(0.15, () => ({ timeToStart: this.#millis() + 1 })),
      ...this.#maybe(0.15, () => ({ timeToLive: this.#millis() + 1 })),
      ...this.#maybe(0.5, () => ({ keyUntil: this.#random.pick(["start", "end"] as const) })),
      ...this.#maybe(0.5, () => ({ retry: this.#retry() })),
      ...this.#maybe(0.3, () => ({ headed: true })),
      ...this.#maybe(0.2, () => ({ onFailed: this.#behaviour([]) }))
    }
  }

  #retry(): RetrySpec {
    return {
      shape: this.#random.pick(["spaced", "doubling"]),
      delay: this.#random.pick([0, 1, 5, 20]),
      times: this.#random.below(4)
    }
  }

  #task(kinds: number): TaskSpec {
    return {
      kind: this.#random.below(kinds),
      ...this.#maybe(0.2, () => ({ key: this.#random.pick(["a", "b"]) })),
      ...this.#maybe(0.35, () => ({ group: this.#random.pick(["a", "b"]) })),
      attempts: this.#some(1, 3, () => this.#behaviour(this.#some(0, 2, () => this.#taskOp(kinds))))
    }
  }

  #behaviour(does: ReadonlyArray<Op>): Behaviour {
    return {
      does,
      ends: this.#random.pick([
        "succeeds",
        "succeeds",
        "succeeds",
        "fails",
        "fails",
        "fatal",
        "dies",
        "interrupts",
        "never"
      ]),
      ...this.#maybe(0.25, () => ({ finalizer: { millis: this.#millis(), dies: this.#random.chance(0.2) } })),
      ...this.#maybe(0.2, () => ({ child: { millis: this.#millis() } }))
    }
  }

  #clientOp(kinds: number): Op {
    const roll = this.#random.next()
    if (roll < 0.05) {
      return { op: "shutdown", ...this.#maybe(0.7, () => ({ grace: this.#millis() })), ...this.#giveUp() }
    }
    if (roll < 0.08) return { op: "pause" }
    if (roll < 0.18) return { op: "resume" }
    if (roll < 0.19) return { op: "close" }
    if (roll < 0.2) return { op: "awaitIdle", ...this.#giveUp() }
    if (roll < 0.25 && this.#budget > 0) {
      this.#budget -= 3
      return { op: "schedule", task: this.#task(kinds), every: this.#millis() + 1, times: 1 + this.#random.below(3) }
    }
    if (roll < 0.27) return { op: "correctClock", millis: this.#random.pick([-5000, -1, 3, 100_000]) }
    return this.#taskOp(kinds)
  }

  #taskOp(kinds: number): Op {
    const roll = this.#random.next()
    if (roll < 0.2) return { op: this.#random.pick(["sleep", "sleep", "deaf"]), millis: this.#millis() }
    if (roll < 0.35 || this.#budget <= 0) {
      const op = this.#random.pick(["await", "join", "cancel", "cancel", "retry"] as const)
      return { op, of: this.#random.below(20), ...this.#giveUp() }
    }
    return this.#submit(kinds)
  }

  #submit(kinds: number): Op {
    this.#budget--
    return {
      op: this.#random.pick(["submit", "submit", "submit", "trySubmit", "run"]),
      task: this.#task(kinds),
      ...this.#giveUp()
    }
  }

  #giveUp(): { readonly giveUp?: number } {
    return this.#maybe(0.2, () => ({ giveUp: this.#millis() }))
  }

  #millis(): number {
    return this.#random.pick([0, 1, 1, 2, 5, 10, 20, 50])
  }

  #maybe<A extends object>(probability: number, make: () => A): A | {} {
    return this.#random.chance(probability) ? make() : {}
  }

  #some<A>(least: number, most: number, make: () => A): Array<A> {
    return Array.from({ length: least + this.#random.below(Math.min(most, least + upTo) - least + 1) }, make)
  }
}
