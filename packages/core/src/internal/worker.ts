/**
 * What the kernel knows of a worker fiber: the task handed to it, and how to wake it.
 *
 * A worker is idle, or runs a task, or attends to a task that is suspended. While the attended task waits for others it
 * may be handed one of them, run it, and come back (law 13).
 */
import type { Lending } from "./lending.ts"
import type { TaskRecord } from "./taskRecord.ts"

/** Who may take any task: a spare worker, or one lent by a task that waits for room. */
export type Taker = "spare" | Worker

export class Worker {
  /** Of the manager that it belongs to. */
  readonly home: Lending
  /** Handed over, not yet begun. */
  task: TaskRecord | undefined
  /** What it is busy with: the innermost, when it is lent. */
  current: TaskRecord | undefined
  /** The suspended task whose end it waits for; undefined while it is lent. */
  attending: TaskRecord | undefined
  idle = false
  /** What its tasks have used of its turn. */
  operations = 0
  /** Resumes the fiber; present while it is suspended. */
  resume: (() => void) | undefined

  /** Stands in for a worker that is lent when its own task has ended: it concludes that task and nothing else. */
  readonly substitute: boolean

  constructor(home: Lending, substitute = false) {
    this.home = home
    this.substitute = substitute
  }

  /** It stands beside its suspended task: it is neither lent nor about to be. */
  attends(record: TaskRecord): boolean {
    return this.attending === record && this.task === undefined && !this.substitute
  }

  wake(): void {
    const { resume } = this
    this.resume = undefined
    resume?.()
  }

  /** Wakes it unless its task was taken back meanwhile. */
  readonly wakeForTask = (): void => {
    if (this.task !== undefined) this.wake()
  }
}
