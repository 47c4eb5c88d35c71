/**
 * One accepted task: what it is, where it is, and what it leaves behind when it has settled.
 *
 * The state says what the counters count; the place (a start queue, the delay heap, a worker) is separate, because a
 * retry counts as delayed until it starts although it may stand in the start queue already. Only the kernel changes a
 * record.
 */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { AbortReason, TaskAbortedError, TaskFailedError } from "../TaskError.ts"
import type { TaskOutcome } from "../TaskHandle.ts"
import type { TaskInfo, TaskState } from "../TaskInfo.ts"
import type { TaskOptions } from "../TaskOptions.ts"
import type { Deadline } from "./agenda.ts"
import { type Capped, type FailedAttempt, markedReasons } from "./causes.ts"
import type { NameCounters, StateCount } from "./counters.ts"
import type { Lane } from "./lane.ts"
import type { RetryProgress } from "./retry.ts"
import type { StartQueue } from "./startQueue.ts"
import { noWaits } from "./waits.ts"
import type { Worker } from "./worker.ts"

/** What a task takes along from whoever submitted it; made in submitter.ts. */
export interface Submitter {
  readonly context: Context.Context<never>
  /** The submitter's span, held as an external one so that a chain of tasks does not hold its spans. */
  readonly span: Tracer.ExternalSpan | undefined
  /** The task starts long after that span: by a schedule, or once more by id. */
  readonly later: boolean
  readonly traced: boolean
  readonly debug: boolean
  /** The task that submits, when one does. */
  readonly task: RunningTask | undefined
}

/** An effect whose error and services the types of `submit` have checked. */
export type AnyEffect = Effect.Effect<unknown, unknown>

/** What it takes to run a task; dropped when the task has settled for good. */
export interface Work {
  readonly effect: AnyEffect
  readonly options: TaskOptions
  readonly submitter: Submitter
  readonly timing: Timing | undefined
}

/** The durations of a submit in milliseconds; absent when none was given. */
export interface Timing {
  readonly delay: number
  readonly timeToStart: number
  readonly timeToLive: number
}

/** The two ways to hold a task. */
export type Hold = "submits" | "runs"

export class TaskRecord {
  work: Work | undefined
  readonly counters: NameCounters
  readonly key: string | undefined
  readonly lane: Lane | undefined

  id = 0
  counted: StateCount
  attempts = 0
  /** Wall clock, for people. All other times are milliseconds of the monotonic clock. */
  submittedAt = 0
  admittedAt = 0
  dueAt = 0
  rank = 0

  // The place: one start queue, the delay heap, or a worker.
  queue: StartQueue | undefined
  previous: TaskRecord | undefined
  next: TaskRecord | undefined
  heapIndex = -1
  running: RunningTask | undefined

  deadline: Deadline | undefined
  /** The run under the same key that has to end first (`keyUntil: "start"`). */
  after: TaskRecord | undefined
  retry: RetryProgress | undefined
  failures: Capped<FailedAttempt> | undefined
  /** Set once somebody wants the task to end; what the attempt then makes of it decides the outcome. */
  abortReason: AbortReason | undefined

  /** Who holds the task: a `submit` for good, a `run` while it waits. */
  submits = 0
  runs = 0
  listeners: Set<() => void> | undefined
  /** What it ended with: its value, or the error of its outcome. */
  result: unknown

  constructor(work: Work, counters: NameCounters, key: string | undefined, lane: Lane | undefined) {
    this.work = work
    this.counters = counters
    this.counted = counters.states.waiting
    this.key = key
    this.lane = lane
  }

  get name(): string {
    return this.counters.name
  }

  get state(): TaskState {
    return this.counted.state
  }

  get settled(): boolean {
    return this.state === "completed" || this.state === "failed" || this.state === "aborted"
  }

  get held(): boolean {
    return this.submits > 0 || this.runs > 0
  }

  get startsDelayed(): boolean {
    const timing = this.work?.timing
    return timing !== undefined && timing.delay > 0
  }

  /** SAFETY: only `Completed`, `Failed` and `Aborted` set the result, each with its kind. */
  get outcome(): TaskOutcome<unknown, unknown> {
    if (this.state === "completed") return { _tag: "Completed", value: this.result, attempts: this.attempts }
    return this.state === "failed"
      ? { _tag: "Failed", error: this.result as TaskFailedError }
      : { _tag: "Aborted", error: this.result as TaskAbortedError }
  }
}

/** One attempt, from its worker's taking it to what becomes of it: the value of `CurrentTask`. */
export class RunningTask extends Inspectable.Class implements TaskInfo {
  readonly record: TaskRecord
  readonly attempts: number
  worker: Worker
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  startedAt = 0
  /** What it waits for, when it waits for tasks. */
  waits = noWaits
  /** It goes on although its worker is still lent to another task. */
  overdrawn = false

  constructor(record: TaskRecord, worker: Worker) {
    super()
    this.record = record
    this.attempts = record.attempts + 1
    this.worker = worker
  }

  /** False when the attempt is over, though a fiber that it left behind may still ask. */
  get live(): boolean {
    return this.record.running === this
  }

  /** What its worker runs meanwhile: the innermost of them. */
  get lentTo(): TaskRecord | undefined {
    const { current } = this.worker
    return current === this.record ? undefined : current
  }

  get id(): string {
    return String(this.record.id)
  }

  get name(): string {
    return this.record.name
  }

  get state(): TaskState {
    return this.record.state
  }

  get submittedAt(): DateTime.Utc {
    return DateTime.makeUnsafe(this.record.submittedAt)
  }

  get key(): string | undefined {
    return this.record.work?.options.key
  }

  get group(): string | undefined {
    return this.record.work?.options.group
  }

  get cause(): Cause.Cause<unknown> | undefined {
    return failuresOf(this.record)
  }

  toJSON(): unknown {
    const { attempts, group, id, key, name, state, submittedAt } = this
    return { id, name, state, attempts, submittedAt, key, group }
  }
}

/** The attempts' reasons, each with its attempt number. */
const failuresOf = (record: TaskRecord): Cause.Cause<unknown> | undefined =>
  record.failures?.toCause(markedReasons, "attempt")

/** A snapshot; `wallOffset` turns the monotonic clock into the wall clock. */
export const infoOf = (record: TaskRecord, wallOffset: number): TaskInfo => ({
  id: String(record.id),
  name: record.name,
  state: record.state,
  attempts: record.attempts,
  submittedAt: DateTime.makeUnsafe(record.submittedAt),
  // None when it lies beyond all dates.
  dueAt: record.state === "delayed"
    ? Option.getOrUndefined(DateTime.make(Math.round(record.dueAt + wallOffset)))
    : undefined,
  key: record.work?.options.key,
  group: record.work?.options.group,
  reason: record.state === "aborted" ? record.abortReason : undefined,
  cause: failuresOf(record)
})
