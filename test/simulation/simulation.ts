/**
 * Runs a program in a simulated world, and tells the model what happens.
 */
import {
  CurrentTask,
  type TaskHandle,
  TaskManager,
  type TaskManagerService,
  type TaskOptions
} from "@effect-tasks/core"
import { Cause, Context, Effect, Exit, Fiber, Logger, Schedule, Scope } from "effect"
import { Laws } from "./laws.ts"
import { type Attempt, type Call, Model, type Snapshot, Violation } from "./model.ts"
import type { Behaviour, Op, Program, RetrySpec, TaskSpec } from "./program.ts"
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
  let violation: Violation | undefined
  try {
    new Simulation(program, world, model).run()
  } catch (error) {
    violation = error instanceof Violation
      ? error
      : new Violation(0, error instanceof Error ? error.stack! : String(error))
  }
  return { log: model.log, steps: world.steps, violation }
}

class Simulation {
  readonly #program: Program
  readonly #world: World
  readonly #model: Model
  readonly #context: Context.Context<never>
  readonly #handles: Array<TaskHandle<unknown, unknown>> = []
  #tasks: TaskManagerService | undefined
  #laws: Laws | undefined

  constructor(program: Program, world: World, model: Model) {
    this.#program = program
    this.#world = world
    this.#model = model
    this.#context = world.context.pipe(Context.add(Logger.CurrentLoggers, new Set()))
  }

  run(): void {
    const main = Effect.runForkWith(this.#context)(this.#main)
    this.#world.run(
      () => this.#laws?.step(this.#snapshot()),
      () => this.#laws?.rest(this.#snapshot())
    )
    const exit = main.pollUnsafe()
    if (exit === undefined) throw new Violation(13, "deadlock: nothing can run any more, and the program is not done")
    if (Exit.isFailure(exit)) throw violationIn(exit.cause)
    if (this.#world.fibers > 0) throw new Violation(2, `${this.#world.fibers} fibers are left`)
    this.#laws!.end(this.#snapshot())
  }

  readonly #main = Effect.suspend(() => {
    const { clients, manager } = this.#program
    const scope = Scope.makeUnsafe()
    return Effect.gen({ self: this }, function*() {
      this.#tasks = yield* Scope.provide(TaskManager.make(manager), scope)
      this.#laws = new Laws(this.#model, this.#snapshot())
      const fibers = yield* Effect.forEach(clients, (ops) => Effect.forkChild(this.#performAll(ops, undefined)))
      yield* Effect.raceFirst(Fiber.awaitAll(fibers), Effect.sleep(patience))
      this.#stopAsked(manager.gracePeriod)
      yield* Scope.close(scope, Exit.void)
      this.#model.note("closed")
      for (const fiber of fibers) {
        const exit = yield* Fiber.await(fiber)
        if (Exit.isFailure(exit)) return yield* Effect.failCause(exit.cause)
      }
    })
  })

  #snapshot(): Snapshot {
    const tasks = this.#tasks!
    const stats = Effect.runSync(tasks.stats)
    const list = Effect.runSync(tasks.list({ limit: 1000 }))
    return { stats, tasks: new Map(list.map((info) => [Number(info.id), info])) }
  }

  #stopAsked(grace: number): void {
    this.#model.graceAsked = Math.min(this.#model.graceAsked, this.#model.now + grace)
  }

  // --- operations ---

  #performAll(ops: ReadonlyArray<Op>, by: Attempt | undefined): Effect.Effect<void> {
    return Effect.forEach(ops, (op) => this.#perform(op, by), { discard: true })
  }

  #perform(op: Op, by: Attempt | undefined): Effect.Effect<void> {
    const tasks = this.#tasks!
    switch (op.op) {
      case "sleep":
        return Effect.sleep(op.millis)
      case "deaf":
        return Effect.uninterruptible(Effect.sleep(op.millis))
      case "pause":
        return tasks.pause
      case "resume":
        return tasks.resume
      case "correctClock":
        return Effect.sync(() => this.#world.correctWallClock(op.millis))
      case "awaitIdle":
        return this.#wait(tasks.awaitIdle, op.giveUp, by, { target: undefined })
      case "shutdown": {
        const grace = op.grace ?? this.#program.manager.gracePeriod
        const shutdown = tasks.shutdown(op.grace === undefined ? {} : { gracePeriod: op.grace })
        if (by !== undefined) return this.#wait(shutdown, op.giveUp, by, undefined)
        return Effect.suspend(() => {
          this.#stopAsked(grace)
          return this.#wait(shutdown, op.giveUp, by, undefined)
        })
      }
      case "await":
      case "join":
      case "cancel":
      case "retry":
        return this.#withHandle(op.of, (handle) => {
          const target = Number(handle.id)
          if (op.op === "retry") return Effect.asVoid(tasks.retry(handle.id))
          if (op.op === "cancel") this.#model.tasks.get(target)!.cancelled = true
          return this.#wait(handle[op.op], op.giveUp, by, { target })
        })
      case "submit":
      case "trySubmit":
      case "run":
        return this.#submit(op.op, op.task, op.giveUp, by)
    }
  }

  #withHandle(
    index: number,
    use: (handle: TaskHandle<unknown, unknown>) => Effect.Effect<void>
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      const handles = this.#handles
      return handles.length === 0 ? Effect.void : use(handles[index % handles.length]!)
    })
  }

  #submit(verb: "submit" | "trySubmit" | "run", spec: TaskSpec, giveUp: number | undefined, by: Attempt | undefined) {
    const tasks = this.#tasks!
    return Effect.suspend(() => {
      const model = this.#model
      const call = model.asked(verb, spec)
      const submit: Effect.Effect<unknown, unknown> = tasks[verb](this.#task(spec), this.#options(spec))
      const answered = Effect.onExit(submit, (exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) {
            if (verb === "run") call.state = "accepted"
            else this.#accepted(call, exit.value as TaskHandle<unknown, unknown>)
          } else call.state = Cause.hasInterrupts(exit.cause) ? "given up" : "refused"
        }))
      return this.#wait(answered, giveUp, by, { target: undefined })
    })
  }

  #accepted(call: Call, handle: TaskHandle<unknown, unknown>): void {
    this.#handles.push(handle)
    const task = this.#model.answered(call, Number(handle.id))
    Effect.runForkWith(this.#context)(
      Effect.tap(handle.await, (outcome) => Effect.sync(() => this.#model.settled(task, outcome)))
    )
  }

  /** Performs what may suspend, and gives it up after a time. */
  #wait(
    effect: Effect.Effect<unknown, unknown>,
    giveUp: number | undefined,
    by: Attempt | undefined,
    waits: Attempt["waits"]
  ): Effect.Effect<void> {
    const given = giveUp === undefined ? effect : Effect.timeoutOption(effect, giveUp)
    if (by === undefined) return Effect.asVoid(Effect.exit(given))
    return Effect.uninterruptibleMask((restore) => {
      by.waits = waits
      const watched = Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          if (waits !== undefined && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) by.task.gaveUp = true
        }))
      return Effect.asVoid(Effect.exit(Effect.ensuring(
        restore(giveUp === undefined ? watched : Effect.timeoutOption(watched, giveUp)),
        Effect.sync(() => by.waits = undefined)
      )))
    })
  }

  // --- tasks ---

  #options(spec: TaskSpec): TaskOptions<unknown, CurrentTask | Scope.Scope> {
    const kind = this.#program.kinds[spec.kind]!
    const { delay, headed, keyUntil, onFailed, priority, retry, timeToLive, timeToStart } = kind
    return {
      name: `k${spec.kind}`,
      delay,
      priority,
      timeToLive,
      timeToStart,
      keyUntil,
      key: spec.key,
      group: spec.group,
      retry: retry && retryOptions(retry),
      error: headed === true ? () => `headed ${spec.kind}` : undefined,
      onFailed: onFailed && (() => this.#hook(onFailed))
    }
  }

  #task(spec: TaskSpec): Effect.Effect<unknown, unknown, CurrentTask | Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      CurrentTask.use((me) => {
        const behaviour = spec.attempts[Math.min(me.attempts, spec.attempts.length) - 1]!
        const attempt = this.#model.began(Number(me.id), me.attempts, me, behaviour)
        return this.#body(attempt, `${me.id}/${me.attempts}`, restore)
      })
    )
  }

  #hook(behaviour: Behaviour): Effect.Effect<unknown, never, CurrentTask | Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      CurrentTask.use((me) => {
        const attempt = this.#model.hookBegan(Number(me.id), behaviour)
        return Effect.orDie(this.#body(attempt, "hook", restore))
      })
    )
  }

  #body(attempt: Attempt, value: string, restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) {
    const { child, does, ends, finalizer } = attempt.behaviour
    const body = Effect.gen({ self: this }, function*() {
      if (finalizer !== undefined) {
        attempt.parts++
        yield* Effect.addFinalizer(() =>
          Effect.sleep(finalizer.millis).pipe(
            Effect.andThen(finalizer.dies ? Effect.die("finalizer") : Effect.void),
            Effect.ensuring(Effect.sync(() => {
              if (finalizer.dies) attempt.exit = Exit.failCause(withDefect(attempt.exit!))
              this.#model.partEnded(attempt)
            }))
          )
        )
      }
      if (child !== undefined) yield* Effect.forkChild(this.#child(attempt, child.millis))
      yield* restore(this.#performAll(does, attempt))
      return yield* restore(endOf(ends, value))
    })
    attempt.parts++
    return Effect.onExit(body, (exit) =>
      Effect.sync(() => {
        attempt.exit = exit
        this.#model.partEnded(attempt)
      }))
  }

  /** Begins late or never, and stops slowly. */
  #child(attempt: Attempt, millis: number): Effect.Effect<void> {
    return Effect.uninterruptibleMask((restore) => {
      attempt.parts++
      return Effect.ensuring(
        restore(Effect.never),
        Effect.andThen(Effect.sleep(millis), Effect.sync(() => this.#model.partEnded(attempt)))
      )
    })
  }
}

const endOf = (ends: Behaviour["ends"], value: string): Effect.Effect<string, string> => {
  switch (ends) {
    case "succeeds":
      return Effect.succeed(value)
    case "fails":
    case "fatal":
      return Effect.fail(ends)
    case "dies":
      return Effect.die("defect")
    case "interrupts":
      return Effect.interrupt
    case "never":
      return Effect.never
  }
}

const withDefect = (exit: Exit.Exit<unknown, unknown>): Cause.Cause<unknown> =>
  Cause.fromReasons([...(Exit.isFailure(exit) ? exit.cause.reasons : []), Cause.makeDieReason("finalizer")])

const retryOptions = ({ delay, shape, times }: RetrySpec) => ({
  times,
  schedule: shape === "spaced" ? Schedule.spaced(delay) : Schedule.exponential(delay),
  while: (error: unknown) => error !== "fatal"
})

const violationIn = (cause: Cause.Cause<unknown>): unknown => Cause.squash(cause)
