/**
 * The laws as predicates over what the manager showed before a step, what it shows now, and the model.
 *
 * A predicate says only what is certain. Where two outcomes are possible, because a fiber may have been interrupted or a
 * worker be lent, it keeps silent.
 */
import { Exit } from "effect"
import { type Attempt, type Call, type Model, type Snapshot, type Task, Violation } from "./model.ts"

export class Laws {
  readonly #model: Model
  #last: Snapshot
  #inProgress = 0
  /** Calls of `resume` that have been seen to have worked. */
  #resumes = 0
  /** Submits that were suspended at the last rest, in their order. */
  #suspended: ReadonlyArray<Call> = []

  constructor(model: Model, first: Snapshot) {
    this.#model = model
    this.#last = first
  }

  /** Something has run. */
  step(now: Snapshot): void {
    const before = this.#last
    this.#last = now
    this.#countersAddUp(now)
    this.#comesAndGoes(before, now)
    this.#bounds(before, now)
    this.#isHeldToTheEnd(now)
    this.#keepsOrder(before, now)
    this.#keepsStill(before, now)
  }

  /** Nothing can run: what had to happen by now has happened. */
  rest(now: Snapshot): void {
    this.#model.rest()
    for (const task of this.#live()) this.#isAsItMustBe(task, now)
    this.#workIsDone(now)
    this.#roomIsTaken(now)
    this.#admitsInOrder(now)
  }

  /** The manager has stopped. */
  end(now: Snapshot): void {
    const { completed, delayed, manager, running, waiting } = now.stats
    if (manager !== "stopped") throw new Violation(11, `the manager is ${manager} after its shutdown`)
    const pending = running + delayed + waiting
    if (pending > 0) throw new Violation(2, `${pending} tasks pending after the shutdown`)
    // An interruption that comes after the body's end still counts.
    const succeeded = this.#tasks().filter(({ lastExit }) => lastExit?._tag === "Success")
    const sure = succeeded.filter((task) => this.#model.reasons(task).length === 0)
    if (completed < sure.length || completed > succeeded.length) {
      throw new Violation(8, `completed: ${completed}, but ${succeeded.length} tasks succeeded`)
    }
  }

  #tasks(): ReadonlyArray<Task> {
    return [...this.#model.tasks.values()]
  }

  #live(): ReadonlyArray<Task> {
    return this.#tasks().filter(({ state }) => state !== "gone")
  }

  // --- law 8 ---

  #countersAddUp({ stats, tasks }: Snapshot): void {
    const { aborted, completed, delayed, failed, running, submitted, waiting } = stats
    if (submitted !== waiting + delayed + running + completed + failed + aborted) {
      throw new Violation(8, `the counters do not add up: ${JSON.stringify(stats)}`)
    }
    const listed = { waiting: 0, delayed: 0, running: 0, completed: 0, failed: 0, aborted: 0 }
    for (const { state } of tasks.values()) listed[state]++
    for (const state of ["waiting", "delayed", "running"] as const) {
      if (listed[state] !== stats[state]) {
        throw new Violation(8, `${listed[state]} tasks are listed as ${state}, and ${stats[state]} counted`)
      }
    }
    if (listed.completed + listed.aborted > 0) {
      throw new Violation(0, "a task is listed that has completed or was aborted")
    }
    atMost(0, "failed tasks kept", listed.failed, this.#model.program.manager.keepFailed)
  }

  // --- law 2 ---

  #comesAndGoes(before: Snapshot, now: Snapshot): void {
    const model = this.#model
    for (const ended of ["completed", "failed", "aborted"] as const) {
      if (now.stats[ended] < before.stats[ended]) throw new Violation(8, `fewer tasks have ${ended} than before`)
    }
    for (let id = before.stats.submitted + 1; id <= now.stats.submitted; id++) {
      const info = now.tasks.get(id)
      // It came and went within one step: its attempt has told the model, or nobody will ever know more.
      if (info !== undefined) model.taskOf(id, info)
    }
    for (const task of model.tasks.values()) {
      const info = now.tasks.get(task.id)
      const state = info === undefined || info.state === "failed" ? "gone" : info.state
      if (task.state === "gone" && state !== "gone") throw new Violation(2, `task ${task.id} came back as ${state}`)
      if (state === "gone" && task.state !== "gone") this.#mayGo(task)
      task.state = state
    }
  }

  #mayGo(task: Task): void {
    const { lastExit } = task
    if (lastExit !== undefined && (Exit.isSuccess(lastExit) || task.retryDelay === undefined)) return
    if (this.#model.reasons(task).length === 0) throw new Violation(2, `task ${task.id} ended for no reason`)
  }

  // --- law 1 ---

  #bounds(before: Snapshot, { stats, tasks }: Snapshot): void {
    const { capacity, groupCapacity, maxDelayed, workers } = this.#model.program.manager
    atMost(1, "waiting", stats.waiting, capacity)
    // The attempts that were in progress when the last task was admitted: each may have become a retry since.
    if (stats.submitted > before.stats.submitted) this.#inProgress = Math.max(stats.running, before.stats.running)
    atMost(1, "delayed", stats.delayed, maxDelayed + capacity + this.#inProgress)
    const stillFull = Math.min(before.stats.delayed, stats.delayed) >= maxDelayed
    const left = [...before.tasks].some(([id, { state }]) => state === "delayed" && tasks.get(id)?.state !== "delayed")
    if (stillFull && !left && stats.submitted > before.stats.submitted) {
      throw new Violation(1, `a task was admitted while ${stats.delayed} were delayed`)
    }
    const groups = new Map<string, number>()
    for (const { group, name, state } of tasks.values()) {
      if (group === undefined || state !== "waiting") continue
      const size = (groups.get(`${name} ${group}`) ?? 0) + 1
      groups.set(`${name} ${group}`, size)
      atMost(1, `waiting in group ${group} of ${name}`, size, groupCapacity)
    }
    const onWorkers = this.#onWorkers()
    atMost(1, "attempts on workers", onWorkers.length, workers)
    for (const { task } of onWorkers) {
      const inGroup = onWorkers.filter((other) => other.task === task || other.task.sameGroup(task))
      atMost(6, `attempts in the group of task ${task.id}`, inGroup.length, 1)
      const ofKey = onWorkers.filter((other) => other.task === task || other.task.sameKey(task))
      atMost(0, `attempts under the key of task ${task.id}`, ofKey.length, 1)
    }
  }

  /** Attempts that cannot be without a worker of their own. */
  #onWorkers(): ReadonlyArray<Attempt> {
    return this.#tasks().flatMap(({ gaveUp, inProgress }) =>
      inProgress === undefined || inProgress.waits !== undefined || gaveUp ? [] : [inProgress]
    )
  }

  // --- law 5 ---

  #isHeldToTheEnd(now: Snapshot): void {
    for (const task of this.#tasks()) {
      if (task.inProgress !== undefined && now.tasks.get(task.id)?.state !== "running") {
        throw new Violation(5, `task ${task.id} is ${task.state}, but its attempt has not ended`)
      }
    }
  }

  // --- law 6 ---

  /** No task starts while one before it could start and does not. */
  #keepsOrder(before: Snapshot, now: Snapshot): void {
    const started = this.#started(before, now)
    if (started.length === 0) return
    const passed = this.#live().filter((task) => this.#startable(task, before) && this.#startable(task, now))
    for (const task of started) {
      if (this.#wasHandedOver(task, before)) continue
      for (const other of passed) {
        if (!other.startsBefore(task)) continue
        if (other.sameGroup(task) || !this.#mayBeLent(task)) {
          throw new Violation(6, `task ${task.id} started before task ${other.id}`)
        }
      }
    }
  }

  #started(before: Snapshot, now: Snapshot): ReadonlyArray<Task> {
    return [...now.tasks].flatMap(([id, { state }]) => {
      const task = this.#model.tasks.get(id)
      return task !== undefined && state === "running" && before.tasks.get(id)?.state !== "running" ? [task] : []
    })
  }

  #targetOf(attempt: Attempt | undefined): Task | undefined {
    return typeof attempt?.waits === "number" ? this.#model.tasks.get(attempt.waits) : undefined
  }

  /** Somebody waits for the task, or for one of its group: it may run on the waiting task's worker (law 13). */
  #mayBeLent(task: Task): boolean {
    return this.#tasks().some(({ inProgress }) => {
      const waits = inProgress?.waits
      if (typeof waits === "object") return waits.labels.name === task.name
      const target = this.#targetOf(inProgress)
      return target !== undefined && (target === task || target.sameGroup(task) || target.sameKey(task))
    })
  }

  /** What may not wait in the queue has its turn by when it was suspended. */
  #wasHandedOver({ group, id }: Task, before: Snapshot): boolean {
    const { capacity, groupCapacity } = this.#model.program.manager
    return id > before.stats.submitted && (capacity === 0 || (group !== undefined && groupCapacity === 0))
  }

  /** It lacks nothing but a worker. */
  #startable(task: Task, { stats, tasks }: Snapshot, waiter?: Task): boolean {
    const model = this.#model
    const state = tasks.get(task.id)?.state
    if (stats.manager === "paused" || model.now >= model.graceAsked) return false
    // A timer that comes at this time may not have run yet; at a rest it has.
    if (state !== "waiting" && (state !== "delayed" || task.dueAt > model.restedAt)) return false
    return ![...tasks].some(([id, info]) => {
      const other = model.tasks.get(id)
      if (other === undefined || other === task || other === waiter || info.state === "failed") return false
      const holds = info.state === "running" || info.attempts > 0
      if (other.sameKey(task)) return other.id < task.id
      return other.sameGroup(task) &&
        (holds || (other.startsBefore(task) && !this.#waitsForKey(other, tasks) && other.dueAt <= model.now))
    })
  }

  /** Behind an earlier run under its key. */
  #waitsForKey(task: Task, tasks: Snapshot["tasks"]): boolean {
    return [...tasks].some(([id, { state }]) => {
      const other = this.#model.tasks.get(id)
      return other !== undefined && state !== "failed" && other.id < task.id && other.sameKey(task)
    })
  }

  /** Submits that were suspended before others are admitted before them. */
  #admitsInOrder(now: Snapshot): void {
    const suspended = now.stats.manager === "draining" || now.stats.manager === "stopped" ? [] : this.#suspendedCalls()
    const still = this.#suspended.filter((call) => suspended.includes(call))
    this.#suspended = suspended
    const ungrouped = still.filter(({ labels }) => labels.group === undefined)
    for (const call of ungrouped) {
      for (const { age, id, key, kind } of this.#tasks()) {
        if (age === undefined || key !== undefined || age <= call.age || isDelayed(kind) !== isDelayed(call.kind)) {
          continue
        }
        throw new Violation(6, `task ${id} was admitted before a submit that was suspended when it was called`)
      }
    }
  }

  /** Of those that are certain: a task's submit may wait for its worker instead, and a keyed one may join. */
  #suspendedCalls(): ReadonlyArray<Call> {
    return this.#model.calls.filter(({ by, labels, state, verb }) =>
      verb === "submit" && state === "open" && by === undefined && labels.key === undefined
    )
  }

  // --- pause and stop ---

  #keepsStill(before: Snapshot, now: Snapshot): void {
    const { resumes } = this.#model
    const resumed = resumes > this.#resumes
    // The resume itself may come a step after its call.
    if (now.stats.manager === "running") this.#resumes = resumes
    if (before.stats.manager === "paused" && now.stats.manager === "paused" && !resumed) {
      const [task] = this.#started(before, now)
      if (task !== undefined) throw new Violation(0, `task ${task.id} started in a paused manager`)
    }
    const stopping = before.stats.manager === "draining" || before.stats.manager === "stopped"
    if (stopping && now.stats.submitted > before.stats.submitted) {
      throw new Violation(11, "a task was admitted after the shutdown began")
    }
    if (stopping && now.stats.manager !== "draining" && now.stats.manager !== "stopped") {
      throw new Violation(11, `a manager that was ${before.stats.manager} is ${now.stats.manager}`)
    }
  }

  // --- at rest ---

  #isAsItMustBe(task: Task, { stats }: Snapshot): void {
    const { graceAt, now, rests } = this.#model
    const attempt = task.inProgress
    if (task.state === "running") {
      if (attempt === undefined) throw new Violation(2, `task ${task.id} counts as running and nothing of it runs`)
      if (!attempt.interruptible) return
      if (now >= task.deadline) throw new Violation(5, `task ${task.id} goes on after its time`)
      if (now >= graceAt) throw new Violation(11, `task ${task.id} goes on after the grace period`)
      if (task.cancelledAt < rests) throw new Violation(5, `task ${task.id} goes on after its cancel`)
      return
    }
    if (attempt !== undefined) throw new Violation(4, `task ${task.id} is ${task.state} and runs`)
    if (now >= task.deadline) throw new Violation(3, `task ${task.id} is ${task.state} after its time`)
    if (task.cancelledAt < rests) throw new Violation(2, `task ${task.id} is ${task.state} after its cancel`)
    if (now >= graceAt) throw new Violation(11, `task ${task.id} is ${task.state} after the grace period`)
    if (stats.manager === "draining" && task.state === "delayed" && task.dueAt >= graceAt) {
      throw new Violation(11, `task ${task.id} is delayed beyond the grace period`)
    }
  }

  /**
   * Laws 4, 9 and 13: whatever can start has a worker.
   *
   * Each worker carries a stack of running tasks, of which all but the top one wait. So with fewer running tasks than
   * workers one is idle; with fewer than workers and tasks that wait for room, one of these is at the top, and its
   * worker may take any task. The worker of a task that waits for the first time is lent for nothing else.
   */
  #workIsDone(now: Snapshot): void {
    if (this.#rateIsUsedUp()) return
    const free = this.#freeWorkers(now)
    for (const task of this.#live()) {
      if (free > 0 && this.#startable(task, now)) {
        throw new Violation(4, `task ${task.id} could start, and ${free} workers are free`)
      }
    }
    for (const { inProgress } of this.#live()) {
      const target = this.#targetOf(inProgress)
      if (target === undefined || inProgress!.waitCount > 1) continue
      if (this.#startable(target, now, inProgress!.task)) {
        throw new Violation(
          13,
          `task ${inProgress!.task.id} waits for task ${target.id}, which could run on its worker`
        )
      }
    }
  }

  #freeWorkers({ stats }: Snapshot): number {
    const forRoom = this.#live().filter(({ inProgress }) => inProgress?.waits === "room")
    return stats.workers + forRoom.length - stats.running
  }

  /** A start that was taken back at once counts too, and nobody sees it. */
  #rateIsUsedUp(): boolean {
    const { rate } = this.#model.program.manager
    if (rate === undefined) return false
    const aborted = this.#tasks().some(({ attempts, state }) => state === "gone" && attempts === 0)
    return aborted || this.#model.startsSince(this.#model.now - rate.window) >= rate.limit
  }

  /** Laws 1 and 7: nobody waits for room that is there. */
  #roomIsTaken(now: Snapshot): void {
    const { stats, tasks } = now
    const { capacity, groupCapacity, maxDelayed } = this.#model.program.manager
    if (stats.manager === "stopped") return
    for (const { kind, labels: { group, name } } of this.#suspendedCalls()) {
      if (stats.manager === "draining") throw new Violation(11, "a submit is suspended though the manager has stopped")
      if (stats.delayed >= maxDelayed) continue
      const ofGroup = [...tasks.values()].filter((task) =>
        group !== undefined && task.state !== "failed" && task.name === name && task.group === group
      )
      const waiting = ofGroup.filter(({ state }) => state === "waiting").length
      const room = stats.waiting < capacity && (group === undefined || waiting < groupCapacity)
      const worker = stats.manager === "running" && !this.#rateIsUsedUp() && this.#freeWorkers(now) > 0 &&
        stats.waiting === 0 && ofGroup.length === 0 && !this.#live().some(({ dueAt, state }) =>
          state === "delayed" && dueAt <= this.#model.now
        )
      if (isDelayed(kind) || room || worker) {
        throw new Violation(
          7,
          `a submit of ${name} is suspended though there is room`
        )
      }
    }
  }
}

const isDelayed = ({ delay = 0 }: Call["kind"]): boolean => delay > 0

const atMost = (law: number, what: string, got: number, limit: number): void => {
  if (got > limit) throw new Violation(law, `${what}: at most ${limit}, got ${got}`)
}
