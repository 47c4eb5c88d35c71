/**
 * Tasks that wait for tasks: who may lend which worker, to whom, and when a wait would never end (law 13).
 */
import type { TaskRecord } from "./taskRecord.ts"

/** A running task waits: for the end of `target` or, when that is undefined, for room for a submit. */
export class Wait {
  readonly waiter: TaskRecord
  readonly target: TaskRecord | undefined
  /** The task whose worker is lent meanwhile: the waiter, or an ancestor that waits for it, on the target's manager. */
  readonly lender: TaskRecord | undefined
  readonly #goOn: () => void
  /** What was waited for has come, but the worker is still lent. */
  over = false

  constructor(
    waiter: TaskRecord,
    target: TaskRecord | undefined,
    lender: TaskRecord | undefined,
    goOn: () => void
  ) {
    this.waiter = waiter
    this.target = target
    this.lender = lender
    this.#goOn = goOn
  }

  /** The lender's worker stands beside it and can be given something else to do. */
  get canLend(): boolean {
    const worker = this.lender?.worker
    return worker !== undefined && worker.attending === this.lender && worker.task === undefined && !this.over
  }

  goOn(): void {
    this.#goOn()
  }
}

/** The task that runs on the manager `home` and whose worker this task may lend: itself, or an ancestor that waits. */
export const lenderOf = (task: TaskRecord | undefined, home: object): TaskRecord | undefined => {
  let record = task
  while (record !== undefined && record.worker?.home !== home) {
    const parent: TaskRecord | undefined = record.work?.submitter.task?.live
    record = parent !== undefined && waitsFor(parent, record) ? parent : undefined
  }
  return record
}

const waitsFor = (waiter: TaskRecord, target: TaskRecord): boolean => {
  for (const wait of waiter.waits ?? []) if (wait.target === target) return true
  return false
}

/** Whether `from` cannot go on before `goal` does. */
export const dependsOn = (from: TaskRecord, goal: TaskRecord, seen = new Set<TaskRecord>()): boolean => {
  if (from === goal) return true
  if (seen.has(from)) return false
  seen.add(from)
  return blockersOf(from).some((blocker) => dependsOn(blocker, goal, seen))
}

const blockersOf = (record: TaskRecord): Array<TaskRecord> => {
  if (record.state !== "running") return record.after === undefined ? [] : [record.after]
  const blockers: Array<TaskRecord> = []
  if (record.waits === undefined || record.waits.size === 0) return blockers
  for (const { target } of record.waits) if (target !== undefined) blockers.push(target)
  const lentTo = record.worker?.current
  if (lentTo !== undefined && lentTo !== record) blockers.push(lentTo)
  return blockers
}

/** What has to start next so that `target` comes to its end; undefined when something else has to happen first. */
export const nextTowards = (target: TaskRecord): TaskRecord | undefined => {
  let record = target
  while (record.after !== undefined) record = record.after
  if (record.state === "running" || record.settled) return undefined
  const { lane } = record
  if (lane === undefined) return record.queue === undefined ? undefined : record
  const holder = lane.holders.at(-1)
  if (holder === undefined) return lane.next
  if (holder.state !== "running") return holder.queue === undefined ? undefined : holder
  // The group is lent together with the worker, when its holder waits for this very task.
  return dependsOn(holder, record) ? lane.queue.peek() : undefined
}
