/**
 * Tasks by id, in ascending order.
 *
 * Ids are sequence numbers, so tasks stand in small arrays of neighbours and the map holds arrays: with tens of thousands
 * of tasks a map of tasks costs more than a quarter of a microsecond each.
 */
import type { TaskRecord } from "./taskRecord.ts"

const neighbours = 32

interface Chunk {
  readonly tasks: Array<TaskRecord | undefined>
  size: number
}

export class TaskTable {
  readonly #chunks = new Map<number, Chunk>()
  size = 0

  add(record: TaskRecord): void {
    const key = Math.floor(record.id / neighbours)
    let chunk = this.#chunks.get(key)
    if (chunk === undefined) this.#chunks.set(key, chunk = { tasks: [], size: 0 })
    chunk.tasks[record.id % neighbours] = record
    chunk.size++
    this.size++
  }

  delete(record: TaskRecord): void {
    const key = Math.floor(record.id / neighbours)
    const chunk = this.#chunks.get(key)!
    chunk.tasks[record.id % neighbours] = undefined
    if (--chunk.size === 0) this.#chunks.delete(key)
    this.size--
  }

  get(id: number): TaskRecord | undefined {
    return this.#chunks.get(Math.floor(id / neighbours))?.tasks[id % neighbours]
  }

  /** A snapshot. */
  toArray(): Array<TaskRecord> {
    return Array.from(this.#chunks.values(), (chunk) => chunk.tasks).flat().filter((record) => record !== undefined)
  }
}
