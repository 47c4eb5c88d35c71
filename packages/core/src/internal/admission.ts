/**
 * Submits that wait for room, in their order, whatever their priority.
 *
 * There is one line for places in the queue and one for delayed starts; those whose group is full wait in the group's
 * lane, and come into the line with a place in the group reserved.
 */
import type * as Exit from "effect/Exit"
import type { TaskManagerStoppedError } from "../TaskError.ts"
import { Heap } from "./heap.ts"
import type { Lane } from "./lane.ts"
import type { Hold, TaskRecord } from "./taskRecord.ts"
import type { Wait } from "./waits.ts"

/** One suspended submit. */
export class Suspended {
  readonly record: TaskRecord
  /** How it will hold the task that it gets. */
  readonly hold: Hold
  readonly order: number
  heapIndex = -1
  place: Heap<Suspended> | undefined
  reserved = false
  /** The task it got, or the refusal; set before its fiber is woken. */
  answer: Exit.Exit<TaskRecord, TaskManagerStoppedError> | undefined
  wake: (() => void) | undefined
  /** Present when a running task waits for the room. */
  wait: Wait | undefined

  constructor(record: TaskRecord, hold: Hold, order: number) {
    this.record = record
    this.hold = hold
    this.order = order
  }
}

const earlier = (a: Suspended, b: Suspended): boolean => a.order < b.order

export class Admission {
  readonly #groupCapacity: number
  readonly #starts = new Heap(earlier)
  readonly #delayed = new Heap(earlier)
  readonly #apart = new Set<Lane>()
  #order = 0

  constructor(groupCapacity: number) {
    this.#groupCapacity = groupCapacity
  }

  suspend(record: TaskRecord, hold: Hold): Suspended {
    const suspended = new Suspended(record, hold, ++this.#order)
    if (record.startsDelayed) this.#put(suspended, this.#delayed)
    else this.#join(suspended)
    return suspended
  }

  /** True when somebody is in the line that this task would have to join. */
  mustWait(record: TaskRecord): boolean {
    if (record.startsDelayed) return this.#delayed.size > 0
    return this.#starts.size > 0 || (record.lane !== undefined && !this.#hasRoom(record.lane))
  }

  /** The earliest suspended submit that `admissible` lets in; it stays in the line. */
  first(admissible: (record: TaskRecord) => boolean): Suspended | undefined {
    let start = this.#starts.peek()
    while (start !== undefined && this.#lostItsPlace(start)) {
      this.#setApart(start)
      start = this.#starts.peek()
    }
    const delayed = this.#delayed.peek()
    const startable = start !== undefined && admissible(start.record) ? start : undefined
    const delayable = delayed !== undefined && admissible(delayed.record) ? delayed : undefined
    if (startable === undefined || delayable === undefined) return startable ?? delayable
    return earlier(startable, delayable) ? startable : delayable
  }

  withdraw(suspended: Suspended): void {
    suspended.place?.remove(suspended)
    suspended.place = undefined
    const { lane } = suspended.record
    if (lane === undefined) return
    if (suspended.reserved) lane.reserved--
    suspended.reserved = false
    this.laneChanged(lane)
  }

  /** Lets submits that stood apart into the line as far as their group has room. */
  laneChanged(lane: Lane): void {
    while (lane.suspended !== undefined && lane.suspended.size > 0 && this.#roomLeft(lane)) {
      const suspended = lane.suspended.pop()!
      suspended.reserved = true
      lane.reserved++
      this.#put(suspended, this.#starts)
    }
    if (lane.suspended?.size === 0) this.#apart.delete(lane)
  }

  get all(): Array<Suspended> {
    const lines = [this.#starts, this.#delayed, ...Array.from(this.#apart, (lane) => lane.suspended!)]
    return lines.flatMap((line) => line.toArray()).toSorted((a, b) => a.order - b.order)
  }

  get size(): number {
    let size = this.#starts.size + this.#delayed.size
    for (const lane of this.#apart) size += lane.suspended!.size
    return size
  }

  #join(suspended: Suspended): void {
    const { lane } = suspended.record
    if (lane === undefined) return this.#put(suspended, this.#starts)
    if (!this.#hasRoom(lane)) return this.#standApart(suspended, lane)
    suspended.reserved = true
    lane.reserved++
    this.#put(suspended, this.#starts)
  }

  /** With a group capacity of 0 the place is the free lane itself, and a delayed start may have come due first. */
  #lostItsPlace({ record: { lane } }: Suspended): boolean {
    return lane !== undefined && this.#groupCapacity === 0 && !lane.free
  }

  #setApart(suspended: Suspended): void {
    const lane = suspended.record.lane!
    this.#starts.remove(suspended)
    suspended.reserved = false
    lane.reserved--
    this.#standApart(suspended, lane)
  }

  #standApart(suspended: Suspended, lane: Lane): void {
    lane.suspended ??= new Heap(earlier)
    this.#apart.add(lane)
    this.#put(suspended, lane.suspended)
  }

  #put(suspended: Suspended, place: Heap<Suspended>): void {
    suspended.place = place
    place.push(suspended)
  }

  #hasRoom(lane: Lane): boolean {
    return (lane.suspended?.size ?? 0) === 0 && this.#roomLeft(lane)
  }

  /** A free lane has room for one task more than may wait: it can be handed to a worker at once. */
  #roomLeft(lane: Lane): boolean {
    return lane.waiting + lane.reserved < Math.max(this.#groupCapacity, lane.free ? 1 : 0)
  }
}
