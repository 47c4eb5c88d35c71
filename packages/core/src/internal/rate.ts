/**
 * At most `limit` starts in any window, wherever the window is laid: it remembers the last `limit` starts.
 *
 * A start is when the attempt begins, which in a busy process is later than when a worker was found for it.
 *
 * Effect's `RateLimiter` counts fixed windows or tokens, which let a burst of twice the limit through.
 */
import type { TaskRecord } from "./taskRecord.ts"

export class RateLimit {
  readonly #limit: number
  readonly #window: number
  readonly #starts: Array<number> = []
  /** Where the starts stand that have not begun. */
  readonly #coming = new Map<TaskRecord, number>()
  #oldest = 0

  constructor(limit: number, window: number) {
    this.#limit = limit
    this.#window = window
  }

  /** The earliest time of the next start. */
  get freeAt(): number {
    const oldest = this.#starts[this.#oldest]
    return oldest === undefined ? -Infinity : oldest + this.#window
  }

  assign(record: TaskRecord): void {
    this.#coming.set(record, this.#oldest)
    this.#starts[this.#oldest] = Infinity
    this.#oldest = (this.#oldest + 1) % this.#limit
  }

  begin(record: TaskRecord, now: number): void {
    this.#starts[this.#coming.get(record)!] = now
    this.#coming.delete(record)
  }

  /** It has ended before it began. */
  takeBack(record: TaskRecord): void {
    if (this.#coming.has(record)) this.begin(record, -Infinity)
  }
}
