/**
 * The waits that go on at this moment, and which workers they lend (law 13).
 */
import type { RunningTask } from "./taskRecord.ts"
import type { TaskRecord } from "./taskRecord.ts"
import { nextTowards, type Wait } from "./waits.ts"
import type { Worker } from "./worker.ts"

export class Lending {
  readonly #waits = new Set<Wait>()
  /** Tasks that go on although their worker is still lent: as many freed workers take nothing. */
  overdraft = 0

  begin(wait: Wait): void {
    wait.waiter.waits ??= new Set()
    wait.waiter.waits.add(wait)
    if (wait.lender !== undefined) this.#waits.add(wait)
  }

  /** What was waited for has come; the waiter goes on when its worker is back. */
  finish(wait: Wait): void {
    wait.over = true
    if (wait.lender === undefined || wait.lender.worker.attends(wait.lender.record)) this.#end(wait)
  }

  /** The wait was interrupted: the waiter goes on at once. */
  abandon(wait: Wait): void {
    const { lender, waiter } = wait
    this.#forget(wait)
    if (lender !== waiter || lender.overdrawn || lender.worker.current === lender.record) return
    lender.overdrawn = true
    this.overdraft++
  }

  /** The worker is back at its suspended task: waits that are over go on. */
  back(running: RunningTask): void {
    this.repay(running)
    for (const wait of this.#waits) if (wait.over && wait.lender === running) this.#end(wait)
  }

  repay(running: RunningTask): void {
    if (!running.overdrawn) return
    running.overdrawn = false
    this.overdraft--
  }

  /** A worker whose task waits for room: it may take any task. */
  get forAnyTask(): Worker | undefined {
    for (const wait of this.#waits) if (wait.target === undefined && wait.canLend) return wait.lender!.worker
    return undefined
  }

  /** Gives each worker that is free to be lent what its task waits for. */
  lend(start: (record: TaskRecord, worker: Worker) => void): void {
    for (const wait of this.#waits) {
      if (wait.target === undefined || !wait.canLend) continue
      const record = nextTowards(wait.target)
      if (record !== undefined) start(record, wait.lender!.worker)
    }
  }

  #end(wait: Wait): void {
    this.#forget(wait)
    wait.goOn()
  }

  #forget(wait: Wait): void {
    this.#waits.delete(wait)
    wait.waiter.waits?.delete(wait)
  }
}
