/**
 * Which task waits for which, what a wait leads to, and when it would never end (law 13).
 */
import type { Lane } from "./lane.ts"
import type { Lending } from "./lending.ts"
import type { RunningTask, TaskRecord } from "./taskRecord.ts"

/** A running task waits: for the end of `target` or, when that is undefined, for room for a submit. */
export class Wait {
  readonly waiter: RunningTask
  readonly target: TaskRecord | undefined
  /** Of the manager of the target, or of the submit. */
  readonly home: Lending
  readonly goOn: () => void
  /** Of the submit. */
  readonly lane: Lane | undefined

  constructor(
    waiter: RunningTask,
    target: TaskRecord | undefined,
    home: Lending,
    goOn: () => void,
    lane?: Lane
  ) {
    this.waiter = waiter
    this.target = target
    this.home = home
    this.goOn = goOn
    this.lane = lane
  }

  begin(): void {
    this.waiter.worker.home.begin(this)
  }

  finish(): void {
    this.waiter.worker.home.finish(this)
  }

  abandon(): void {
    this.waiter.worker.home.abandon(this)
  }
}

/** Of a task that waits for nothing; shared, so it stays empty. */
export const noWaits = new Set<Wait>()

/** What keeps a task from going on: its own waits, and those of the tasks that it waits for, on whatever manager. */
export function* waitsBehind(task: RunningTask, seen = new Set<RunningTask>()): Generator<Wait, void> {
  if (seen.has(task)) return
  seen.add(task)
  let forItsWorker = !task.overdrawn
  for (const wait of task.waits) {
    yield wait
    yield* waitsBeyond(wait, seen)
    if (wait.target !== undefined) forItsWorker = false
  }
  const lentTo = forItsWorker ? task.lentTo?.running : undefined
  if (lentTo !== undefined) yield* waitsBehind(lentTo, seen)
}

/** The waits of what has to end before this one can. */
function* waitsBeyond({ home, lane, target }: Wait, seen = new Set<RunningTask>()): Generator<Wait, void> {
  const first = target && firstOfKey(target)
  const running = first?.running ?? (first?.lane ?? lane)?.holders.at(-1)?.running
  if (running !== undefined) yield* waitsBehind(running, seen)
  // It has no place yet, and all who have one wait.
  else if (first === undefined || first.queue !== undefined) {
    for (const task of home.allWaiting) yield* waitsBehind(task, seen)
  }
}

/** What has to start next so that `target` comes to its end; undefined when something else has to happen first. */
export const nextTowards = (target: TaskRecord): TaskRecord | undefined => {
  const record = firstOfKey(target)
  const { lane } = record
  if (!mayBeNext(record)) return undefined
  const holder = lane?.holders.at(-1)
  if (lane === undefined || holder === record) return record
  if (holder === undefined) return lane.next
  if (holder.running === undefined) return mayBeNext(holder) ? holder : undefined
  // The group is lent together with the worker, when its holder waits for this very task.
  for (const wait of waitsBehind(holder.running)) if (wait.target === record) return lane.queue.peek()
  return undefined
}

/** Not one that a free worker is about to take. */
export const mayBeNext = ({ queue, state }: TaskRecord): boolean => queue !== undefined && state !== "running"

/** What has to start next in the group of `holder`, which does not go on before there is room for the submit. */
export const nextInGroup = (holder: RunningTask, wait: Wait): TaskRecord | undefined => {
  const { lane } = holder.record
  if (lane?.holders.at(-1) !== holder.record) return undefined
  for (const behind of waitsBehind(holder)) {
    if (behind === wait) return lane === wait.lane ? lane.nextBehind : lane.queue.peek()
  }
  return undefined
}

const firstOfKey = (target: TaskRecord): TaskRecord => {
  let record = target
  while (record.after !== undefined) record = record.after
  return record
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
  return Array.from(running.waits, ({ target }) => target).filter((target) => target !== undefined)
}
