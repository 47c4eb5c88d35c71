/**
 * Which tasks there are, and how many of them are where (law 8).
 */
import type { TaskState } from "../TaskInfo.ts"
import { NameCounters, type StateCount } from "./counters.ts"
import type { TaskRecord } from "./taskRecord.ts"
import { TaskTable } from "./taskTable.ts"

export class Ledger {
  /** Every task that has not settled. */
  readonly tasks = new TaskTable()
  /** The last failed tasks, by id. */
  readonly failed = new Map<number, TaskRecord>()
  submitted = 0
  waiting = 0
  delayed = 0

  readonly #names = new Map<string, NameCounters>()
  readonly #named: (counters: NameCounters) => void
  readonly #keepFailed: number

  /** `named` is told of each new name. */
  constructor(keepFailed: number, named: (counters: NameCounters) => void) {
    this.#keepFailed = keepFailed
    this.#named = named
  }

  get counts(): Record<TaskState, number> {
    const counts = { waiting: 0, delayed: 0, running: 0, completed: 0, failed: 0, aborted: 0 }
    for (const { states } of this.#names.values()) {
      for (const { state, tasks } of Object.values(states)) counts[state] += tasks
    }
    return counts
  }

  countersOf(name: string): NameCounters {
    let counters = this.#names.get(name)
    if (counters === undefined) {
      this.#names.set(name, counters = new NameCounters(name))
      this.#named(counters)
    }
    return counters
  }

  /** A new task, waiting or delayed. */
  enter(record: TaskRecord): void {
    record.id = ++this.submitted
    record.counters.submitted++
    this.#count(record, 1)
    this.tasks.add(record)
  }

  move(record: TaskRecord, to: StateCount): void {
    this.#count(record, -1)
    record.counted = to
    this.#count(record, 1)
  }

  /** The task has settled: only a failed one is kept, to be listed and run again. */
  leave(record: TaskRecord): void {
    this.tasks.delete(record)
    if (record.state !== "failed") {
      record.work = undefined
      return
    }
    this.failed.set(record.id, record)
    for (const oldest of this.failed.values()) {
      if (this.failed.size <= this.#keepFailed) break
      this.forgetFailed(oldest)
    }
  }

  forgetFailed(record: TaskRecord): void {
    this.failed.delete(record.id)
    record.work = undefined
  }

  #count({ counted, lane }: TaskRecord, change: 1 | -1): void {
    counted.tasks += change
    if (counted.state === "delayed") this.delayed += change
    if (counted.state !== "waiting") return
    this.waiting += change
    if (lane !== undefined) lane.waiting += change
  }
}
