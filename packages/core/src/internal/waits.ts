/**
 * Tasks that wait for tasks: who may lend which worker, to whom, and when a wait would never end (law 13).
 */
import type { RunningTask, TaskRecord } from "./taskRecord.ts"

/** A running task waits: for the end of `target` or, when that is undefined, for room for a submit. */
export class Wait {
  readonly waiter: RunningTask
  readonly target: TaskRecord | undefined
  /** The task whose worker is lent meanwhile: the waiter, or an ancestor that waits for it, on the target's manager. */
  readonly lender: RunningTask | undefined
  readonly #goOn: () => void
  /** What was waited for has come, but the worker is still lent. */
  over = false

  constructor(
    waiter: RunningTask,
    target: TaskRecord | undefined,
    lender: RunningTask | undefined,
    goOn: () => void
  ) {
    this.waiter = waiter
    this.target = target
    this.lender = lender
    this.#goOn = goOn
  }

  /** The lender's worker stands beside it and can be given something else to do. */
  get canLend(): boolean {
    return this.lender !== undefined && !this.over && this.lender.worker.attends(this.lender.record)
  }

  goOn(): void {
    this.#goOn()
  }
}

/** The task that runs on the manager `home` and whose worker this task may lend: itself, or an ancestor that waits. */
export const lenderOf = (task: RunningTask | undefined, home: object): RunningTask | undefined => {
  let running = task
  while (running !== undefined && running.worker.home !== home) {
    const parent: RunningTask | undefined = running.record.work?.submitter.task
    running = parent?.live === true && waitsFor(parent, running.record) ? parent : undefined
  }
  return running
}

const waitsFor = (waiter: RunningTask, target: TaskRecord): boolean => {
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

const blockersOf = ({ after, running }: TaskRecord): Array<TaskRecord> => {
  if (running === undefined) return after === undefined ? [] : [after]
  const blockers: Array<TaskRecord> = []
  if (running.waits === undefined || running.waits.size === 0) return blockers
  for (const { target } of running.waits) if (target !== undefined) blockers.push(target)
  const lentTo = running.worker.current
  if (lentTo !== undefined && lentTo !== running.record) blockers.push(lentTo)
  return blockers
}

/** What has to start next so that `target` comes to its end; undefined when something else has to happen first. */
export const nextTowards = (target: TaskRecord): TaskRecord | undefined => {
  let record = target
  while (record.after !== undefined) record = record.after
  if (record.running !== undefined || record.settled) return undefined
  const { lane } = record
  if (lane === undefined) return record.queue === undefined ? undefined : record
  const holder = lane.holders.at(-1)
  if (holder === undefined) return lane.next
  if (holder.running === undefined) return holder.queue === undefined ? undefined : holder
  // The group is lent together with the worker, when its holder waits for this very task.
  return dependsOn(holder, record) ? lane.queue.peek() : undefined
}
