/**
 * The tasks of one group: one at a time, in order, a task in backoff included.
 *
 * A lane puts one task at a time into the manager's start queue (`next`); once started it holds the lane until it has
 * settled. Only while a holder waits for another task of its own group has a lane more than one holder (law 13).
 */
import type { Suspended } from "./admission.ts"
import type { Heap } from "./heap.ts"
import { StartQueue, startsBefore } from "./startQueue.ts"
import type { TaskRecord } from "./taskRecord.ts"

export class Lane {
  readonly id: string
  /** Tasks of the group that have not settled, delayed and suspended ones too: with the last of them the lane goes. */
  members = 0
  readonly holders: Array<TaskRecord> = []
  readonly queue = new StartQueue()
  next: TaskRecord | undefined
  /** Tasks that wait for their first start, and places promised to suspended submits: both bounded by `groupCapacity`. */
  waiting = 0
  reserved = 0
  /** Submits that wait for a place in this group; they stand apart and hold up nobody else. */
  suspended: Heap<Suspended> | undefined

  constructor(id: string) {
    this.id = id
  }

  /** Nobody of the group runs or is about to. */
  get free(): boolean {
    return this.holders.length === 0 && this.next === undefined && this.queue.peek() === undefined
  }

  /** What would start next if the holders had ended; a suspended submit, when nothing else stands before it. */
  get nextBehind(): TaskRecord | undefined {
    return this.queue.peek() ?? (this.reserved === 0 ? this.suspended?.peek()?.record : undefined)
  }

  enter(record: TaskRecord, ready: StartQueue): void {
    if (this.holders.includes(record)) return ready.push(record)
    this.queue.push(record)
    this.promote(ready)
  }

  started(record: TaskRecord): void {
    if (this.next === record) this.next = undefined
    if (!this.holders.includes(record)) this.holders.push(record)
  }

  leave(record: TaskRecord, ready: StartQueue): void {
    if (this.next === record) this.next = undefined
    const held = this.holders.indexOf(record)
    if (held >= 0) this.holders.splice(held, 1)
    this.promote(ready)
  }

  /** Brings the first of the lane into the start queue, in place of a younger one that has not started. */
  promote(ready: StartQueue): void {
    const first = this.queue.peek()
    if (first === undefined || this.holders.length > 0) return
    if (this.next !== undefined) {
      if (!startsBefore(first, this.next)) return
      ready.remove(this.next)
      this.queue.push(this.next)
    }
    this.queue.remove(first)
    this.next = first
    ready.push(first)
  }
}
