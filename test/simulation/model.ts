/**
 * What may be observed of a manager, and nothing of how it works: which calls are open, which tasks have been accepted,
 * where they stand, which attempts are in progress. Each observation is checked on its own here; `laws.ts` compares
 * the whole with what the manager shows.
 *
 * Between two rests no time passes. At a rest nothing can run, so whatever had to happen at this time has happened.
 */
import type { AbortReason, TaskInfo, TaskOutcome, TaskState, TaskStats } from "@effect-tasks/core"
import { Cause, Exit } from "effect"
import type { Behaviour, Kind, Program, TaskSpec } from "./program.ts"

/** A law that did not hold; law 0 is what the options and verbs promise beyond the thirteen. */
export class Violation extends Error {
  override readonly name = "Violation"
  readonly law: number

  constructor(law: number, what: string) {
    super(`law ${law}: ${what}`)
    this.law = law
  }
}

type Labels = Pick<TaskInfo, "name" | "key" | "group">

const labelsOf = ({ group, key, kind }: TaskSpec): Labels => ({ name: `k${kind}`, key, group })

const sameLabels = (a: Labels, b: Labels): boolean => a.name === b.name && a.key === b.key && a.group === b.group

/** Whether a submit with these labels may have come to hold the task: by its key it joins one of another group too. */
export const mayHold = (labels: Labels, task: Labels): boolean =>
  labels.name === task.name && labels.key === task.key && (task.key !== undefined || labels.group === task.group)

/** One submit of whatever verb, from its call to its answer; of `schedule`, all its submits. */
export interface Call {
  readonly number: number
  readonly verb: "submit" | "trySubmit" | "run" | "schedule"
  readonly task: TaskSpec
  readonly labels: Labels
  readonly kind: Kind
  /** The attempt that made it, when one did. */
  readonly by: Attempt | undefined
  /** The rest after which it was made. */
  readonly age: number
  state: "open" | "accepted" | "refused" | "given up"
}

/** One execution of a task's effect, or of its `onFailed`. */
export class Attempt {
  readonly task: Task
  readonly call: Call
  readonly behaviour: Behaviour
  /** Body, finalizers and children that have begun and not ended. */
  parts = 0
  /** What its body waits for: the end of a task, room for one, or both for the task of a run that is not known yet. */
  waits: number | "room" | Call | undefined
  /** How often it has waited so far. */
  waitCount = 0
  /** What it does right now ends at once when it is interrupted. */
  interruptible = false
  exit: Exit.Exit<unknown, unknown> | undefined

  constructor(task: Task, call: Call, behaviour: Behaviour) {
    this.task = task
    this.call = call
    this.behaviour = behaviour
  }
}

export class Task {
  readonly id: number
  readonly kind: Kind
  readonly name: string
  readonly key: string | undefined
  readonly group: string | undefined
  /** When it may start: first, or again. */
  dueAt: number
  /** Earlier goes first. */
  readonly rank: number
  readonly startBy: number
  readonly endBy: number
  /** The rest after which its submit was called, once that is known. */
  age: number | undefined
  /** Attempts that have begun. */
  attempts = 0
  current: Attempt | undefined
  hook: Attempt | undefined
  lastExit: Exit.Exit<unknown, unknown> | undefined
  /** A wait of its last attempt was interrupted: it may go on while its worker is still lent. */
  gaveUp = false
  state: TaskState | "gone" = "waiting"
  /** A cancel of it was called, after this rest when the cancel has certainly been made. */
  cancelAsked = false
  cancelledAt = Infinity
  outcome: TaskOutcome<unknown, unknown> | undefined

  constructor(id: number, labels: Labels, kind: Kind, now: number) {
    this.id = id
    this.kind = kind
    this.name = labels.name
    this.key = labels.key
    this.group = labels.group
    this.dueAt = now + Math.ceil(kind.delay ?? 0)
    this.rank = this.dueAt - (kind.priority ?? 0) * 1000
    this.endBy = now + (kind.timeToLive ?? Infinity)
    this.startBy = Math.min(this.dueAt + (kind.timeToStart ?? Infinity), this.endBy)
  }

  /** The attempt or hook that has not ended. */
  get inProgress(): Attempt | undefined {
    if (this.current !== undefined && this.current.parts > 0) return this.current
    return this.hook !== undefined && this.hook.parts > 0 ? this.hook : undefined
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
  /** How often nothing could run. */
  rests = 0
  /** When nothing could run the last time. */
  restedAt = 0
  found: Violation | undefined
  /** Of all attempts. */
  parts = 0
  /** How often `resume` was called. */
  resumes = 0
  /** From then on nothing starts: as somebody may have asked for, has certainly, and has been heard at a rest. */
  graceAsked = Infinity
  graceAt = Infinity
  #graceSure = Infinity
  readonly #clock: { readonly now: number }
  readonly #starts: Array<number> = []

  constructor(program: Program, clock: { readonly now: number }) {
    this.program = program
    this.#clock = clock
  }

  /** Kept until the end of the step: what is thrown inside a task is only the task's failure. */
  violation(law: number, what: string): Violation {
    return this.found ??= new Violation(law, what)
  }

  get now(): number {
    return this.#clock.now
  }

  stopAsked(grace: number, surely: boolean): void {
    this.graceAsked = Math.min(this.graceAsked, this.now + grace)
    if (surely) this.#graceSure = Math.min(this.#graceSure, this.now + grace)
  }

  /** Nothing can run, so what was asked for has been heard. */
  rest(): void {
    this.rests++
    this.restedAt = this.now
    this.graceAt = this.#graceSure
  }

  note(what: string): void {
    this.log.push(`${this.now} ${what}`)
  }

  // --- submits ---

  asked(verb: Call["verb"], task: TaskSpec, by: Attempt | undefined): Call {
    const call: Call = {
      number: this.calls.length,
      verb,
      task,
      labels: labelsOf(task),
      kind: this.program.kinds[task.kind]!,
      by,
      age: this.rests,
      state: "open"
    }
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
    const task = this.taskOf(id, call.labels)
    if (!mayHold(call.labels, task)) {
      throw this.violation(0, `a submit was answered with somebody else's task ${id}`)
    }
    task.age ??= call.age
    return task
  }

  refused(call: Call, why: string): void {
    call.state = "refused"
    this.note(`refused: ${why}`)
    if (why === "TaskManagerStoppedError" && this.graceAsked === Infinity) {
      throw this.violation(11, "a submit was refused by a manager that nobody has stopped")
    }
    if (why === "QueueFullError" && call.verb !== "trySubmit") throw this.violation(1, `a ${call.verb} found no room`)
  }

  // --- attempts ---

  began(id: number, number: number, labels: Labels, call: Call, behaviour: Behaviour): Attempt {
    this.note(`began ${id} attempt ${number}`)
    const task = this.taskOf(id, labels)
    if (!sameLabels(task, call.labels)) throw this.violation(10, `task ${id} ran the effect of another`)
    if (task.state === "gone") throw this.violation(2, `task ${id} began after its end`)
    if (task.inProgress !== undefined) throw this.violation(3, `two attempts of task ${id} at once`)
    if (task.attempts > 0 && task.retryDelay === undefined) {
      throw this.violation(3, `task ${id} was tried again after its end`)
    }
    if (number !== ++task.attempts) {
      throw this.violation(3, `attempt ${task.attempts} of task ${id} took itself for attempt ${number}`)
    }
    if (this.now < task.dueAt) throw this.violation(3, `task ${id} began ${task.dueAt - this.now} ms before its time`)
    if (this.now >= (number === 1 ? task.startBy : task.endBy)) {
      throw this.violation(3, `task ${id} began after its time`)
    }
    if (this.now >= this.graceAt) throw this.violation(11, `task ${id} began after the grace period`)
    this.#keepsRate()
    task.age ??= call.verb === "schedule" ? undefined : call.age
    task.gaveUp = false
    if (call.by?.waits === call) call.by.waits = id
    return task.current = new Attempt(task, call, behaviour)
  }

  #keepsRate(): void {
    const { rate } = this.program.manager
    if (rate === undefined) return
    this.#starts.push(this.now)
    const earlier = this.#starts.at(-1 - rate.limit)
    if (earlier !== undefined && this.now - earlier < rate.window) {
      throw this.violation(0, `more than ${rate.limit} starts in ${rate.window} ms`)
    }
  }

  /** Starts that were seen since then. */
  startsSince(time: number): number {
    return this.#starts.filter((start) => start > time).length
  }

  hookBegan(id: number, call: Call, behaviour: Behaviour): Attempt {
    this.note(`began ${id} hook`)
    const task = this.tasks.get(id)!
    if (task.inProgress !== undefined) {
      throw this.violation(5, `the hook of task ${id} began before its attempt had ended`)
    }
    if (task.hook !== undefined) throw this.violation(2, `the hook of task ${id} began twice`)
    if (task.lastExit?._tag !== "Failure") {
      throw this.violation(2, `the hook of task ${id} began, though it has not failed`)
    }
    return task.hook = new Attempt(task, call, behaviour)
  }

  partBegan(attempt: Attempt): void {
    attempt.parts++
    this.parts++
  }

  /** A part of the attempt has ended; with the last one the attempt has. */
  partEnded(attempt: Attempt): void {
    this.parts--
    if (--attempt.parts > 0) return
    const { task } = attempt
    if (attempt === task.hook) return this.note(`ended ${task.id} hook`)
    task.lastExit = attempt.exit
    this.note(`ended ${task.id} ${describe(attempt.exit!)}`)
    const delay = task.retryDelay
    if (delay !== undefined) task.dueAt = this.now + delay
  }

  // --- ends ---

  settled(task: Task, outcome: TaskOutcome<unknown, unknown>): void {
    const known = task.outcome
    if (known === undefined) this.note(`settled ${task.id} ${outcome._tag}`)
    else if (known._tag !== outcome._tag) {
      throw this.violation(2, `task ${task.id} was ${known._tag}, then ${outcome._tag}`)
    }
    task.outcome = outcome
    if (task.inProgress !== undefined) throw this.violation(5, `task ${task.id} settled before its attempt had ended`)
    if (outcome._tag === "Completed") return this.#completed(task, outcome.value, outcome.attempts)
    const { attempts, id, task: name } = outcome.error
    if (id !== String(task.id) || name !== task.name) {
      throw this.violation(2, `task ${task.id} ended as task ${id} (${name})`)
    }
    if (outcome._tag === "Failed") return this.#failed(task, outcome.error)
    // An attempt that was interrupted before its first operation counts, and nobody saw it.
    if (attempts !== task.attempts && attempts !== task.attempts + 1) {
      throw this.violation(3, miscounted(task, attempts))
    }
    if (!this.reasons(task).includes(outcome.error.reason)) {
      throw this.violation(2, `task ${task.id} was aborted (${outcome.error.reason}) for no reason`)
    }
  }

  #completed({ attempts: begun, id, lastExit }: Task, value: unknown, attempts: number): void {
    if (lastExit?._tag !== "Success") throw this.violation(2, `task ${id} completed and has not succeeded`)
    if (lastExit.value !== value) throw this.violation(2, `task ${id} completed with ${value}, not ${lastExit.value}`)
    if (begun !== attempts) throw this.violation(3, `task ${id} counts ${attempts} attempts of ${begun}`)
  }

  #failed(
    task: Task,
    error: { readonly attempts: number; readonly error?: unknown; readonly cause: Cause.Cause<unknown> }
  ) {
    const { current, id, kind, lastExit, retryDelay } = task
    if (lastExit?._tag !== "Failure") throw this.violation(2, `task ${id} failed and has not failed`)
    if (retryDelay !== undefined) throw this.violation(3, `task ${id} failed with an attempt left`)
    if (error.attempts !== task.attempts) throw this.violation(3, miscounted(task, error.attempts))
    if (Cause.hasInterrupts(lastExit.cause) && current?.behaviour.ends !== "interrupts") {
      throw this.violation(11, `the interruption of task ${id} was counted as its failure`)
    }
    if (error.error !== (kind.headed === true ? `headed ${task.name}` : undefined)) {
      throw this.violation(12, `task ${id} was reported under ${error.error}`)
    }
    if (error.cause.reasons.length < task.attempts) {
      throw this.violation(12, `${error.cause.reasons.length} reasons for ${task.attempts} attempts of task ${id}`)
    }
  }

  /** Why the manager may abort the task now. */
  reasons(task: Task): ReadonlyArray<AbortReason> {
    const reasons: Array<AbortReason> = []
    if (task.cancelAsked || this.#mayBeForsaken(task)) reasons.push("cancelled")
    if (this.now >= task.deadline) reasons.push("expired")
    if (this.now >= this.graceAsked || (this.graceAsked < Infinity && task.dueAt >= this.graceAsked)) {
      reasons.push("shutdown")
    }
    return reasons
  }

  /** Whether a submit of this task may have been interrupted while it was accepted, or the last `run` that holds it. */
  #mayBeForsaken(task: Task): boolean {
    return this.calls.some(({ labels, state, verb }) =>
      verb !== "trySubmit" && (state === "given up" || state === "open") && mayHold(labels, task)
    )
  }
}

const miscounted = ({ attempts: begun, id }: Task, attempts: number): string =>
  `task ${id} counts ${attempts} attempts, and ${begun} began`

const describe = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? `with ${String(exit.value)}` : `by ${exit.cause.reasons.map(({ _tag }) => _tag).join(" and ")}`
