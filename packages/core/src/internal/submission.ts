/**
 * From an Effect in a caller's hand to an accepted task, and back to the caller: submit, join, cancel.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import { QueueFullError, TaskManagerStoppedError } from "../TaskError.ts"
import type { TaskHandle, TaskOutcome } from "../TaskHandle.ts"
import { CurrentTask, type TaskState } from "../TaskInfo.ts"
import type { TaskOptions } from "../TaskOptions.ts"
import type { Suspended } from "./admission.ts"
import { checkTask, resolveTiming } from "./config.ts"
import type { Kernel } from "./kernel.ts"
import { submitterOf } from "./submitter.ts"
import { type AnyEffect, type Hold, RunningTask, TaskRecord, type Work } from "./taskRecord.ts"
import { dependsOn, Wait } from "./waits.ts"

const noOptions: TaskOptions = {}

/** Makes the record of a submit; nothing knows of it until it is accepted. */
const prepare = (
  kernel: Kernel,
  fiber: Fiber.Fiber<unknown, unknown>,
  effect: AnyEffect,
  given: TaskOptions | undefined
): TaskRecord => {
  checkTask(effect)
  // A copy: what becomes of the caller's object later is not for the task.
  const options = given === undefined ? noOptions : { ...given }
  const timing = given === undefined ? undefined : resolveTiming(options)
  return recordOf(kernel, { effect, options, submitter: submitterOf(fiber), timing })
}

const recordOf = (kernel: Kernel, work: Work): TaskRecord => {
  const { group, key, name = "task" } = work.options
  return new TaskRecord(
    work,
    kernel.ledger.countersOf(name),
    key === undefined ? undefined : perName(name, key),
    group === undefined ? undefined : kernel.laneOf(perName(name, group))
  )
}

/** The same work as a new task, or undefined when there is no room; joins the task that holds its key. */
export const submitAgain = (kernel: Kernel, work: Work): TaskRecord | undefined => {
  const record = recordOf(kernel, work)
  const task = joinOrAccept(kernel, record, "submits")
  if (task === undefined) kernel.discard(record)
  return task
}

/** The task that holds the record's key, or its own when there is room. */
const joinOrAccept = (kernel: Kernel, record: TaskRecord, hold: Hold): TaskRecord | undefined => {
  const holder = record.key === undefined ? undefined : kernel.keys.holder(record.key)
  if (holder !== undefined) kernel.discard(record)
  else if (!kernel.tryAccept(record)) return undefined
  const task = holder ?? record
  task[hold]++
  return task
}

/** Keys and groups are per name; the length keeps "a" + "bc" apart from "ab" + "c". */
const perName = (name: string, id: string): string => `${name.length}:${name}${id}`

const stopped = Exit.fail(new TaskManagerStoppedError())

/** How a caller holds the task that it gets, accepted or joined, what it makes of it, and what it does without room. */
interface Claim<A, E> {
  readonly hold: Hold
  readonly take: (kernel: Kernel, record: TaskRecord) => A
  readonly whenFull: (kernel: Kernel, record: TaskRecord) => Effect.Effect<A, E>
}

const handleOf = (kernel: Kernel, record: TaskRecord): Handle => new Handle(kernel, record)

const toSubmit: Claim<Handle, TaskManagerStoppedError> = {
  hold: "submits",
  take: handleOf,
  whenFull: (kernel, record) => Effect.uninterruptibleMask((restore) => waitForRoom(kernel, record, toSubmit, restore))
}

const toTry: Claim<Handle, QueueFullError> = {
  hold: "submits",
  take: handleOf,
  whenFull: (kernel, record) => {
    kernel.discard(record)
    return Effect.fail(new QueueFullError({ capacity: kernel.config.capacity }))
  }
}

/** Accepts or joins at once; otherwise does what the claim says. */
const admit = <A, E>(
  kernel: Kernel,
  effect: AnyEffect,
  options: TaskOptions | undefined,
  claim: Claim<A, E>
): Effect.Effect<A, E | TaskManagerStoppedError> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | TaskManagerStoppedError> => {
    if (kernel.phase !== "running") return stopped
    const record = prepare(kernel, fiber, effect, options)
    const task = joinOrAccept(kernel, record, claim.hold)
    return task === undefined ? claim.whenFull(kernel, record) : Exit.succeed(claim.take(kernel, task))
  })

export const submit = (kernel: Kernel, effect: AnyEffect, options: TaskOptions | undefined) =>
  admit(kernel, effect, options, toSubmit)

export const trySubmit = (kernel: Kernel, effect: AnyEffect, options: TaskOptions | undefined) =>
  admit(kernel, effect, options, toTry)

export const run = (kernel: Kernel, effect: AnyEffect, options: TaskOptions | undefined) =>
  Effect.uninterruptibleMask((restore) => {
    const toRun: Claim<TaskRecord, TaskManagerStoppedError> = {
      hold: "runs",
      take: (_, record) => record,
      whenFull: (_, record) => waitForRoom(kernel, record, toRun, restore)
    }
    return Effect.flatMap(
      admit(kernel, effect, options, toRun),
      (record) => Effect.onExit(restore(join(kernel, record)), () => letGo(kernel, record, "runs"))
    )
  })

/** The last holder of a task ends it. */
const letGo = (kernel: Kernel, record: TaskRecord, hold: Hold): Effect.Effect<void> => {
  record[hold]--
  if (record.settled || record.held) return Effect.void
  kernel.abort(record, "cancelled")
  return Effect.asVoid(settled(record))
}

/** To be called where nothing interrupts; `restore` gives back the caller's interruptibility for the wait. */
const waitForRoom = <A>(
  kernel: Kernel,
  record: TaskRecord,
  { hold, take }: Claim<A, TaskManagerStoppedError>,
  restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Effect.Effect<A, TaskManagerStoppedError> => {
  let suspended: Suspended | undefined
  const answer = Effect.callback<A, TaskManagerStoppedError>((resume) => {
    // The fiber may have yielded since the refusal: the manager may have stopped, or another taken the key, or room come.
    if (kernel.phase !== "running") return resume(stopped)
    const own = suspended = kernel.admission.suspend(record, hold, kernel.timer.now())
    own.wake = () => resume(Exit.map(own.answer!, (task) => take(kernel, task)))
    kernel.joinHolder(own)
    const waiter = record.work!.submitter.task
    if (own.answer !== undefined || waiter?.live !== true) return kernel.advance()
    const wait = own.wait = new Wait(waiter, undefined, kernel.lending, () => kernel.wakeLater(own), record.lane)
    wait.begin()
    return Effect.sync(() => wait.abandon())
  })
  // Not in the callback's canceller: an interruption may also come with the answer, before the caller has it.
  return Effect.onInterrupt(restore(answer), () => giveWay(kernel, record, suspended))
}

/** The submit was interrupted: it leaves the line or, with the answer already given, lets go of its task. */
const giveWay = (kernel: Kernel, record: TaskRecord, suspended: Suspended | undefined): Effect.Effect<void> => {
  const answer = suspended?.answer
  if (answer === undefined) {
    if (suspended !== undefined) kernel.admission.withdraw(suspended)
    kernel.discard(record)
    kernel.advance()
    return Effect.void
  }
  // What a submit handed over and has begun is in.
  if (Exit.isFailure(answer) || (suspended!.hold === "submits" && answer.value.attempts > 0)) return Effect.void
  return letGo(kernel, answer.value, suspended!.hold)
}

/** Waits for the end of a task. A running task lends its worker meanwhile (law 13). */
const outcomeOf = (kernel: Kernel, record: TaskRecord): Effect.Effect<TaskOutcome<unknown, unknown>> =>
  Effect.withFiber((fiber) => {
    if (record.settled) return Exit.succeed(record.outcome)
    const waiter = currentTask(fiber)
    if (waiter === undefined) return settled(record)
    return Effect.callback((resume) => {
      // The fiber may have yielded since it looked.
      if (record.settled || !waiter.live) return resume(settled(record))
      if (dependsOn(record, waiter.record)) return resume(Effect.die(new Error(circle(waiter.record, record))))
      const wait = new Wait(waiter, record, kernel.lending, () => resume(Exit.succeed(record.outcome)))
      const stopListening = listen(record, () => wait.finish())
      wait.begin()
      return Effect.sync(() => {
        stopListening()
        wait.abandon()
      })
    })
  })

const circle = (waiter: TaskRecord, target: TaskRecord): string =>
  waiter === target
    ? `task ${waiter.name} (${waiter.id}) waits for its own end, which would never come`
    : `task ${waiter.name} (${waiter.id}) waits for ${target.name} (${target.id}), which waits for it: neither would ever end`

const settled = (record: TaskRecord): Effect.Effect<TaskOutcome<unknown, unknown>> =>
  Effect.callback((resume) => {
    if (record.settled) return resume(Exit.succeed(record.outcome))
    return Effect.sync(listen(record, () => resume(Exit.succeed(record.outcome))))
  })

const listen = (record: TaskRecord, listener: () => void): () => void => {
  record.listeners ??= new Set()
  record.listeners.add(listener)
  return () => void record.listeners?.delete(listener)
}

const join = (kernel: Kernel, record: TaskRecord): Effect.Effect<unknown, unknown> =>
  Effect.flatMap(outcomeOf(kernel, record), (outcome): Effect.Effect<unknown, unknown> => {
    if (outcome._tag === "Completed") return Exit.succeed(outcome.value)
    return outcome._tag === "Failed" ? Exit.failCause(record.failures!.last.cause) : Exit.fail<unknown>(outcome.error)
  })

export const cancel = (kernel: Kernel, record: TaskRecord): Effect.Effect<boolean> =>
  Effect.withFiber((fiber) => {
    if (record.settled) return Exit.succeed(false)
    kernel.abort(record, "cancelled")
    const own = currentTask(fiber)
    if (own?.record !== record) return Effect.map(settled(record), wasCancelled)
    // Before its first suspension nobody knows the attempt's fiber.
    if (own.fiber === undefined) fiber.interruptUnsafe()
    return Exit.succeed(true)
  })

const wasCancelled = (outcome: TaskOutcome<unknown, unknown>): boolean =>
  outcome._tag === "Aborted" && outcome.error.reason === "cancelled"

/** The task in which this fiber runs, while it runs. */
export const currentTask = (fiber: Fiber.Fiber<unknown, unknown>): RunningTask | undefined => {
  const task = Context.getOrUndefined(fiber.context, CurrentTask)
  return task instanceof RunningTask && task.live ? task : undefined
}

class Handle extends Inspectable.Class implements TaskHandle<unknown, unknown> {
  readonly #kernel: Kernel
  readonly #record: TaskRecord

  constructor(kernel: Kernel, record: TaskRecord) {
    super()
    this.#kernel = kernel
    this.#record = record
  }

  get id(): string {
    return String(this.#record.id)
  }

  get name(): string {
    return this.#record.name
  }

  get await(): Effect.Effect<TaskOutcome<unknown, unknown>> {
    return outcomeOf(this.#kernel, this.#record)
  }

  get join(): Effect.Effect<unknown, unknown> {
    return join(this.#kernel, this.#record)
  }

  get cancel(): Effect.Effect<boolean> {
    return cancel(this.#kernel, this.#record)
  }

  get state(): Effect.Effect<TaskState> {
    return Effect.sync(() => this.#record.state)
  }

  toJSON(): unknown {
    return { _id: "TaskHandle", id: this.id, name: this.name, state: this.#record.state }
  }
}
