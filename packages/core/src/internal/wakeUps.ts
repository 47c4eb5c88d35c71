/**
 * Wakes fibers late and together, in one turn of the scheduler: waking one for each task makes producers and workers
 * take turns.
 */
import type * as Scheduler from "effect/Scheduler"

export class WakeUps {
  readonly #dispatcher: Scheduler.SchedulerDispatcher
  #pending: Array<() => void> = []

  constructor(scheduler: Scheduler.Scheduler) {
    this.#dispatcher = scheduler.makeDispatcher()
  }

  add(wake: () => void): void {
    if (this.#pending.push(wake) === 1) this.#dispatcher.scheduleTask(this.#wakeAll, 0)
  }

  #wakeAll = (): void => {
    const pending = this.#pending
    this.#pending = []
    for (const wake of pending) wake()
  }
}
