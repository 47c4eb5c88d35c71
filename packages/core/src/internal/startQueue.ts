/**
 * Tasks that wait for a worker (or for their group), in the order in which they start: by rank, then by id.
 *
 * Nearly all tasks come in order, so they stand in a linked list with O(1) at both ends and in the middle; what comes
 * out of order (a priority, a retry, a delayed start) stands in a heap beside it, and the earlier head goes first.
 */
import { Heap } from "./heap.ts"
import type { TaskRecord } from "./taskRecord.ts"

/** Law 6: admission time minus priority seconds, then the id. */
export const startsBefore = (a: TaskRecord, b: TaskRecord): boolean =>
  a.rank < b.rank || (a.rank === b.rank && a.id < b.id)

export class StartQueue {
  #first: TaskRecord | undefined
  #last: TaskRecord | undefined
  #outOfOrder: Heap<TaskRecord> | undefined
  size = 0

  peek(): TaskRecord | undefined {
    const early = this.#outOfOrder?.peek()
    return early !== undefined && (this.#first === undefined || startsBefore(early, this.#first)) ? early : this.#first
  }

  push(record: TaskRecord): void {
    record.queue = this
    this.size++
    if (this.#last === undefined) {
      this.#first = this.#last = record
    } else if (startsBefore(record, this.#last)) {
      this.#outOfOrder ??= new Heap(startsBefore)
      this.#outOfOrder.push(record)
    } else {
      record.previous = this.#last
      this.#last.next = record
      this.#last = record
    }
  }

  remove(record: TaskRecord): void {
    record.queue = undefined
    this.size--
    if (record.heapIndex >= 0) return this.#outOfOrder!.remove(record)
    if (record.previous === undefined) this.#first = record.next
    else record.previous.next = record.next
    if (record.next === undefined) this.#last = record.previous
    else record.next.previous = record.previous
    record.previous = record.next = undefined
  }
}
