/**
 * Plain numbers that a task updates as it goes; metrics and `stats` read them when asked, so a task pays next to
 * nothing for them. Law 8 holds because a task is counted in one state at a time.
 */
import type { TaskState } from "../TaskInfo.ts"

/** The tasks of one name in one state; a task points at the one that counts it. */
export class StateCount {
  readonly state: TaskState
  tasks = 0

  constructor(state: TaskState) {
    this.state = state
  }
}

/** What is counted for all tasks of one name. */
export class NameCounters {
  readonly name: string
  readonly states = {
    waiting: new StateCount("waiting"),
    delayed: new StateCount("delayed"),
    running: new StateCount("running"),
    completed: new StateCount("completed"),
    failed: new StateCount("failed"),
    aborted: new StateCount("aborted")
  }
  submitted = 0
  attempts = 0
  retries = 0
  skipped = 0
  readonly waitTime = new Histogram()
  readonly runTime = new Histogram()

  constructor(name: string) {
    this.name = name
  }
}

const smallest = 6 // 2^6 µs = 64 µs
const buckets = 26 // up to 2^31 µs, about 36 minutes

/** Durations in buckets that double, from 64 µs to 36 minutes: one shift instead of a search. */
export class Histogram {
  static readonly boundaries: ReadonlyArray<number> = Array.from(
    { length: buckets },
    (_, i) => 2 ** (i + smallest) / 1e6
  )

  readonly #counts: Array<number> = Array.from({ length: buckets + 1 }, () => 0)
  #count = 0
  #sum = 0
  #min = Number.MAX_VALUE
  #max = -Number.MAX_VALUE

  record(millis: number): void {
    // Two readings of the clock differ by a float that may be off by less than a nanosecond.
    const micros = Math.min(Math.ceil(millis * 1000 - 0.001), 2 ** 31 + 1)
    const bucket = micros < 2 ? 0 : 32 - Math.clz32(micros - 1) - smallest
    this.#counts[Math.max(0, bucket)]!++
    this.#count++
    this.#sum += millis
    if (millis < this.#min) this.#min = millis
    if (millis > this.#max) this.#max = millis
  }

  /** The state as `Metric.histogram` gives it, in seconds: buckets as `[upper bound, tasks at or below it]`. */
  read() {
    let below = 0
    return {
      buckets: Histogram.boundaries.map((bound, i): [number, number] => [bound, below += this.#counts[i]!]),
      count: this.#count,
      min: this.#min === Number.MAX_VALUE ? this.#min : this.#min / 1000,
      max: this.#max === -Number.MAX_VALUE ? this.#max : this.#max / 1000,
      sum: this.#sum / 1000
    }
  }
}
