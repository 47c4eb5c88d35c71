/**
 * What may be observed of a manager, and nothing of how it works: which calls are open, which tasks have been accepted,
 * where they stand, which attempts are in progress. `laws.ts` compares it with what the manager shows.
 *
 * Between two rests no time passes. At a rest nothing can run, so whatever had to happen at this time has happened.
 */
import type { AbortReason, TaskInfo, TaskOutcome, TaskState, TaskStats } from "@effect-tasks/core"
import { Exit } from "effect"
import type { Behaviour, Kind, Program, TaskSpec } from "./program.ts"

export class Violation extends Error {
  override readonly name = "Violation"
  readonly law: number

  constructor(law: number, what: string) {
    super(`law ${law}: ${what}`)
    this.law = law
  }
}

/** One submit of whatever verb, from its call to its answer. */
export interface Call {
  readonly verb: "submit" | "trySubmit" | "run"
  readonly task: TaskSpec
  /** The rest after which it was made. */
  readonly age: number
  state: "open" | "accepted" | "refused" | "given up"
}

type Labels = Pick<TaskInfo, "name" | "key" | "group">

const labelsOf = ({ group, key, kind }: TaskSpec): Labels => ({ name: `k${kind}`, key, group })

const sameLabels = (a: Labels, b: Labels): boolean => a.name === b.name && a.key === b.key && a.group === b.group

/** One execution of a task's effect, or of its `onFailed`. */
export class Attempt {
  readonly task: Task
  readonly behaviour: Behaviour
  /** Body, finalizers and children that have begun and not ended. */
  parts = 0
  /** What its body waits for: the end of a task, or room for one. */
  waits: { readonly target: number | undefined } | undefined
  /** Its body can be interrupted right now. */
  interruptible = false
  exit: Exit.Exit<unknown, unknown> | undefined

  constructor(task: Task, behaviour: Behaviour) {
    this.task = task
    this.behaviour = behaviour
  }
}

export class Task {
  readonly id: number
  readonly kind: Kind
  readonly name: string
  readonly key: string | undefined
  readonly group: string | undefined
  readonly admittedAt: number
  /** When it may start: first, or again. */
  dueAt: number
  /** Earlier goes first. */
  readonly rank: number
  readonly startBy: number
  readonly endBy: number
  /** Attempts that have begun. */
  attempts = 0
  current: Attempt | undefined
  hook: Attempt | undefined
  /** A wait of the last attempt was interrupted: it may go on while its worker is still lent. */
  gaveUp = false
  lastExit: Exit.Exit<unknown, unknown> | undefined
  state: TaskState | "gone" = "waiting"
  cancelled = false
  outcome: TaskOutcome<unknown, unknown> | undefined

  constructor(id: number, labels: Labels, kind: Kind, now: number) {
    this.id = id
    this.kind = kind
    this.name = labels.name
    this.key = labels.key
    this.group = labels.group
    this.admittedAt = now
    const delay = kind.delay ?? 0
    this.dueAt = now + delay
    this.rank = this.dueAt - (kind.priority ?? 0) * 1000
    this.startBy = Math.min(this.dueAt + (kind.timeToStart ?? Infinity), now + (kind.timeToLive ?? Infinity))
    this.endBy = now + (kind.timeToLive ?? Infinity)
  }

  get inProgress(): Attempt | undefined {
    return [this.current, this.hook].find((attempt) => attempt !== undefined && attempt.parts > 0)
  }

  get deadline(): number {
    return this.attempts === 0 ? this.startBy : this.endBy
  }

  startsBefore(other: Task): boolean {
    return this.rank < other.rank || (this.rank === other.rank && this.id < other.id)
  }

  sameGroup(other: Task): boolean {
    return this.group !== undefined && this.name === other.name && this.group === other.group
  }

  sameKey(other: Task): boolean {
    return this.key !== undefined && this.name === other.name && this.key === other.key
  }

  /** Milliseconds until the next attempt, or undefined when the last exit was the end. */
  get retryDelay(): number | undefined {
    const { retry } = this.kind
    if (retry === undefined || this.lastExit?._tag !== "Failure" || this.attempts > retry.times) return undefined
    const [reason, ...others] = this.lastExit.cause.reasons
    if (reason?._tag !== "Fail" || others.length > 0 || reason.error === "fatal") return undefined
    return retry.shape === "spaced" ? retry.delay : retry.delay * 2 ** (this.attempts - 1)
  }
}

/** What the manager shows after a step. */
export interface Snapshot {
  readonly stats: TaskStats
  /** Of all tasks that have not settled, and of the last failed ones. */
  readonly tasks: ReadonlyMap<number, TaskInfo>
}

export class Model {
  readonly program: Program
  readonly tasks = new Map<number, Task>()
  readonly calls: Array<Call> = []
  /** What happened, in order: two runs with the same log were the same run. */
  readonly log: Array<string> = []
  readonly #clock: { readonly now: number }
  /** How often nothing could run. */
  rests = 0
  restedAt = 0
  /** From then on nothing starts: as asked for, and as it has certainly been taken in. */
  graceAsked = Infinity
  graceAt = Infinity

  constructor(program: Program, clock: { readonly now: number }) {
    this.program = program
    this.#clock = clock
  }

  get now(): number {
    return this.#clock.now
  }

  note(what: string): void {
    this.log.push(`${this.now} ${what}`)
  }

  // --- submits ---

  asked(verb: Call["verb"], task: TaskSpec): Call {
    const call: Call = { verb, task, age: this.rests, state: "open" }
    this.calls.push(call)
    return call
  }

  /** The task of this id, new when it has just come in; its kind is in its name. */
  taskOf(id: number, labels: Labels & { readonly state?: TaskState }): Task {
    let task = this.tasks.get(id)
    if (task === undefined) {
      this.note(`accepted ${id}`)
      const kind = this.program.kinds[Number(labels.name.slice(1))]!
      const { state = "delayed" } = labels
      // Run again by id, it starts without its delay.
      this.tasks.set(id, task = new Task(id, labels, state === "delayed" ? kind : { ...kind, delay: 0 }, this.now))
    }
    return task
  }

  answered(call: Call, id: number): Task {
    call.state = "accepted"
    this.note(`answered ${id}`)
    return this.taskOf(id, labelsOf(call.task))
  }

  /** Whether a submit of this task may have been interrupted while it was accepted, or the last `run` that holds it. */
  #mayBeForsaken(task: Task): boolean {
    return this.calls.some(({ state, task: spec, verb }) =>
      verb !== "trySubmit" && (state === "given up" || state === "open") && sameLabels(labelsOf(spec), task)
    )
  }

  // --- attempts ---

  began(id: number, number: number, info: Labels & { readonly state: TaskState }, behaviour: Behaviour): Attempt {
    this.note(`began ${id} attempt ${number}`)
    const task = this.taskOf(id, info)
    if (task.state === "gone") throw new Violation(2, `task ${id} began after its end`)
    if (task.inProgress !== undefined) throw new Violation(3, `two attempts of task ${id} at once`)
    if (task.attempts > 0 && task.retryDelay === undefined) {
      throw new Violation(3, `task ${id} was tried again after its end`)
    }
    if (number !== ++task.attempts) {
      throw new Violation(3, `attempt ${task.attempts} of task ${id} took itself for attempt ${number}`)
    }
    if (this.now < task.dueAt) throw new Violation(3, `task ${id} began ${task.dueAt - this.now} ms before its time`)
    if (this.now >= (number === 1 ? task.startBy : task.endBy)) {
      throw new Violation(3, `task ${id} began after its time`)
    }
    if (this.now >= this.graceAt) throw new Violation(11, `task ${id} began after the grace period`)
    task.gaveUp = false
    return task.current = new Attempt(task, behaviour)
  }

  hookBegan(id: number, behaviour: Behaviour): Attempt {
    const task = this.tasks.get(id)!
    this.note(`began ${id} hook`)
    if (task.inProgress !== undefined) throw new Violation(3, `an attempt of task ${id} runs beside its hook`)
    return task.hook = new Attempt(task, behaviour)
  }

  /** A part of the attempt has ended; with the last one the attempt has. */
  partEnded(attempt: Attempt): void {
    if (--attempt.parts > 0) return
    const { task } = attempt
    if (attempt !== task.current) return
    task.lastExit = attempt.exit
    this.note(`ended ${task.id} ${describe(attempt.exit!)}`)
    const delay = task.retryDelay
    if (delay !== undefined) task.dueAt = this.now + delay
  }

  settled(task: Task, outcome: TaskOutcome<unknown, unknown>): void {
    if (task.outcome === undefined) this.note(`settled ${task.id} ${outcome._tag}`)
    task.outcome = outcome
  }

  /** Why the manager may abort the task now. */
  reasons(task: Task): ReadonlyArray<AbortReason> {
    const reasons: Array<AbortReason> = []
    if (task.cancelled || this.#mayBeForsaken(task)) reasons.push("cancelled")
    if (this.now >= task.deadline) reasons.push("expired")
    if (this.now >= this.graceAsked || (this.graceAsked < Infinity && task.dueAt >= this.graceAsked)) {
      reasons.push("shutdown")
    }
    return reasons
  }
}

const describe = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? `with ${String(exit.value)}` : `by ${exit.cause.reasons.map(({ _tag }) => _tag).join(" and ")}`
