/**
 * Which task holds a key, and which run under it has to end before the next may start.
 */
import type { TaskRecord } from "./taskRecord.ts"

interface Slot {
  holder: TaskRecord | undefined
  /** A task that runs and does not hold the key: with `keyUntil: "start"`, or since it is being ended. */
  running: TaskRecord | undefined
}

export class Keys {
  readonly #slots = new Map<string, Slot>()

  /** The task that a submit under this key joins. */
  holder(key: string): TaskRecord | undefined {
    return this.#slots.get(key)?.holder
  }

  /** The run that a new task under this key has to wait for. */
  running(key: string): TaskRecord | undefined {
    return this.#slots.get(key)?.running
  }

  accepted(record: TaskRecord, key: string): void {
    let slot = this.#slots.get(key)
    if (slot === undefined) this.#slots.set(key, slot = { holder: undefined, running: undefined })
    slot.holder = record
    record.after = slot.running
  }

  started(record: TaskRecord, key: string): void {
    if (record.work?.options.keyUntil === "start") this.release(record, key)
  }

  /** The task no longer holds the key: a submit under it runs after the task. */
  release(record: TaskRecord, key: string): void {
    const slot = this.#slots.get(key)!
    if (slot.holder === record) slot.holder = undefined
    slot.running = record
  }

  /** Releases the key; the task that waited for this run's end, if there is one, may go on. */
  settled(record: TaskRecord, key: string): TaskRecord | undefined {
    const slot = this.#slots.get(key)!
    if (slot.holder === record) slot.holder = undefined
    if (slot.running === record) slot.running = undefined
    if (slot.holder === undefined && slot.running === undefined) this.#slots.delete(key)
    if (slot.holder?.after !== record) return undefined
    slot.holder.after = undefined
    return slot.holder
  }
}
