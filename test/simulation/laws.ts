/**
 * The laws as predicates over what the manager showed before a step, what it shows after it, and the model.
 */
import { Exit } from "effect"
import { type Attempt, type Model, type Snapshot, type Task, Violation } from "./model.ts"

export class Laws {
  readonly #model: Model
  #last: Snapshot

  constructor(model: Model, first: Snapshot) {
    this.#model = model
    this.#last = first
  }

  /** Something has run. */
  step(now: Snapshot): void {
    const before = this.#last
    this.#last = now
    this.#countersAddUp(now)
    this.#take(before, now)
    this.#bounds(now)
    this.#heldToTheEnd(now)
  }

  /** Nothing can run: what had to happen by now has happened. */
  rest(now: Snapshot): void {
    const model = this.#model
    model.rests++
    model.restedAt = model.now
    if (now.stats.manager === "draining") model.graceAt = model.graceAsked
    this.#everythingHasAReason()
  }

  /** The manager has stopped. */
  end(now: Snapshot): void {
    const { running, delayed, waiting } = now.stats
    if (running + delayed + waiting > 0) {
      throw new Violation(2, `${running + delayed + waiting} tasks pending after the shutdown`)
    }
    for (const task of this.#model.tasks.values()) {
      if (task.inProgress !== undefined) throw new Violation(5, `task ${task.id} still runs after the shutdown`)
    }
    // An interruption that comes after the body's end still counts.
    const succeeded = [...this.#model.tasks.values()].filter(({ lastExit }) => lastExit?._tag === "Success")
    const sure = succeeded.filter((task) => this.#model.reasons(task).length === 0)
    if (now.stats.completed < sure.length || now.stats.completed > succeeded.length) {
      throw new Violation(8, `completed: ${now.stats.completed}, but ${succeeded.length} tasks succeeded`)
    }
  }

  // --- law 8 ---

  #countersAddUp({ stats, tasks }: Snapshot): void {
    const { aborted, completed, delayed, failed, running, submitted, waiting } = stats
    if (submitted !== waiting + delayed + running + completed + failed + aborted) {
      throw new Violation(8, `the counters do not add up: ${JSON.stringify(stats)}`)
    }
    for (const state of ["waiting", "delayed", "running"] as const) {
      const listed = [...tasks.values()].filter((task) => task.state === state).length
      expect(8, `tasks listed as ${state}`, listed, stats[state])
    }
  }

  // --- laws 2 and 3: what is new, what is gone ---

  #take(before: Snapshot, now: Snapshot): void {
    const model = this.#model
    for (let id = before.stats.submitted + 1; id <= now.stats.submitted; id++) {
      const info = now.tasks.get(id)
      // It came and went within one step: its attempt has told the model, or nobody will ever know more.
      if (info !== undefined) model.taskOf(id, info)
    }
    for (const task of model.tasks.values()) {
      const info = now.tasks.get(task.id)
      const state = info === undefined || info.state === "failed" ? "gone" : info.state
      if (task.state === "gone" && state !== "gone") throw new Violation(2, `task ${task.id} came back as ${state}`)
      if (state === "gone" && task.state !== "gone") this.#settles(task)
      task.state = state
    }
  }

  #settles(task: Task): void {
    const { lastExit } = task
    if (lastExit !== undefined && Exit.isSuccess(lastExit)) return
    if (lastExit !== undefined && task.retryDelay === undefined) return
    const reasons = this.#model.reasons(task)
    if (reasons.length === 0) throw new Violation(2, `task ${task.id} ended for no reason`)
  }

  // --- law 1 ---

  #bounds({ stats, tasks }: Snapshot): void {
    const { capacity, groupCapacity, maxDelayed, workers } = this.#model.program.manager
    atMost(1, "waiting", stats.waiting, capacity)
    atMost(1, "delayed", stats.delayed, maxDelayed + capacity + stats.running + 1)
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
      atMost(
        6,
        `attempts in the group of task ${task.id}`,
        onWorkers.filter((other) => other.task === task || other.task.sameGroup(task)).length,
        1
      )
    }
  }

  /** Attempts that nobody can say are without a worker. */
  #onWorkers(): ReadonlyArray<Attempt> {
    return [...this.#model.tasks.values()].flatMap(({ gaveUp, inProgress }) =>
      inProgress === undefined || inProgress.waits !== undefined || gaveUp ? [] : [inProgress]
    )
  }

  // --- law 5 ---

  #heldToTheEnd(now: Snapshot): void {
    for (const task of this.#model.tasks.values()) {
      if (task.inProgress !== undefined && now.tasks.get(task.id)?.state !== "running") {
        throw new Violation(5, `task ${task.id} is ${task.state}, but its attempt has not ended`)
      }
    }
  }

  // --- at rest ---

  #everythingHasAReason(): void {
    const model = this.#model
    for (const task of model.tasks.values()) {
      if (task.state === "gone") continue
      const attempt = task.inProgress
      if (task.state === "running" && attempt === undefined) {
        throw new Violation(2, `task ${task.id} counts as running and nothing of it runs`)
      }
      if (
        model.reasons(task).length > 0 && (attempt === undefined || attempt.interruptible) && model.now >= task.deadline
      ) {
        throw new Violation(2, `task ${task.id} goes on after its time`)
      }
    }
  }
}

const expect = (law: number, what: string, got: number, expected: number): void => {
  if (got !== expected) throw new Violation(law, `${what}: expected ${expected}, got ${got}`)
}

const atMost = (law: number, what: string, got: number, limit: number): void => {
  if (got > limit) throw new Violation(law, `${what}: at most ${limit}, got ${got}`)
}
