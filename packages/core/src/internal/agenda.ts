/**
 * What happens at a time: delayed tasks come due and deadlines pass. One timer wakes the manager for the earliest of
 * them, however many there are.
 */
import { Heap } from "./heap.ts"
import type { TaskRecord } from "./taskRecord.ts"

/** The earliest time at which a task expires. */
export interface Deadline {
  readonly at: number
  readonly record: TaskRecord
  heapIndex: number
}

export class Agenda {
  readonly #delayed = new Heap<TaskRecord>((a, b) => a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.id < b.id))
  readonly #deadlines = new Heap<Deadline>((a, b) => a.at < b.at)

  get isEmpty(): boolean {
    return this.#delayed.size === 0 && this.#deadlines.size === 0
  }

  get nextAt(): number {
    return Math.min(this.#delayed.peek()?.dueAt ?? Infinity, this.#deadlines.peek()?.at ?? Infinity)
  }

  delay(record: TaskRecord): void {
    this.#delayed.push(record)
  }

  startNow(record: TaskRecord): void {
    this.#delayed.remove(record)
  }

  /** Tasks due at `time` or later. */
  dueFrom(time: number): Array<TaskRecord> {
    return this.#delayed.toArray().filter((record) => record.dueAt >= time)
  }

  /** Sets the task's deadline anew; `Infinity` is none. */
  expireAt(record: TaskRecord, at: number): void {
    if (record.deadline !== undefined) {
      if (record.deadline.heapIndex >= 0) this.#deadlines.remove(record.deadline)
      record.deadline = undefined
    }
    if (at === Infinity) return
    record.deadline = { at, record, heapIndex: -1 }
    this.#deadlines.push(record.deadline)
  }

  takeExpired(now: number): TaskRecord | undefined {
    const first = this.#deadlines.peek()
    return first !== undefined && first.at <= now ? this.#deadlines.pop()!.record : undefined
  }

  takeDue(now: number): TaskRecord | undefined {
    const first = this.#delayed.peek()
    return first !== undefined && first.dueAt <= now ? this.#delayed.pop() : undefined
  }
}
