/**
 * The state of one manager and all transitions of it. Everything here is synchronous: a task is accepted, started,
 * delayed, settled in one step, so that the laws hold at every instant and an interruption finds either all or nothing.
 *
 *     accept → route → advance (admit, assign, lend) → [attempt] → retryLater | settle → advance
 *
 * `advance` does all that follows from the present state; whoever settles or delays a task calls it afterwards. It hands
 * tasks to workers and wakes nobody: fibers are woken late and together.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import { type AbortReason, TaskAbortedError, type TaskFailedError, TaskManagerStoppedError } from "../TaskError.ts"
import type { TaskEvent, TaskInfo } from "../TaskInfo.ts"
import type { TaskStats } from "../TaskStats.ts"
import { Admission, type Suspended } from "./admission.ts"
import { Agenda } from "./agenda.ts"
import { markedReasons, withoutStack } from "./causes.ts"
import type { ManagerConfig } from "./config.ts"
import type { NameCounters } from "./counters.ts"
import { Crew } from "./crew.ts"
import type { Events } from "./events.ts"
import { Keys } from "./keys.ts"
import { Lane } from "./lane.ts"
import { Ledger } from "./ledger.ts"
import { Lending } from "./lending.ts"
import { RateLimit } from "./rate.ts"
import { StartQueue } from "./startQueue.ts"
import { infoOf, type RunningTask, type TaskRecord } from "./taskRecord.ts"
import { Timer } from "./timer.ts"
import { WakeUps } from "./wakeUps.ts"
import { type Taker, Worker } from "./worker.ts"

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

  readonly ledger: Ledger
  readonly keys = new Keys()
  readonly admission: Admission
  readonly lending: Lending
  readonly crew: Crew

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
  readonly #lanes = new Map<string, Lane>()
  readonly #ready = new StartQueue()
  readonly #agenda = new Agenda()
  readonly #rate: RateLimit | undefined
  readonly #wakeUps: WakeUps
  /** Settled tasks whose end has not been told yet. */
  #toTell: Array<TaskRecord> = []
  #warnAt = Infinity
  #warnedDelayed = false
  #advancing = false
  /** A task that was about to start has expired instead. */
  #roomCame = false

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
    this.admission = new Admission(config.capacity, config.groupCapacity, this.keys)
    this.#rate = config.rate && new RateLimit(config.rate.limit, config.rate.window)
    this.#wakeUps = new WakeUps(Context.get(context, Scheduler.Scheduler))
    this.ledger = new Ledger(config.keepFailed, reactions.named)
    this.lending = new Lending(config.workers, () => this.advance())
    this.crew = new Crew(Array.from({ length: config.workers }, () => new Worker(this.lending)), this.#wakeUps)
  }

  // --- what is known ---

  get stats(): TaskStats {
    const { counts, submitted } = this.ledger
    const { capacity, workers } = this.config
    const manager = this.phase === "running" && this.paused ? "paused" : this.phase
    return { ...counts, submitted, workers, capacity, manager }
  }

  get isIdle(): boolean {
    return this.ledger.tasks.size === 0 && this.admission.size === 0
  }

  info(record: TaskRecord): TaskInfo {
    return infoOf(record, this.timer.wallNow() - this.timer.now())
  }

  laneOf(id: string): Lane {
    let lane = this.#lanes.get(id)
    if (lane === undefined) this.#lanes.set(id, lane = new Lane(id))
    lane.members++
    return lane
  }

  /** Forgets a task that has settled, or was never accepted. */
  discard({ lane }: TaskRecord): void {
    if (lane !== undefined && --lane.members === 0) this.#lanes.delete(lane.id)
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
    if (this.admission.mustWait(record) || !this.#admissible(record, Infinity)) return false
    this.#take(record)
    this.advance()
    return true
  }

  #admissible(record: TaskRecord, since: number): boolean {
    if (this.#delayedIsFull()) return false
    return record.startsDelayed || this.#hasPlace(record) || this.#canHandOver(record, since)
  }

  #hasPlace({ lane }: TaskRecord): boolean {
    const { capacity, groupCapacity } = this.config
    return this.ledger.waiting < capacity && (lane === undefined || lane.waiting < groupCapacity)
  }

  #canHandOver({ key, lane }: TaskRecord, since: number): boolean {
    const next = this.#ready.peek()
    return this.#taker() !== undefined && (next === undefined || since < next.rank) && this.#mayStart() &&
      (lane === undefined || lane.free) && (key === undefined || this.keys.running(key) === undefined)
  }

  #delayedIsFull(): boolean {
    if (this.ledger.delayed < this.config.maxDelayed) return false
    if (!this.#warnedDelayed) {
      this.#warnedDelayed = true
      this.#reactions.delayedFull()
    }
    return true
  }

  /** Accepts the task, into the queue or, when it may not wait there, on a worker, and gives it to suspended submits. */
  #take(record: TaskRecord, first?: Suspended, taker = this.#takerFor(record)): void {
    const claimants = record.key === undefined ? first && [first] : this.admission.withKey(record.key)
    claimants?.forEach((suspended) => this.admission.withdraw(suspended))
    this.#accept(record)
    // Before the answers, which may end the loan of the worker.
    if (taker !== undefined) this.#assign(record, taker)
    claimants?.forEach((suspended) => this.#give(suspended, record))
  }

  #takerFor(record: TaskRecord): Taker | undefined {
    return record.startsDelayed || this.#hasPlace(record) ? undefined : this.#taker()
  }

  #accept(record: TaskRecord): void {
    const now = this.timer.now()
    const { options, timing } = record.work!
    record.submittedAt = this.timer.wallNow()
    record.admittedAt = now
    const startsAt = record.startsDelayed ? now + timing!.delay : now
    record.rank = startsAt - (options.priority ?? 0) * 1000
    if (startsAt > now) {
      record.dueAt = startsAt
      record.counted = record.counters.states.delayed
    }
    this.ledger.enter(record)
    if (record.key !== undefined) this.keys.accepted(record, record.key)
    if (timing !== undefined) {
      this.#agenda.expireAt(record, Math.min(startsAt + timing.timeToStart, now + timing.timeToLive))
    }
    this.#publish("Submitted", record)
    if (record.state === "delayed") this.#agenda.delay(record)
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
    const over = this.lending.takeOver(this.#hasFreeWorker)
    do {
      this.#roomCame = false
      this.#admitAndStart()
    } while (this.#roomCame)
    this.#advancing = false
    this.#arm()
    for (const wait of over) wait.goOn()
    if (this.#toTell.length > 0) this.#tell()
    if (this.isIdle) this.#becomeIdle()
  }

  #admitAndStart(): void {
    if (this.admission.size > 0) this.#admit()
    let taker: Taker | undefined
    while ((taker = this.#taker()) !== undefined) {
      const record = this.#nextToStart()
      if (record === undefined) break
      this.#assign(record, taker)
      if (this.admission.size > 0) this.#admit()
    }
    if (this.lending.active && this.ledger.waiting + this.ledger.delayed + this.admission.size > 0) {
      this.lending.lend(this.#start, this.#taker)
    }
  }

  #admit(): void {
    let first: Suspended | undefined
    while ((first = this.admission.first(this.#letsIn)) !== undefined) this.#take(first.record, first)
  }

  #letsIn = ({ record, since }: Suspended): boolean => this.#admissible(record, since)

  #give(suspended: Suspended, task: TaskRecord): void {
    if (suspended.record !== task) this.discard(suspended.record)
    task[suspended.hold]++
    this.#answer(suspended, Exit.succeed(task))
  }

  /** For a suspended submit whose key has come to be held. */
  joinHolder(suspended: Suspended): void {
    const { key } = suspended.record
    const holder = key === undefined ? undefined : this.keys.holder(key)
    if (holder === undefined) return
    this.admission.withdraw(suspended)
    this.#give(suspended, holder)
  }

  #answer(suspended: Suspended, answer: Exit.Exit<TaskRecord, TaskManagerStoppedError>): void {
    suspended.answer = answer
    if (suspended.wait === undefined) this.wakeLater(suspended)
    else suspended.wait.finish()
  }

  wakeLater(suspended: Suspended): void {
    this.#wakeUps.add(() => suspended.wake?.())
  }

  #taker = (): Taker | undefined => this.#hasFreeWorker() ? "spare" : this.lending.forAnyTask

  #hasFreeWorker = (): boolean => this.crew.spare > this.lending.overdraft

  #mayStart(): boolean {
    if (this.paused || this.cut) return false
    if (this.#rate === undefined && this.graceAt === Infinity) return true
    const now = this.timer.now()
    // The timer may be late; nothing starts after the grace period all the same.
    return now < this.graceAt && (this.#rate === undefined || this.#rate.freeAt <= now)
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
    this.#end(record, "expired")
    this.#roomCame = true
    return true
  }

  #start = (record: TaskRecord, taker: Taker): boolean => {
    if (!this.#mayStart()) return false
    if (record.id === 0) return this.#startSuspended(record.lane!.suspended!.peek()!, taker)
    if (!this.#expired(record)) this.#assign(record, taker)
    return true
  }

  /** Hands a submit that stands apart to the worker that its group is lent with. */
  #startSuspended(suspended: Suspended, taker: Taker): boolean {
    const { key } = suspended.record
    if (this.#delayedIsFull()) return false
    if (key !== undefined && this.keys.running(key) !== undefined) this.admission.standApart(suspended)
    else this.#take(suspended.record, suspended, taker)
    return true
  }

  #assign(record: TaskRecord, taker: Taker): void {
    record.queue!.remove(record)
    this.ledger.move(record, record.counters.states.running)
    if (record.key !== undefined) this.keys.started(record, record.key)
    if (record.lane !== undefined) {
      record.lane.started(record)
      this.admission.laneChanged(record.lane)
    }
    this.#rate?.assign(record)
    if (taker === "spare") this.crew.hand(record)
    else this.crew.lend(record, taker)
  }

  #tell(): void {
    const settled = this.#toTell
    this.#toTell = []
    for (const record of settled) {
      const { listeners } = record
      record.listeners = undefined
      listeners?.forEach((listener) => listener())
    }
  }

  #becomeIdle(): void {
    if (this.idleListeners.size > 0) {
      const listeners = [...this.idleListeners]
      this.idleListeners.clear()
      for (const listener of listeners) listener()
    }
    // Whoever was told may have submitted something, and begun the shutdown.
    if (this.phase === "draining" && this.isIdle && this.crew.allFree) {
      this.phase = "stopped"
      this.graceAt = this.#warnAt = Infinity
      this.timer.set(Infinity)
      this.#reactions.stopped()
    }
  }

  // --- workers ---

  /** The next task of a worker that has ended its last one; undefined when it may go to sleep. */
  take(worker: Worker): TaskRecord | undefined {
    const lent = worker.task
    worker.task = undefined
    if (lent === undefined) this.crew.release(worker)
    else worker.current = lent
    this.advance()
    return lent ?? this.crew.take(worker)
  }

  /** The worker attends to its suspended task (again), and may be lent. */
  attends(running: RunningTask): void {
    const { record, worker } = running
    worker.attending = worker.current = record
    this.lending.stands(running)
  }

  // --- out ---

  retryLater(record: TaskRecord, delay: number): void {
    this.lending.leave(record.running!)
    record.running = undefined
    this.ledger.move(record, record.counters.states.delayed)
    record.dueAt = this.timer.now() + delay
    if (this.phase !== "running" && record.dueAt >= this.graceAt) record.abortReason ??= "shutdown"
    if (record.abortReason !== undefined) return this.settleAborted(record, record.abortReason)
    record.counters.retries++
    this.#publish("Retrying", record)
    if (delay > 0) this.#agenda.delay(record)
    else this.#route(record)
  }

  /** Ends a task from outside. */
  abort(record: TaskRecord, reason: AbortReason): void {
    this.#end(record, reason)
    this.advance()
  }

  /** What has not begun ends at once; an attempt is interrupted, and its end decides. */
  #end(record: TaskRecord, reason: AbortReason): void {
    if (record.settled) return
    record.abortReason ??= reason
    const { running } = record
    if (running === undefined || running.worker.task === record) {
      this.settleAborted(record, record.abortReason)
    } else {
      if (record.key !== undefined) this.keys.release(record, record.key)
      running.fiber?.interruptUnsafe()
    }
  }

  settleAborted(record: TaskRecord, reason: AbortReason): void {
    const { attempts, failures, id, name } = record
    const error = withoutStack(() =>
      new TaskAbortedError({
        id: String(id),
        task: name,
        reason,
        attempts,
        failures: failures?.toCause(markedReasons, "attempt") ?? Cause.empty
      })
    )
    this.settle(record, "aborted", error)
  }

  settle(record: TaskRecord, state: "completed", value: unknown): void
  settle(record: TaskRecord, state: "failed", error: TaskFailedError): void
  settle(record: TaskRecord, state: "aborted", error: TaskAbortedError): void
  settle(record: TaskRecord, state: "completed" | "failed" | "aborted", result: any): void {
    record.result = result
    this.ledger.move(record, record.counters.states[state])
    this.#leave(record)
    if (record.key !== undefined) {
      const follower = this.keys.settled(record, record.key)
      if (follower !== undefined && follower.heapIndex < 0) this.#route(follower)
      this.admission.keyChanged(record.key)
    }
    this.#publish(endEvents[state], record)
    if (state !== "completed" && this.phase === "draining") {
      this.unfinished.push({ task: this.info(record), error: result })
    }
    this.ledger.leave(record)
    if (record.listeners !== undefined) this.#toTell.push(record)
  }

  #leave(record: TaskRecord): void {
    const { lane, running } = record
    if (record.queue !== undefined) record.queue.remove(record)
    else if (record.heapIndex >= 0) this.#agenda.startNow(record)
    if (running?.worker.task === record) this.#takeBack(running.worker)
    this.#rate?.takeBack(record)
    if (running !== undefined) this.lending.leave(running)
    this.#agenda.expireAt(record, Infinity)
    record.running = record.retry = undefined
    if (lane === undefined) return
    lane.leave(record, this.#ready)
    this.admission.laneChanged(lane)
    this.discard(record)
  }

  #takeBack(worker: Worker): void {
    worker.task = undefined
    worker.current = worker.attending
    if (worker.attending !== undefined) this.lending.repay(worker.attending.running!)
  }

  #publish(tag: TaskEvent["_tag"], record: TaskRecord): void {
    if (this.events.heard) this.events.publish(tag, this.info(record), this.timer.wallNow())
  }

  // --- attempts ---

  /** Counts an attempt that starts now. */
  begin(running: RunningTask): void {
    const { record } = running
    const now = this.timer.now()
    running.startedAt = now
    this.#rate?.begin(record, now)
    record.counters.attempts++
    if (++record.attempts === 1) {
      record.counters.waitTime.record(now - Math.max(record.admittedAt, record.dueAt))
      if (record.deadline !== undefined) {
        this.#agenda.expireAt(record, record.admittedAt + record.work!.timing!.timeToLive)
      }
    }
    this.#publish("Started", record)
  }

  ended(running: RunningTask): void {
    running.record.counters.runTime.record(this.timer.now() - running.startedAt)
  }

  // --- time ---

  #arm(): void {
    const nothingIsTimed = this.#agenda.isEmpty && this.#rate === undefined && this.graceAt === Infinity
    if (nothingIsTimed && !this.timer.isSet) return
    let at = Math.min(this.#agenda.nextAt, this.cut ? this.#warnAt : this.graceAt)
    if (
      this.#rate !== undefined && !this.paused &&
      (this.#ready.peek() !== undefined || this.admission.size > 0 || this.lending.active)
    ) {
      const { freeAt } = this.#rate
      if (freeAt > this.timer.now()) at = Math.min(at, freeAt)
    }
    this.timer.set(at)
  }

  #tick(): void {
    const now = this.timer.now()
    if (this.#warnAt <= now) this.#warn()
    if (this.graceAt <= now) this.#cutOff(now)
    let record: TaskRecord | undefined
    while ((record = this.#agenda.takeExpired(now)) !== undefined) this.#end(record, "expired")
    while ((record = this.#agenda.takeDue(now)) !== undefined) this.#route(record)
    this.advance()
  }

  // --- stop ---

  /** Takes nothing new. What is due before the end of the grace period still runs. */
  drain(gracePeriod: number): void {
    const now = this.timer.now()
    // First, since the manager may stop while the listeners are told.
    this.graceAt = Math.min(this.graceAt, now + gracePeriod)
    if (this.phase === "running") {
      this.phase = "draining"
      this.paused = false
      for (const listener of this.drainListeners) listener()
      for (const suspended of this.admission.all) {
        this.admission.withdraw(suspended)
        this.#answer(suspended, Exit.fail(new TaskManagerStoppedError()))
      }
    }
    for (const record of this.#agenda.dueFrom(this.graceAt)) this.#end(record, "shutdown")
    if (this.graceAt <= now) this.#cutOff(now)
    this.advance()
  }

  /** The end of the grace period: ends whatever is left. */
  #cutOff(now: number): void {
    if (this.cut) return
    this.cut = true
    this.#warnAt = now + finalizerPatience
    const left = this.ledger.tasks.toArray()
    // First the reason for all: the end of one may cancel another.
    for (const record of left) record.abortReason ??= "shutdown"
    for (const record of left) this.#end(record, "shutdown")
  }

  #warn(): void {
    this.#warnAt = Infinity
    this.#reactions.finalizersSlow(this.ledger.tasks.toArray())
  }
}

const endEvents = { completed: "Completed", failed: "Failed", aborted: "Aborted" } as const
