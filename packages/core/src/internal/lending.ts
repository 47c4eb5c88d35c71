/**
 * When a waiting task's worker is lent, and when the task goes on (law 13).
 *
 *     begin → [its worker runs what is waited for] → finish: goes on when the worker is back, or another is free
 *                                                  → abandon: goes on at once; the next free worker takes nothing instead
 *
 * A task waits while one of its fibers does. Lending follows the waits from task to task, through other managers too,
 * in whatever order they began.
 */
import type { RunningTask, TaskRecord } from "./taskRecord.ts"
import { dependsOn, mayBeNext, nextInGroup, nextTowards, noWaits, type Wait, waitsBehind } from "./waits.ts"
import { type Taker, Worker } from "./worker.ts"

/** The running tasks of one manager that wait. */
export class Lending {
  /** Tasks that go on although their worker is lent: as many free workers take nothing. */
  overdraft = 0
  readonly #workers: number
  readonly #advance: () => void
  readonly #waiting = new Set<RunningTask>()
  /** How many of their waits lead to each other manager, and how many, from wherever, are for room here. */
  readonly #abroad = new Map<Lending, number>()
  #forRoom = 0
  /** Waits whose end has come while the worker was lent. */
  readonly #over = new Set<Wait>()

  /** `advance` does what follows on the manager. */
  constructor(workers: number, advance: () => void) {
    this.#workers = workers
    this.#advance = advance
  }

  get active(): boolean {
    return this.#waiting.size > 0 || this.#over.size > 0
  }

  /** The task of this manager inside which `task` runs: itself, or one that waits for it. */
  outermost(task: RunningTask): RunningTask | undefined {
    if (task.worker.home === this) return task
    return Array.from(this.#waiting).find((waiter) => dependsOn(waiter.record, task.record))
  }

  // --- a task that runs here waits ---

  begin(wait: Wait): void {
    const { waiter } = wait
    if (waiter.waits === noWaits) waiter.waits = new Set()
    waiter.waits.add(wait)
    this.#waiting.add(waiter)
    this.#count(wait, 1)
    this.repay(waiter)
    this.#advanceAll()
  }

  /** The worker stands beside its task, again or for the first time. */
  stands(task: RunningTask): void {
    if (!task.worker.substitute) this.repay(task)
    this.#advanceAll()
  }

  /** Something may start now here, and wherever waits lead from here. */
  #advanceAll(): void {
    if (this.#abroad.size === 0) return this.#advance()
    const homes = new Set<Lending>([this])
    for (const home of homes) for (const next of home.#abroad.keys()) homes.add(next)
    for (const home of homes) home.#advance()
  }

  /** The tasks beside which all workers stand, when no other can start before one of them goes on. */
  get allWaiting(): ReadonlyArray<RunningTask> {
    if (this.#waiting.size < this.#workers) return none
    const waiting = Array.from(this.#waiting).filter(canLend)
    return waiting.length < this.#workers ? none : waiting
  }

  /** What was waited for has come. */
  finish(wait: Wait): void {
    this.#forget(wait)
    if (needsNoWorker(wait.waiter) && !lendsGroup(wait.waiter)) return wait.goOn()
    this.#over.add(wait)
    this.#advance()
  }

  /** The wait was interrupted. */
  abandon(wait: Wait): void {
    this.#over.delete(wait)
    this.#forget(wait)
    if (!needsNoWorker(wait.waiter)) this.#overdraw(wait.waiter)
  }

  /** The waits that are over and whose tasks may go on now. */
  takeOver(hasFreeWorker: () => boolean): ReadonlyArray<Wait> {
    if (this.#over.size === 0) return none
    const waits: Array<Wait> = []
    for (const wait of this.#over) {
      if (lendsGroup(wait.waiter)) continue
      if (!needsNoWorker(wait.waiter)) {
        if (!isAwaited(wait.waiter) && !hasFreeWorker()) continue
        this.#overdraw(wait.waiter)
      }
      this.#over.delete(wait)
      waits.push(wait)
    }
    return waits
  }

  repay(task: RunningTask): void {
    if (!task.overdrawn) return
    task.overdrawn = false
    this.overdraft--
  }

  /** Its attempt has ended while its worker was lent: what follows takes a free one's place. */
  substitute(task: RunningTask): void {
    task.worker = new Worker(this, true)
    task.worker.current = task.record
    if (!task.overdrawn) this.#overdraw(task)
  }

  /** The attempt is over; a fiber that it left behind may go on waiting. */
  leave(task: RunningTask): void {
    this.repay(task)
    if (task.waits.size > 0) this.#waiting.delete(task)
  }

  #overdraw(task: RunningTask): void {
    task.overdrawn = true
    this.overdraft++
  }

  #forget(wait: Wait): void {
    const { waits } = wait.waiter
    if (!waits.delete(wait)) return
    this.#count(wait, -1)
    if (waits.size === 0) this.#waiting.delete(wait.waiter)
  }

  #count({ home, target }: Wait, change: 1 | -1): void {
    if (target === undefined) home.#forRoom += change
    if (home === this) return
    const count = (this.#abroad.get(home) ?? 0) + change
    if (count > 0) this.#abroad.set(home, count)
    else this.#abroad.delete(home)
  }

  // --- what is lent ---

  /** A worker whose task waits for room: it may take any task. */
  get forAnyTask(): Worker | undefined {
    if (this.#forRoom === 0) return undefined
    for (const task of this.#waiting) {
      if (!canLend(task)) continue
      for (const { home, target } of waitsBehind(task)) if (target === undefined && home === this) return task.worker
    }
    return undefined
  }

  /**
   * Gives the worker of each waiting task what that waits for, as long as `start` takes it; or any other worker, when its
   * own is lent to something else.
   */
  lend(start: (record: TaskRecord, taker: Taker) => boolean, otherTaker: () => Taker | undefined): void {
    for (const task of this.#waiting) {
      let taker: Taker | undefined
      while ((taker = canLend(task) ? task.worker : otherTaker()) !== undefined) {
        const record = this.#nextTowardsItsTargets(task) ??
          (taker === task.worker ? this.#nextInGroups(task) : undefined)
        if (record === undefined || !start(record, taker)) break
      }
    }
    for (const { waiter } of this.#over) {
      const holder = lendsGroup(waiter) ? waiter.record.lane!.holders.at(-1) : undefined
      // It is back from its backoff, and the waiter does not go on before its end.
      if (holder !== undefined && mayBeNext(holder) && canLend(waiter)) start(holder, waiter.worker)
    }
  }

  #nextTowardsItsTargets(task: RunningTask): TaskRecord | undefined {
    for (const { home, target } of waitsBehind(task)) {
      const next = home === this && target !== undefined ? nextTowards(target) : undefined
      if (next !== undefined) return next
    }
    return undefined
  }

  #nextInGroups(task: RunningTask): TaskRecord | undefined {
    if (this.#forRoom === 0) return undefined
    for (const wait of task.waits) {
      if (wait.target !== undefined || wait.home !== this) continue
      // The groups of those that do not go on before there is room: nothing else might make any.
      for (const holder of [...this.#waiting, ...Array.from(this.#over, ({ waiter }) => waiter)]) {
        const next = nextInGroup(holder, wait)
        if (next !== undefined) return next
      }
    }
    return undefined
  }
}

const none: ReadonlyArray<never> = []

/** Another task of its group runs meanwhile, and the two must not run at once. */
const lendsGroup = ({ record, waits }: RunningTask): boolean =>
  waits.size === 0 && record.lane !== undefined && record.lane.holders.at(-1) !== record

/** The task that has its worker waits for it, and needs none meanwhile. */
const isAwaited = (task: RunningTask): boolean => {
  const borrower = task.lentTo?.running
  if (borrower === undefined || !canLend(borrower)) return false
  for (const { target } of waitsBehind(borrower)) if (target === task.record) return true
  return false
}

const canLend = ({ record, worker }: RunningTask): boolean => worker.attends(record)

/** Its own is there, or the task waits for something else too, or it has one already, or it has ended. */
const needsNoWorker = (task: RunningTask): boolean =>
  task.lentTo === undefined || task.waits.size > 0 || task.overdrawn || !task.live
