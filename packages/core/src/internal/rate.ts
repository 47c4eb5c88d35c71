/**
 * At most `limit` starts in any window, wherever the window is laid: it remembers the last `limit` starts.
 *
 * Effect's `RateLimiter` counts fixed windows or tokens, which let a burst of twice the limit through.
 */
export class RateLimit {
  readonly #limit: number
  readonly #window: number
  readonly #starts: Array<number> = []
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

  start(now: number): void {
    this.#starts[this.#oldest] = now
    this.#oldest = (this.#oldest + 1) % this.#limit
  }
}
