/**
 * The workers of one manager: who has no task, who sleeps, and what the next of them takes.
 *
 * A task is not handed to one worker: the tasks that have a free worker stand in one line, and whoever is awake takes
 * the first, so that none overtakes another and nobody is woken for what another has done meanwhile.
 */
import { StartQueue } from "./startQueue.ts"
import { RunningTask, type TaskRecord } from "./taskRecord.ts"
import type { WakeUps } from "./wakeUps.ts"
import type { Worker } from "./worker.ts"

export class Crew {
  readonly workers: ReadonlyArray<Worker>
  readonly #wakeUps: WakeUps
  readonly #starting = new StartQueue()
  readonly #asleep: Array<Worker> = []
  #free = 0

  constructor(workers: ReadonlyArray<Worker>, wakeUps: WakeUps) {
    this.workers = workers
    this.#wakeUps = wakeUps
  }

  /** Free workers that have no task to come. */
  get spare(): number {
    return this.#free - this.#starting.size
  }

  get allFree(): boolean {
    return this.#free === this.workers.length
  }

  /** Gives a spare worker something to do. */
  hand(record: TaskRecord): void {
    if (this.#starting.size === 0 && this.#asleep.length > 0) this.#wakeUps.add(this.#wake)
    this.#starting.push(record)
  }

  /** Gives the task to a worker that is lent. */
  lend(record: TaskRecord, worker: Worker): void {
    record.running = new RunningTask(record, worker)
    worker.task = worker.current = record
    if (worker.resume !== undefined) this.#wakeUps.add(worker.wakeForTask)
  }

  /** The worker has ended its task. */
  release(worker: Worker): void {
    if (worker.idle) return
    worker.current = undefined
    worker.idle = true
    this.#free++
  }

  /** What the worker is to do; undefined when it may go to sleep. */
  take(worker: Worker): TaskRecord | undefined {
    const record = this.#starting.peek()
    if (record === undefined) return undefined
    this.#starting.remove(record)
    record.running = new RunningTask(record, worker)
    worker.current = record
    worker.idle = false
    this.#free--
    return record
  }

  /** False when the worker has to look again, since its fiber may have yielded after it looked. */
  sleep(worker: Worker): boolean {
    if (this.#starting.size > 0) return false
    this.#asleep.push(worker)
    return true
  }

  wakeAll(): void {
    for (const worker of this.#asleep.splice(0)) worker.wake()
  }

  #wake = (): void => {
    while (this.#starting.size > 0 && this.#asleep.length > 0) this.#asleep.pop()!.wake()
  }
}
