/**
 * Performs the operations of a program, as a client or inside a task, and tells the model of each what it sees.
 */
import {
  CurrentTask,
  TaskAbortedError,
  type TaskHandle,
  type TaskManagerService,
  type TaskOptions
} from "@effect-tasks/core"
import { Cause, Context, Effect, Exit, Schedule, Scope, type Tracer } from "effect"
import { type Attempt, type Call, type Model } from "./model.ts"
import type { Behaviour, Op, Program, RetrySpec, TaskSpec } from "./program.ts"
import { callAnnotation, type Witness } from "./witness.ts"
import type { World } from "./world.ts"

/** Whoever submits; a task has to see its own submitter's. */
class Tenant extends Context.Service<Tenant, Call>()("simulation/Tenant") {}

type Verb = "submit" | "trySubmit" | "run"

export class Actor {
  readonly #program: Program
  readonly #world: World
  readonly #model: Model
  readonly #witness: Witness
  readonly #tasks: TaskManagerService
  readonly #managerScope: Scope.Closeable
  readonly #context: Context.Context<never>
  readonly #handles: Array<TaskHandle<unknown, unknown>> = []
  /** Of the recurring submits. */
  readonly #scope = Scope.makeUnsafe()
  readonly #submitterSpans = new Map<Call, Tracer.AnySpan>()
  readonly leave = Scope.close(this.#scope, Exit.void)

  constructor(
    program: Program,
    world: World,
    model: Model,
    witness: Witness,
    tasks: TaskManagerService,
    managerScope: Scope.Closeable,
    context: Context.Context<never>
  ) {
    this.#program = program
    this.#world = world
    this.#model = model
    this.#witness = witness
    this.#tasks = tasks
    this.#managerScope = managerScope
    this.#context = context
  }

  /** `by` is the attempt inside which they are performed. */
  performAll(ops: ReadonlyArray<Op>, by: Attempt | undefined): Effect.Effect<void> {
    return Effect.forEach(ops, (op) => this.#perform(op, by), { discard: true })
  }

  #perform(op: Op, by: Attempt | undefined): Effect.Effect<void> {
    const tasks = this.#tasks
    const { gracePeriod } = this.#program.manager
    switch (op.op) {
      case "sleep":
        return interruptible(this.#world.sleep(op.millis), by)
      case "deaf":
        return Effect.uninterruptible(this.#world.sleep(op.millis))
      case "pause":
        return tasks.pause
      case "resume":
        return Effect.suspend(() => {
          this.#model.resumes++
          return tasks.resume
        })
      case "correctClock":
        return Effect.sync(() => this.#world.correctWallClock(op.millis))
      case "awaitIdle":
        return this.#wait(tasks.awaitIdle, op.giveUp, by, undefined)
      case "close":
        return this.#stop(Scope.close(this.#managerScope, Exit.void), gracePeriod, undefined, by)
      case "shutdown": {
        const options = op.grace === undefined ? {} : { gracePeriod: op.grace }
        return this.#stop(tasks.shutdown(options), op.grace ?? gracePeriod, op.giveUp, by)
      }
      case "await":
      case "join":
      case "cancel":
      case "retry":
        return this.#withHandle(op.of, (handle) => this.#use(op, handle, by))
      case "submit":
      case "trySubmit":
      case "run":
        return this.#submit(op.op, op.task, op.giveUp, by)
      case "schedule":
        return this.#schedule(op.task, op.every, op.times, by)
    }
  }

  /** Inside a task it dies, and stops nothing. */
  #stop(effect: Effect.Effect<unknown>, grace: number, giveUp: number | undefined, by: Attempt | undefined) {
    return Effect.suspend(() => {
      // When it is given up, it may have been before anything was stopped.
      if (by === undefined) this.#model.stopAsked(grace, giveUp === undefined)
      return this.#wait(effect, giveUp, by, undefined)
    })
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

  #use(
    { giveUp, op }: { readonly op: "await" | "join" | "cancel" | "retry"; readonly giveUp?: number },
    handle: TaskHandle<unknown, unknown>,
    by: Attempt | undefined
  ): Effect.Effect<void> {
    if (op === "retry") return Effect.asVoid(this.#tasks.retry(handle.id))
    const target = this.#model.tasks.get(Number(handle.id))!
    if (op === "cancel") {
      target.cancelAsked = true
      // It may be given up, or interrupted with its task, before it is made.
      if (giveUp === undefined && by === undefined) target.cancelledAt = Math.min(target.cancelledAt, this.#model.rests)
    }
    const checked = op === "join" ? Effect.onExit(handle.join, (exit) => this.#joined(target.id, exit)) : handle[op]
    return this.#wait(checked, giveUp, by, target.id)
  }

  /** A join ends as the last attempt did. */
  #joined(id: number, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.sync(() => {
      const { lastExit } = this.#model.tasks.get(id)!
      if (Exit.isSuccess(exit)) {
        if (lastExit?._tag === "Success" && lastExit.value === exit.value) return
      } else {
        // The wait itself was interrupted, or would have closed a circle.
        if (Cause.hasInterrupts(exit.cause) || Cause.hasDies(exit.cause)) return
        const error = Cause.squash(exit.cause)
        if (error instanceof TaskAbortedError ? error.id === String(id) : failsWith(lastExit, error)) return
      }
      throw this.#model.violation(2, `a join of task ${id} ended as its last attempt did not`)
    })
  }

  // --- submits ---

  #submit(verb: Verb, spec: TaskSpec, giveUp: number | undefined, by: Attempt | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      const call = this.#model.asked(verb, spec, by)
      const submit: Effect.Effect<unknown, unknown> = this.#tasks[verb](
        this.#task(spec, call),
        this.#options(spec, call)
      )
      const answered = Effect.onExit(
        this.#asSubmitter(submit, call),
        (exit) => Effect.sync(() => this.#answered(call, exit))
      )
      return this.#wait(answered, giveUp, by, verb === "run" ? call : "room")
    })
  }

  #schedule(spec: TaskSpec, every: number, times: number, by: Attempt | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      const call = this.#model.asked("schedule", spec, by)
      const schedule = Schedule.upTo(Schedule.spaced(every), { times })
      const submits = this.#tasks.schedule(this.#task(spec, call), schedule, this.#options(spec, call))
      return Scope.provide(this.#asSubmitter(submits, call), this.#scope)
    })
  }

  #asSubmitter<A, E, R>(submit: Effect.Effect<A, E, R>, call: Call): Effect.Effect<A, E, Exclude<R, Tenant>> {
    const own = submit.pipe(
      Effect.provideService(Tenant, call),
      Effect.annotateLogs({ [callAnnotation]: call.number })
    )
    if (this.#program.watched?.spans !== true) return own
    const spanned = Effect.flatMap(Effect.orDie(Effect.currentSpan), (span) => {
      this.#submitterSpans.set(call, span)
      return own
    })
    return Effect.withSpan(spanned, "submitter")
  }

  #answered(call: Call, exit: Exit.Exit<unknown, unknown>): void {
    const model = this.#model
    if (Exit.isFailure(exit)) {
      if (Cause.hasInterrupts(exit.cause)) return void (call.state = "given up")
      const error = Cause.squash(exit.cause)
      return model.refused(call, error instanceof Error ? error.name : String(error))
    }
    if (call.verb === "run") return void (call.state = "accepted")
    // SAFETY: the other verbs give a handle.
    const handle = exit.value as TaskHandle<unknown, unknown>
    this.#handles.push(handle)
    const task = model.answered(call, Number(handle.id))
    const watch = Effect.tap(handle.await, (outcome) => Effect.sync(() => model.settled(task, outcome)))
    Effect.runForkWith(this.#context)(watch)
  }

  /** Performs what may suspend, and gives it up after a time. */
  #wait(
    effect: Effect.Effect<unknown, unknown>,
    giveUp: number | undefined,
    by: Attempt | undefined,
    waits: Attempt["waits"]
  ): Effect.Effect<void> {
    const limited = (effect: Effect.Effect<unknown, unknown>) =>
      giveUp === undefined ? effect : Effect.raceFirst(effect, this.#world.sleep(giveUp))
    if (by === undefined) return settle(limited(effect))
    return Effect.uninterruptibleMask((restore) => {
      by.waits = waits
      by.waitCount++
      const watched = Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) by.task.gaveUp = true
        }))
      return Effect.ensuring(settle(restore(limited(watched))), Effect.sync(() => by.waits = undefined))
    })
  }

  // --- tasks ---

  #options(spec: TaskSpec, call: Call): TaskOptions<unknown, CurrentTask | Scope.Scope> {
    const { delay, headed, keyUntil, onFailed, priority, retry, timeToLive, timeToStart } = call.kind
    return {
      name: call.labels.name,
      delay,
      priority,
      timeToLive,
      timeToStart,
      keyUntil,
      key: spec.key,
      group: spec.group,
      retry: retry && retryOptions(retry),
      error: headed === true ? () => `headed ${call.labels.name}` : undefined,
      onFailed: onFailed && (() => this.#hook(onFailed, call))
    }
  }

  #task(spec: TaskSpec, call: Call): Effect.Effect<unknown, unknown, CurrentTask | Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiber<unknown, unknown, CurrentTask | Scope.Scope>((fiber) => {
        const me = Context.getUnsafe(fiber.context, CurrentTask)
        const behaviour = spec.attempts[Math.min(me.attempts, spec.attempts.length) - 1]!
        const attempt = this.#model.began(Number(me.id), me.attempts, me, call, behaviour)
        if (Context.getUnsafe(fiber.context, Tenant) !== call) {
          throw this.#model.violation(10, `task ${me.id} has another submitter's services`)
        }
        this.#witness.spanOf(attempt.task, call, fiber.cache.span, this.#submitterSpans.get(call))
        return this.#body(attempt, `${me.id}/${me.attempts}`, restore)
      })
    )
  }

  #hook(behaviour: Behaviour, call: Call): Effect.Effect<unknown, never, CurrentTask | Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      CurrentTask.use((me) => {
        const attempt = this.#model.hookBegan(Number(me.id), call, behaviour)
        return Effect.orDie(this.#body(attempt, "hook", restore))
      })
    )
  }

  #body(attempt: Attempt, value: string, restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) {
    const { child, does, ends, finalizer } = attempt.behaviour
    const model = this.#model
    const finalize = (millis: number, dies: boolean) =>
      this.#world.sleep(millis).pipe(
        Effect.andThen(dies ? Effect.die("finalizer") : Effect.void),
        Effect.ensuring(Effect.sync(() => {
          if (dies) attempt.exit = withDefect(attempt.exit!)
          model.partEnded(attempt)
        }))
      )
    const body = Effect.gen({ self: this }, function*() {
      if (finalizer !== undefined) {
        this.#model.partBegan(attempt)
        yield* Effect.addFinalizer(() => finalize(finalizer.millis, finalizer.dies))
      }
      if (child !== undefined) yield* Effect.forkChild(this.#child(attempt, child.millis))
      yield* restore(this.performAll(does, attempt))
      return yield* restore(ends === "never" ? interruptible(Effect.never, attempt) : endOf(ends, value))
    })
    this.#model.partBegan(attempt)
    return Effect.onExit(body, (exit) =>
      Effect.sync(() => {
        attempt.exit = exit
        attempt.interruptible = false
        model.partEnded(attempt)
      }))
  }

  /** Begins late or never, and stops slowly. */
  #child(attempt: Attempt, millis: number): Effect.Effect<void> {
    return Effect.uninterruptibleMask((restore) => {
      this.#model.partBegan(attempt)
      return Effect.ensuring(
        restore(Effect.never),
        Effect.andThen(this.#world.sleep(millis), Effect.sync(() => this.#model.partEnded(attempt)))
      )
    })
  }
}

const interruptible = (effect: Effect.Effect<void>, by: Attempt | undefined): Effect.Effect<void> =>
  by === undefined ? effect : Effect.suspend(() => {
    by.interruptible = true
    return Effect.ensuring(effect, Effect.sync(() => by.interruptible = false))
  })

const settle = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> => Effect.asVoid(Effect.exit(effect))

const endOf = (ends: Exclude<Behaviour["ends"], "never">, value: string): Effect.Effect<string, string> => {
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
  }
}

const withDefect = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<never, unknown> =>
  Exit.failCause(
    Cause.fromReasons([...(Exit.isFailure(exit) ? exit.cause.reasons : []), Cause.makeDieReason("finalizer")])
  )

const failsWith = (exit: Exit.Exit<unknown, unknown> | undefined, error: unknown): boolean =>
  exit?._tag === "Failure" && Cause.squash(exit.cause) === error

const retryOptions = ({ delay, shape, times }: RetrySpec) => ({
  times,
  schedule: shape === "spaced" ? Schedule.spaced(delay) : Schedule.exponential(delay),
  while: (error: unknown) => error !== "fatal"
})
