/**
 * Submits that wait for room, first come, first served, whatever their priority.
 *
 * There is one line for places in the queue, one for delayed starts, and one for groups that may not wait at all
 * (`groupCapacity` 0) and need a free worker. Who first needs something of its own stands apart and holds up nobody: a
 * place in its group, or the end of a run under its key that it could not wait for in the queue.
 */
import type * as Exit from "effect/Exit"
import type { TaskManagerStoppedError } from "../TaskError.ts"
import { Heap } from "./heap.ts"
import type { Keys } from "./keys.ts"
import type { Lane } from "./lane.ts"
import type { Hold, TaskRecord } from "./taskRecord.ts"
import type { Wait } from "./waits.ts"

/** One suspended submit. */
export class Suspended {
  readonly record: TaskRecord
  /** How it will hold the task that it gets. */
  readonly hold: Hold
  readonly order: number
  /** What was admitted later than this it may overtake, since it cannot wait among it; never, when it can. */
  readonly since: number
  heapIndex = -1
  /** The line or the lane in which it stands. */
  place: Heap<Suspended> | undefined
  /** It has a place in its group. */
  reserved = false
  /** The task it got, or the refusal; set before its fiber is woken. */
  answer: Exit.Exit<TaskRecord, TaskManagerStoppedError> | undefined
  wake: (() => void) | undefined
  /** Present when a running task waits for the room. */
  wait: Wait | undefined

  constructor(record: TaskRecord, hold: Hold, order: number, since: number) {
    this.record = record
    this.hold = hold
    this.order = order
    this.since = since
  }
}

const earlier = (a: Suspended, b: Suspended): boolean => a.order < b.order

export class Admission {
  readonly #capacity: number
  readonly #groupCapacity: number
  readonly #keys: Keys
  readonly #forPlaces = new Heap(earlier)
  readonly #forWorkers = new Heap(earlier)
  readonly #forDelays = new Heap(earlier)
  readonly #lines = [this.#forPlaces, this.#forWorkers, this.#forDelays]
  readonly #all = new Set<Suspended>()
  readonly #byKey = new Map<string, Set<Suspended>>()
  #order = 0

  constructor(capacity: number, groupCapacity: number, keys: Keys) {
    this.#capacity = capacity
    this.#groupCapacity = Math.min(groupCapacity, capacity)
    this.#keys = keys
  }

  get size(): number {
    return this.#all.size
  }

  /** All of them, in their order. */
  get all(): Array<Suspended> {
    return [...this.#all]
  }

  withKey(key: string): ReadonlyArray<Suspended> {
    return [...this.#byKey.get(key) ?? []]
  }

  /** True when somebody is in the line that this task would have to join. */
  mustWait(record: TaskRecord): boolean {
    const { lane, startsDelayed } = record
    return this.#lineOf(record).size > 0 || (lane !== undefined && !startsDelayed && !this.#hasRoom(lane))
  }

  suspend(record: TaskRecord, hold: Hold, now: number): Suspended {
    const { key } = record
    const since = this.#lineOf(record) === this.#forWorkers ? now : Infinity
    const suspended = new Suspended(record, hold, ++this.#order, since)
    this.#all.add(suspended)
    if (key !== undefined) this.#byKey.set(key, (this.#byKey.get(key) ?? new Set()).add(suspended))
    this.#join(suspended)
    return suspended
  }

  /** The earliest that `admissible` lets in; it stays where it stands. */
  first(admissible: (suspended: Suspended) => boolean): Suspended | undefined {
    let first: Suspended | undefined
    for (const line of this.#lines) {
      let head = line.peek()
      while (head !== undefined && this.#standsApart(head)) head = line.peek()
      if (head !== undefined && (first === undefined || earlier(head, first)) && admissible(head)) first = head
    }
    return first
  }

  withdraw(suspended: Suspended): void {
    const { key } = suspended.record
    this.#all.delete(suspended)
    if (key !== undefined) {
      const others = this.#byKey.get(key)!
      others.delete(suspended)
      if (others.size === 0) this.#byKey.delete(key)
    }
    this.standApart(suspended)
  }

  /** Lets submits that stood apart into the line as far as their group has room. */
  laneChanged(lane: Lane): void {
    while (lane.suspended !== undefined && lane.suspended.size > 0 && this.#roomLeft(lane)) {
      this.#enterWithPlace(lane.suspended.pop()!, lane)
    }
  }

  /** Lets submits that stood apart until a run under their key had ended into the line. */
  keyChanged(key: string): void {
    for (const suspended of this.#byKey.get(key) ?? []) if (suspended.place === undefined) this.#join(suspended)
  }

  #join(suspended: Suspended): void {
    const { lane, startsDelayed } = suspended.record
    if (lane === undefined || startsDelayed) this.#put(suspended, this.#lineOf(suspended.record))
    else if (this.#hasRoom(lane)) this.#enterWithPlace(suspended, lane)
    else this.#put(suspended, lane.suspended ??= new Heap(earlier))
  }

  #enterWithPlace(suspended: Suspended, lane: Lane): void {
    suspended.reserved = true
    lane.reserved++
    this.#put(suspended, this.#lineOf(suspended.record))
  }

  #put(suspended: Suspended, place: Heap<Suspended>): void {
    suspended.place = place
    place.push(suspended)
  }

  /** Out of the line, or of its group's. */
  standApart(suspended: Suspended): void {
    const { lane } = suspended.record
    suspended.place?.remove(suspended)
    suspended.place = undefined
    if (lane === undefined) return
    if (suspended.reserved) lane.reserved--
    suspended.reserved = false
    this.laneChanged(lane)
  }

  /** Takes one that cannot wait in the queue out of the line when its group is busy, or a run under its key. */
  #standsApart(suspended: Suspended): boolean {
    const { key, lane, startsDelayed } = suspended.record
    if (startsDelayed || (this.#capacity > 0 && suspended.since === Infinity)) return false
    const groupBusy = lane !== undefined && !lane.free
    if (!groupBusy && (key === undefined || this.#keys.running(key) === undefined)) return false
    this.standApart(suspended)
    if (groupBusy) this.#put(suspended, lane.suspended ??= new Heap(earlier))
    return true
  }

  #lineOf(record: TaskRecord): Heap<Suspended> {
    if (record.startsDelayed) return this.#forDelays
    const mayWait = record.lane === undefined || this.#groupCapacity > 0 || this.#capacity === 0
    return mayWait ? this.#forPlaces : this.#forWorkers
  }

  #hasRoom(lane: Lane): boolean {
    return (lane.suspended?.size ?? 0) === 0 && this.#roomLeft(lane)
  }

  /** A free lane has room for one task more than may wait: it can be handed to a worker at once. */
  #roomLeft(lane: Lane): boolean {
    return lane.waiting + lane.reserved < Math.max(this.#groupCapacity, lane.free ? 1 : 0)
  }
}
