/**
 * Runs a program in a simulated world, and tells the model what happens.
 */
import { type ShutdownReport, TaskManager, type TaskManagerService, type TaskStats } from "@effect-tasks/core"
import { Cause, type Context, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { Actor } from "./actor.ts"
import { Laws } from "./laws.ts"
import { Model, type Snapshot, Violation } from "./model.ts"
import type { Program } from "./program.ts"
import { Witness } from "./witness.ts"
import { World } from "./world.ts"

export interface Run {
  /** What happened, in order. */
  readonly log: ReadonlyArray<string>
  readonly steps: number
  readonly violation: Violation | undefined
}

/** Clients that are not done by then are overtaken by the shutdown. */
const patience = 2000

export const simulate = (program: Program, seed: number): Run => {
  const world = new World(seed, program.world)
  const model = new Model(program, world)
  const run = (violation: Violation | undefined): Run => ({ log: model.log, steps: world.steps, violation })
  try {
    new Simulation(program, world, model).run()
    return run(undefined)
  } catch (error) {
    if (error instanceof Violation) return run(error)
    return run(new Violation(0, error instanceof Error ? error.stack! : String(error)))
  }
}

class Simulation {
  readonly #program: Program
  readonly #world: World
  readonly #model: Model
  readonly #witness: Witness
  readonly #context: Context.Context<never>
  #tasks: TaskManagerService | undefined
  #seen = ""
  #laws: Laws | undefined
  #report: ShutdownReport | undefined
  /** The counts before the shutdown began, and when it was first seen. */
  #before: TaskStats | undefined
  #begun: TaskStats | undefined

  constructor(program: Program, world: World, model: Model) {
    this.#program = program
    this.#world = world
    this.#model = model
    this.#witness = new Witness(program, model)
    this.#context = this.#witness.watch(world.context)
  }

  run(): void {
    const main = Effect.runForkWith(this.#context)(this.#main)
    this.#world.run(
      () => this.#step(),
      () => this.#rest()
    )
    const exit = main.pollUnsafe()
    if (exit === undefined) throw new Violation(13, "deadlock: nothing can run any more, and the program is not done")
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
    if (this.#world.fibers > 0) throw new Violation(2, `${this.#world.fibers} fibers are left`)
    const last = this.#snapshot()
    this.#laws!.end(last)
    this.#witness.end(this.#report!, last.stats, [unfinished(this.#before!), unfinished(this.#begun!)])
  }

  #step(): void {
    if (this.#model.found !== undefined) throw this.#model.found
    if (this.#laws === undefined || this.#nothingHappened()) return
    const now = this.#snapshot()
    this.#laws.step(now)
    const { manager } = now.stats
    if (manager === "running" || manager === "paused") this.#before = now.stats
    else this.#begun ??= now.stats
  }

  /** Most steps show nothing, and a snapshot is most of what a run costs. */
  #nothingHappened(): boolean {
    const seen = `${this.#model.log.length} ${this.#model.parts} ${JSON.stringify(Effect.runSync(this.#tasks!.stats))}`
    const same = seen === this.#seen
    this.#seen = seen
    return same
  }

  #rest(): void {
    if (this.#laws === undefined) return
    const now = this.#snapshot()
    this.#laws.rest(now)
    const schedules = this.#model.calls.filter(({ verb }) => verb === "schedule").length
    const allowed = now.stats.manager === "stopped" ? 0 : 1 + schedules
    if (this.#world.timers > allowed) throw new Violation(4, `${this.#world.timers} timers are set`)
  }

  readonly #main = Effect.suspend(() => {
    const { clients, manager, watched } = this.#program
    const scope = Scope.makeUnsafe()
    return Effect.gen({ self: this }, function*() {
      const tasks = this.#tasks = yield* Scope.provide(TaskManager.make(manager), scope)
      const first = this.#snapshot()
      this.#before = first.stats
      this.#laws = new Laws(this.#model, first)
      const actor = new Actor(this.#program, this.#world, this.#model, this.#witness, tasks, scope, this.#context)
      const reader = Stream.runForEach(
        tasks.events,
        (event) => Effect.sync(() => void this.#witness.events.push(event))
      )
      const reading = watched?.events === true ? [yield* Effect.forkChild(reader)] : []
      const acting = yield* Effect.forEach(clients, (ops) => Effect.forkChild(actor.performAll(ops, undefined)))
      yield* Effect.raceFirst(Fiber.awaitAll(acting), this.#world.sleep(patience))
      this.#model.stopAsked(manager.gracePeriod, true)
      yield* Scope.close(scope, Exit.void)
      this.#report = yield* tasks.shutdown()
      this.#model.note("closed")
      yield* actor.leave
      for (const fiber of [...acting, ...reading]) yield* Fiber.join(fiber)
    })
  })

  #snapshot(): Snapshot {
    const tasks = this.#tasks!
    const stats = Effect.runSync(tasks.stats)
    const list = Effect.runSync(tasks.list({ limit: 1000 }))
    return { stats, tasks: new Map(list.map((info) => [Number(info.id), info])) }
  }
}

const unfinished = ({ aborted, failed }: TaskStats): number => aborted + failed
