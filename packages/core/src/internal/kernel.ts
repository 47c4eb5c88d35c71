/**
 * The state of one manager and all transitions of it. Everything here is synchronous: a task is accepted, started,
 * delayed, settled in one step, so that the laws hold at every instant and an interruption finds either all or nothing.
 *
 *     accept → route → advance (admit, assign, lend) → [attempt] → retryLater | settle → advance
 *
 * `advance` does all that follows from the present state. It only hands tasks to workers: fibers are woken afterwards,
 * late and together, because waking one for each task makes producers and workers take turns.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import { type AbortReason, TaskAbortedError, type TaskFailedError, TaskManagerStoppedError } from "../TaskError.ts"
import type { TaskOutcome } from "../TaskHandle.ts"
import type { TaskEvent, TaskInfo, TaskState } from "../TaskInfo.ts"
import type { TaskStats } from "../TaskStats.ts"
import { Admission, type Suspended } from "./admission.ts"
import { markedReasons, withoutStack } from "./causes.ts"
import type { ManagerConfig } from "./config.ts"
import { NameCounters, noTasks } from "./counters.ts"
import type { Events } from "./events.ts"
import { Heap } from "./heap.ts"
import { Keys } from "./keys.ts"
import { Lane } from "./lane.ts"
import { RateLimit } from "./rate.ts"
import { StartQueue } from "./startQueue.ts"
import { type Deadline, infoOf, type TaskRecord } from "./taskRecord.ts"
import { Timer } from "./timer.ts"
import { nextTowards, type Wait } from "./waits.ts"
import { Worker } from "./worker.ts"

/** What the modules above do when the kernel says so. */
export interface Reactions {
  readonly named: (counters: NameCounters) => void
  readonly delayedFull: () => void
  readonly finalizersSlow: (running: ReadonlyArray<TaskRecord>) => void
  readonly stopped: () => void
}

/** After the grace period, finalizers may take this long before a warning names the tasks. */
const finalizerPatience = 5000

export class Kernel {
  readonly id: string
  readonly config: ManagerConfig
  readonly context: Context.Context<never>
  readonly events: Events
  readonly timer: Timer

  readonly counts = noTasks()
  readonly names = new Map<string, NameCounters>()
  /** Every task that has not settled, by id. */
  readonly tasks = new Map<number, TaskRecord>()
  /** The last failed tasks, by id. */
  readonly failed = new Map<number, TaskRecord>()
  readonly keys = new Keys()
  readonly lanes = new Map<string, Lane>()
  readonly admission: Admission
  readonly waits = new Set<Wait>()
  readonly workers: ReadonlyArray<Worker>

  phase: "running" | "draining" | "stopped" = "running"
  paused = false
  /** From then on nothing starts: the end of the grace period. */
  graceAt = Infinity
  cut = false
  /** What failed or was aborted since the shutdown began. */
  readonly unfinished: Array<{ readonly task: TaskInfo; readonly error: TaskFailedError | TaskAbortedError }> = []
  /** Called once, when the shutdown begins. */
  readonly drainListeners = new Set<() => void>()
  readonly idleListeners = new Set<() => void>()

  readonly #reactions: Reactions
  readonly #dispatcher: Scheduler.SchedulerDispatcher
  readonly #ready = new StartQueue()
  readonly #delayed = new Heap<TaskRecord>((a, b) => a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.id < b.id))
  readonly #deadlines = new Heap<Deadline>((a, b) => a.at < b.at)
  readonly #rate: RateLimit | undefined
  readonly #idle: Array<Worker> = []
  /** Tasks that go on although their worker is still lent: as many freed workers take nothing. */
  #overdraft = 0
  #submitted = 0
  #warnAt = Infinity
  #warnedDelayed = false
  #advancing = false
  #flushing = false
  #woken: Array<Worker> = []
  #answered: Array<Suspended> = []

  constructor(
    id: string,
    config: ManagerConfig,
    context: Context.Context<never>,
    events: Events,
    reactions: Reactions
  ) {
    this.id = id
    this.config = config
    this.context = context
    this.events = events
    this.#reactions = reactions
    this.timer = new Timer(context, () => this.#tick())
    this.admission = new Admission(config.groupCapacity)
    this.#rate = config.rate && new RateLimit(config.rate.limit, config.rate.window)
    this.#dispatcher = Context.get(context, Scheduler.Scheduler).makeDispatcher()
    this.workers = Array.from({ length: config.workers }, () => new Worker(this))
  }

  // --- what is known ---

  get stats(): TaskStats {
    const { capacity, workers } = this.config
    const manager = this.phase === "running" && this.paused ? "paused" : this.phase
    return { ...this.counts, submitted: this.#submitted, workers, capacity, manager }
  }

  get isIdle(): boolean {
    return this.tasks.size === 0 && this.admission.size === 0
  }

  info(record: TaskRecord): TaskInfo {
    return infoOf(record, this.timer.wallNow() - this.timer.now())
  }

  countersOf(name: string): NameCounters {
    let counters = this.names.get(name)
    if (counters === undefined) {
      this.names.set(name, counters = new NameCounters(name))
      this.#reactions.named(counters)
    }
    return counters
  }

  laneOf(id: string): Lane {
    let lane = this.lanes.get(id)
    if (lane === undefined) this.lanes.set(id, lane = new Lane(id))
    return lane
  }

  dropUnused(lane: Lane | undefined): void {
    if (lane?.unused === true) this.lanes.delete(lane.id)
  }

  pause(): void {
    this.paused = this.phase === "running"
  }

  resume(): void {
    this.paused = false
    this.advance()
  }

  // --- in ---

  /** Accepts the task if there is room for it now, and nobody before it. */
  tryAccept(record: TaskRecord): boolean {
    if (this.admission.mustWait(record) || !this.#admissible(record)) return false
    this.#accept(record)
    this.advance()
    return true
  }

  #admissible = (record: TaskRecord): boolean => {
    if (this.counts.delayed >= this.config.maxDelayed) return this.#delayedIsFull()
    if (record.startsDelayed) return true
    const laneFull = record.lane !== undefined && record.lane.waiting >= this.config.groupCapacity
    return (this.counts.waiting < this.config.capacity && !laneFull) || this.#canHandOver(record)
  }

  #canHandOver(record: TaskRecord): boolean {
    return this.#slot() !== undefined && this.#ready.peek() === undefined && this.#mayStart() &&
      (record.lane === undefined || record.lane.free) &&
      (record.key === undefined || this.keys.running(record.key) === undefined)
  }

  #delayedIsFull(): boolean {
    if (!this.#warnedDelayed) {
      this.#warnedDelayed = true
      this.#reactions.delayedFull()
    }
    return false
  }

  #accept(record: TaskRecord): void {
    const now = this.timer.now()
    const { options, timing } = record.work!
    record.id = ++this.#submitted
    record.submittedAt = this.timer.wallNow()
    record.admittedAt = now
    const startsAt = record.startsDelayed ? now + timing!.delay : now
    record.rank = startsAt - (options.priority ?? 0) * 1000
    if (startsAt > now) {
      record.state = "delayed"
      record.dueAt = startsAt
    } else if (record.lane !== undefined) {
      record.lane.waiting++
    }
    this.counts[record.state]++
    record.counters.states[record.state]++
    record.counters.submitted++
    this.tasks.set(record.id, record)
    this.keys.accepted(record)
    if (timing !== undefined) {
      this.#expireAt(record, Math.min(startsAt + timing.timeToStart, now + timing.timeToLive))
    }
    this.#publish("Submitted", record)
    if (record.state === "delayed") this.#delayed.push(record)
    else this.#route(record)
  }

  /** Puts a task that may start into the start queue, or behind its group. */
  #route(record: TaskRecord): void {
    if (record.after !== undefined) return
    if (record.lane === undefined) this.#ready.push(record)
    else record.lane.enter(record, this.#ready)
  }

  // --- what follows ---

  advance(): void {
    if (this.#advancing) return
    this.#advancing = true
    this.#admit()
    let worker: Worker | undefined
    while ((worker = this.#slot()) !== undefined) {
      const record = this.#nextToStart()
      if (record === undefined) break
      this.#assign(record, worker)
      this.#admit()
    }
    if (this.waits.size > 0) this.#lend()
    this.#advancing = false
    this.#arm()
    if (this.isIdle) this.#becomeIdle()
  }

  #admit(): void {
    if (this.admission.size === 0) return
    let suspended: Suspended | undefined
    while ((suspended = this.admission.first(this.#admissible)) !== undefined) {
      const { record } = suspended
      this.admission.withdraw(suspended)
      const holder = record.key === undefined ? undefined : this.keys.holder(record.key)
      if (holder === undefined) {
        const worker = this.#slot()
        this.#accept(record)
        // At once, since the answer may take back the lent worker that made the room.
        if (worker !== undefined && this.#nextToStart() === record) this.#assign(record, worker)
      }
      this.#answer(suspended, Exit.succeed(holder ?? record))
    }
  }

  #answer(suspended: Suspended, answer: Exit.Exit<TaskRecord, TaskManagerStoppedError>): void {
    suspended.answer = answer
    if (suspended.wait === undefined) this.answerLater(suspended)
    else this.finish(suspended.wait)
  }

  answerLater(suspended: Suspended): void {
    this.#answered.push(suspended)
    this.#flushLater()
  }

  /** A worker that may take any task: an idle one, or one lent by a task that waits for room. */
  #slot(): Worker | undefined {
    if (this.#idle.length > this.#overdraft) return this.#idle.at(-1)
    for (const wait of this.waits) if (wait.target === undefined && wait.canLend) return wait.lender!.worker
    return undefined
  }

  #mayStart(): boolean {
    return !this.paused && !this.cut && (this.#rate === undefined || this.#rate.freeAt <= this.timer.now())
  }

  #nextToStart(): TaskRecord | undefined {
    for (let record = this.#ready.peek(); record !== undefined; record = this.#ready.peek()) {
      if (!this.#mayStart()) return undefined
      if (!this.#expired(record)) return record
    }
    return undefined
  }

  /** A timer may be late; a task is not started after its time all the same. */
  #expired(record: TaskRecord): boolean {
    if (record.deadline === undefined || record.deadline.at > this.timer.now()) return false
    this.abort(record, "expired")
    return true
  }

  #assign(record: TaskRecord, worker: Worker): void {
    record.queue!.remove(record)
    this.#move(record, "running")
    this.keys.started(record)
    if (record.lane !== undefined) {
      record.lane.started(record)
      this.admission.laneChanged(record.lane)
    }
    this.#rate?.start(this.timer.now())
    record.worker = worker
    worker.task = worker.current = record
    if (worker.idle) {
      worker.idle = false
      this.#idle.pop()
    }
    if (worker.wake !== undefined) {
      this.#woken.push(worker)
      this.#flushLater()
    }
  }

  #lend(): void {
    for (const wait of this.waits) {
      if (wait.target === undefined || !wait.canLend || !this.#mayStart()) continue
      const record = nextTowards(wait.target)
      if (record !== undefined && !this.#expired(record)) this.#assign(record, wait.lender!.worker!)
    }
  }

  #becomeIdle(): void {
    if (this.idleListeners.size > 0) {
      const listeners = [...this.idleListeners]
      this.idleListeners.clear()
      for (const listener of listeners) listener()
    }
    if (this.phase === "draining" && this.#idle.length === this.workers.length) {
      this.phase = "stopped"
      this.graceAt = this.#warnAt = Infinity
      this.timer.set(Infinity)
      this.#reactions.stopped()
    }
  }

  #flushLater(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.#dispatcher.scheduleTask(this.#flush, 0)
  }

  #flush = (): void => {
    this.#flushing = false
    const woken = this.#woken
    const answered = this.#answered
    this.#woken = []
    this.#answered = []
    for (const worker of woken) if (worker.task !== undefined) wake(worker)
    for (const suspended of answered) suspended.wake?.()
  }

  // --- workers ---

  /** The worker has nothing to do, unless `advance` finds it something at once. */
  release(worker: Worker): void {
    worker.current = undefined
    if (worker.idle || worker.task !== undefined) return
    worker.idle = true
    this.#idle.push(worker)
    this.advance()
  }

  retire(): void {
    for (const worker of this.workers) wake(worker)
  }

  /** The worker attends to its suspended task (again): waits that have ended go on, others may lend it. */
  attends(worker: Worker, record: TaskRecord): void {
    worker.attending = worker.current = record
    this.paidBack(record)
    if (this.waits.size === 0) return
    for (const wait of this.waits) if (wait.over && wait.lender === record) this.#end(wait)
    this.advance()
  }

  // --- tasks that wait for tasks ---

  wait(wait: Wait): void {
    wait.waiter.waits ??= new Set()
    wait.waiter.waits.add(wait)
    if (wait.lender === undefined) return
    this.waits.add(wait)
    this.advance()
  }

  /** What was waited for has come; the waiter goes on when its worker is back. */
  finish(wait: Wait): void {
    const worker = wait.lender?.worker
    wait.over = true
    if (worker === undefined || (worker.attending === wait.lender && worker.task === undefined)) this.#end(wait)
  }

  /** The wait was interrupted: the waiter goes on at once. */
  abandon(wait: Wait): void {
    const { lender, waiter } = wait
    this.#forget(wait)
    if (lender !== waiter || lender.overdrawn || lender.worker?.current === lender) return
    lender.overdrawn = true
    this.#overdraft++
  }

  paidBack(record: TaskRecord): void {
    if (!record.overdrawn) return
    record.overdrawn = false
    this.#overdraft--
  }

  #end(wait: Wait): void {
    this.#forget(wait)
    wait.goOn()
  }

  #forget(wait: Wait): void {
    this.waits.delete(wait)
    wait.waiter.waits?.delete(wait)
  }

  // --- out ---

  retryLater(record: TaskRecord, delay: number): void {
    const now = this.timer.now()
    record.worker = record.fiber = undefined
    this.#move(record, "delayed")
    record.dueAt = now + delay
    record.counters.retries++
    if (record.abortReason === undefined && record.dueAt >= this.graceAt) record.abortReason = "shutdown"
    if (record.abortReason !== undefined) return this.settleAborted(record, record.abortReason)
    this.#publish("Retrying", record)
    if (delay > 0) this.#delayed.push(record)
    else this.#route(record)
    this.#arm()
  }

  /** Ends a task from outside. What has not begun ends at once; an attempt is interrupted, and its end decides. */
  abort(record: TaskRecord, reason: AbortReason): void {
    if (record.settled) return
    record.abortReason ??= reason
    if (record.state === "running" && record.worker?.task !== record) return record.fiber?.interruptUnsafe()
    this.settleAborted(record, record.abortReason)
  }

  settleAborted(record: TaskRecord, reason: AbortReason): void {
    const { attempts, failures, id, name } = record
    const error = withoutStack(() =>
      new TaskAbortedError({
        id: String(id),
        task: name,
        reason,
        attempts,
        failures: failures?.toCause(markedReasons, "attempts") ?? Cause.empty
      })
    )
    this.settle(record, { _tag: "Aborted", error })
  }

  settle(record: TaskRecord, outcome: TaskOutcome<unknown, unknown>): void {
    this.#leave(record)
    record.outcome = outcome
    this.#move(record, endState[outcome._tag])
    this.tasks.delete(record.id)
    const follower = this.keys.settled(record)
    if (follower !== undefined && follower.heapIndex < 0) this.#route(follower)
    this.#publish(outcome._tag, record)
    if (outcome._tag !== "Completed" && this.phase === "draining") {
      this.unfinished.push({ task: this.info(record), error: outcome.error })
    }
    if (outcome._tag === "Failed") this.#keep(record)
    else record.work = undefined
    const listeners = record.listeners
    record.listeners = undefined
    listeners?.forEach((listener) => listener())
    this.advance()
  }

  #leave(record: TaskRecord): void {
    const { lane, worker } = record
    if (record.queue !== undefined) record.queue.remove(record)
    else if (record.heapIndex >= 0) this.#delayed.remove(record)
    if (worker?.task === record) this.#takeBack(worker)
    this.#expireAt(record, Infinity)
    if (lane !== undefined) {
      if (record.state === "waiting") lane.waiting--
      lane.leave(record, this.#ready)
      this.admission.laneChanged(lane)
      this.dropUnused(lane)
    }
    record.worker = record.fiber = record.retry = undefined
  }

  #takeBack(worker: Worker): void {
    worker.task = undefined
    worker.current = worker.attending
    if (worker.attending !== undefined || worker.wake === undefined) return
    worker.idle = true
    this.#idle.push(worker)
  }

  #keep(record: TaskRecord): void {
    this.failed.set(record.id, record)
    for (const oldest of this.failed.values()) {
      if (this.failed.size <= this.config.keepFailed) break
      this.forgetFailed(oldest)
    }
  }

  forgetFailed(record: TaskRecord): void {
    this.failed.delete(record.id)
    record.work = undefined
  }

  #move(record: TaskRecord, to: TaskState): void {
    const { states } = record.counters
    this.counts[record.state]--
    states[record.state]--
    if (to === "running" && record.state === "waiting" && record.lane !== undefined) record.lane.waiting--
    record.state = to
    this.counts[to]++
    states[to]++
  }

  #publish(tag: TaskEvent["_tag"], record: TaskRecord): void {
    if (this.events.heard) this.events.publish(tag, this.info(record), this.timer.wallNow())
  }

  // --- attempts ---

  /** Counts an attempt that starts now. */
  begin(record: TaskRecord): void {
    const now = this.timer.now()
    record.startedAt = now
    record.counters.attempts++
    if (++record.attempts === 1) {
      record.counters.waitTime.record(now - Math.max(record.admittedAt, record.dueAt))
      if (record.deadline !== undefined) this.#expireAt(record, record.admittedAt + record.work!.timing!.timeToLive)
    }
    this.#publish("Started", record)
  }

  ended(record: TaskRecord): void {
    record.counters.runTime.record(this.timer.now() - record.startedAt)
  }

  // --- time ---

  #expireAt(record: TaskRecord, at: number): void {
    if (record.deadline !== undefined) {
      if (record.deadline.heapIndex >= 0) this.#deadlines.remove(record.deadline)
      record.deadline = undefined
    }
    if (at === Infinity) return
    record.deadline = { at, record, heapIndex: -1 }
    this.#deadlines.push(record.deadline)
  }

  #arm(): void {
    let at = this.cut ? this.#warnAt : this.graceAt
    const due = this.#delayed.peek()
    const deadline = this.#deadlines.peek()
    if (due !== undefined) at = Math.min(at, due.dueAt)
    if (deadline !== undefined) at = Math.min(at, deadline.at)
    if (this.#rate !== undefined && !this.paused && (this.#ready.peek() !== undefined || this.admission.size > 0)) {
      const { freeAt } = this.#rate
      if (freeAt > this.timer.now()) at = Math.min(at, freeAt)
    }
    this.timer.set(at)
  }

  #tick(): void {
    const now = this.timer.now()
    if (this.#warnAt <= now) this.#warn()
    if (this.graceAt <= now) this.cutOff(now)
    for (let first = this.#deadlines.peek(); first !== undefined && first.at <= now; first = this.#deadlines.peek()) {
      this.#deadlines.pop()
      this.abort(first.record, "expired")
    }
    for (let first = this.#delayed.peek(); first !== undefined && first.dueAt <= now; first = this.#delayed.peek()) {
      this.#delayed.pop()
      this.#route(first)
    }
    this.advance()
  }

  // --- stop ---

  /** Takes nothing new. What is due before the end of the grace period still runs. */
  drain(gracePeriod: number): void {
    const now = this.timer.now()
    if (this.phase === "running") {
      this.phase = "draining"
      this.paused = false
      for (const listener of this.drainListeners) listener()
      for (const suspended of this.admission.all) {
        this.admission.withdraw(suspended)
        this.#answer(suspended, Exit.fail(new TaskManagerStoppedError()))
      }
    }
    this.graceAt = Math.min(this.graceAt, now + gracePeriod)
    for (const record of this.#delayed.toArray().slice()) {
      if (record.dueAt >= this.graceAt) this.abort(record, "shutdown")
    }
    if (this.graceAt <= now) this.cutOff(now)
    this.advance()
  }

  /** The end of the grace period: ends whatever is left. */
  cutOff(now: number): void {
    if (this.cut) return
    this.cut = true
    this.#warnAt = now + finalizerPatience
    for (const record of Array.from(this.tasks.values())) this.abort(record, "shutdown")
  }

  #warn(): void {
    this.#warnAt = Infinity
    this.#reactions.finalizersSlow([...this.tasks.values()])
  }
}

const endState = { Completed: "completed", Failed: "failed", Aborted: "aborted" } as const

const wake = (worker: Worker): void => {
  const { wake } = worker
  worker.wake = undefined
  wake?.()
}
