/**
 * The worker loop, and one attempt from its start to what becomes of it.
 *
 *     perform → attempt fiber → conclude: complete | decide → retryLater | giveUp → onFailed → settle | aborted
 *
 * Everything that runs for a task (the attempt, the step of its schedule, `onFailed`) is a root fiber of its own with
 * the submitter's context. The worker starts it at once, goes on without suspending when it ended synchronously, and
 * otherwise attends to it.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TaskFailedError } from "../TaskError.ts"
import { CurrentTask } from "../TaskInfo.ts"
import { asDefects, Capped, withoutInterrupts, withoutStack } from "./causes.ts"
import type { Kernel } from "./kernel.ts"
import { logCompleted, logFailed, logRetry } from "./log.ts"
import { beginRetry, nextDelay } from "./retry.ts"
import { withAttemptSpan } from "./span.ts"
import type { AnyEffect, RunningTask, TaskRecord } from "./taskRecord.ts"
import type { Worker } from "./worker.ts"

/** What a task costs besides its own operations; others, such as a reader of events, get their turn after about 100. */
const operationsPerTask = 16

/** What a worker has still to wait for; undefined when everything has ended synchronously. */
type Rest = Effect.Effect<void> | undefined

const asEffect = (rest: () => Rest): Effect.Effect<void> => Effect.suspend(() => rest() ?? Effect.void)

/**
 * One worker: takes what the kernel hands it, until the manager has stopped. Nothing that a task does to the fiber it
 * finds itself in ends it.
 */
export const workerLoop = (kernel: Kernel, worker: Worker): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.withFiber((fiber) =>
    Effect.whileLoop({
      while: () => kernel.phase !== "stopped",
      body: () => turn(kernel, worker, fiber.cache.maxOpsBeforeYield),
      step: () => {}
    })
  ))

/** Tasks that end synchronously are performed without a step of the worker's fiber, which yields as if they were its own. */
const turn = (kernel: Kernel, worker: Worker, maxOperations: number): Effect.Effect<unknown> => {
  worker.operations = 0
  while (worker.operations < maxOperations) {
    const record = kernel.take(worker)
    if (record === undefined) return park(kernel, worker)
    const rest = perform(kernel, record)
    if (rest !== undefined) return rest
  }
  return Effect.yieldNow
}

const park = (kernel: Kernel, worker: Worker): Effect.Effect<void> =>
  Effect.callback((resume) => {
    worker.resume = () => resume(Effect.void)
    if (kernel.phase === "stopped" || !kernel.crew.sleep(worker)) worker.wake()
  })

const perform = (kernel: Kernel, record: TaskRecord): Rest => {
  const running = record.running!
  kernel.begin(running)
  const { submitter } = record.work!
  const effect = withRetry(record)
  const attempt = submitter.traced ? withAttemptSpan(Effect.scoped(effect), kernel.id, record) : effect
  const scope = Scope.makeUnsafe()
  const context = Context.add(contextOf(running), Scope.Scope, scope)
  return onWorker(kernel, running, context, attempt, (exit) => {
    if (scope.state._tag === "Empty") {
      Scope.closeUnsafe(scope, exit)
      return conclude(kernel, running, exit)
    }
    // In a fiber of the task, since the finalizer that closing begins with may do to its fiber what it likes.
    const closed = Effect.onExit(exit, () => Scope.close(scope, exit))
    // Uninterruptible from its first step on: even before it a fiber may yield, and an interruption come.
    return onWorker(kernel, running, context, closed, (exit) => conclude(kernel, running, exit), uninterruptible)
  })
}

const uninterruptible: Effect.RunOptions = { uninterruptible: true }

const withRetry = (record: TaskRecord): AnyEffect => {
  const { effect, options } = record.work!
  if (options.retry === undefined || record.retry !== undefined) return effect
  return Effect.flatMap(beginRetry(options.retry), (progress) => {
    record.retry = progress
    return effect
  })
}

// --- what becomes of an attempt ---

const conclude = (kernel: Kernel, running: RunningTask, exit: Exit.Exit<unknown, unknown>): Rest => {
  const { record } = running
  kernel.ended(running)
  if (exit._tag === "Success") return complete(kernel, record, exit.value)
  if (cutShort(record, exit.cause)) {
    const own = withoutInterrupts(exit.cause)
    if (own.reasons.length > 0) addFailure(record, own)
    return abort(kernel, record)
  }
  addFailure(record, exit.cause)
  const error = Cause.hasDies(exit.cause) ? Option.none() : Cause.findErrorOption(exit.cause)
  if (record.work!.options.retry === undefined || Option.isNone(error)) return giveUp(kernel, running, Cause.empty)
  if (record.abortReason !== undefined) return abort(kernel, record)
  return decide(kernel, running, error.value)
}

/** Our interruption is not the task's failure. */
const cutShort = (record: TaskRecord, cause: Cause.Cause<unknown>): boolean =>
  record.abortReason !== undefined && Cause.hasInterrupts(cause)

const complete = (kernel: Kernel, record: TaskRecord, value: unknown): Rest => {
  if (record.work!.submitter.debug) logCompleted(kernel, record)
  kernel.settle(record, "completed", value)
  return undefined
}

const abort = (kernel: Kernel, record: TaskRecord): Rest => {
  kernel.settleAborted(record, record.abortReason!)
  return undefined
}

const addFailure = (record: TaskRecord, cause: Cause.Cause<unknown>): void => {
  record.failures ??= new Capped()
  record.failures.add({ attempt: record.attempts, cause })
}

/** Asks the schedule whether and when there is another attempt. */
const decide = (kernel: Kernel, running: RunningTask, error: unknown): Rest => {
  const { record } = running
  const decision = nextDelay(record.retry!, kernel.timer.wallNow(), error)
  return onWorker(kernel, running, contextOf(running), decision, (exit) => {
    if (exit._tag === "Failure") {
      return cutShort(record, exit.cause)
        ? abort(kernel, record)
        : giveUp(kernel, running, asDefects(exit.cause, "the schedule"))
    }
    const delay = exit.value
    if (delay === undefined) return giveUp(kernel, running, Cause.empty)
    if (record.work!.submitter.debug) logRetry(kernel, record, delay)
    kernel.retryLater(record, delay)
    return undefined
  })
}

/** Failed for good: the hook runs, then the failure is logged once and the task settles. */
const giveUp = (kernel: Kernel, running: RunningTask, defects: Cause.Cause<never>): Rest => {
  const { record } = running
  const { onFailed } = record.work!.options
  const error = failedError(kernel, record, defects)
  const finish = (more: Cause.Cause<never>): Rest => {
    logFailed(kernel, record, error, [...defects.reasons, ...more.reasons])
    kernel.settle(record, "failed", error)
    return undefined
  }
  if (onFailed === undefined) return finish(Cause.empty)
  const hook = Effect.scoped(Effect.suspend(() => onFailed(error.cause)))
  return onWorker(kernel, running, contextOf(running), hook, (exit) => {
    const wrong = exit._tag === "Success" ? Cause.empty : exit.cause
    return finish(asDefects(record.abortReason === undefined ? wrong : withoutInterrupts(wrong), "onFailed"))
  })
}

const failedError = (kernel: Kernel, record: TaskRecord, defects: Cause.Cause<never>): TaskFailedError => {
  const attempts = record.failures!.toCause((failed) => failed.cause.reasons, "attempt")
  const callers = callersError(record.work!.options.error)
  return withoutStack(() =>
    new TaskFailedError({
      id: String(record.id),
      task: record.name,
      attempts: record.attempts,
      duration: Duration.millis(kernel.timer.now() - record.admittedAt),
      error: callers,
      cause: Cause.fromReasons([...attempts.reasons, ...defects.reasons])
    })
  )
}

const callersError = (make: (() => unknown) | undefined): unknown => {
  try {
    return make?.()
  } catch (thrown) {
    return thrown
  }
}

// --- fibers on a worker ---

/** Starts `effect` for the task at once, and concludes it on the worker. */
const onWorker = <A, E>(
  kernel: Kernel,
  running: RunningTask,
  context: Context.Context<never>,
  effect: Effect.Effect<A, E>,
  then: (exit: Exit.Exit<A, E>) => Rest,
  options?: Effect.RunOptions
): Rest => {
  running.fiber = undefined
  const fiber = Effect.runForkWith(context)(effect, options)
  running.worker.operations += operationsPerTask + fiber.currentOpCount
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return then(exit)
  running.fiber = fiber
  if (running.record.abortReason !== undefined) fiber.interruptUnsafe()
  return attendTo(kernel, running, fiber, then)
}

const contextOf = ({ record }: RunningTask): Context.Context<never> => {
  const context = Context.add(record.work!.submitter.context, CurrentTask, record.running!)
  const metadata = record.retry?.metadata
  return metadata === undefined ? context : Context.add(context, Schedule.CurrentMetadata, metadata)
}

/**
 * Suspends the worker until the fiber has ended. Meanwhile the kernel may lend the worker: it then performs another
 * task and comes back. When the fiber ends while it is lent, a substitute concludes the task.
 */
const attendTo = <A, E>(
  kernel: Kernel,
  running: RunningTask,
  fiber: Fiber.Fiber<A, E>,
  then: (exit: Exit.Exit<A, E>) => Rest
): Effect.Effect<void> => {
  const { record, worker } = running
  let resume: ((effect: Effect.Effect<void>) => void) | undefined
  let substituted = false
  const attend: Effect.Effect<void> = Effect.callback((resumeWorker) => {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return resumeWorker(substituted ? Effect.void : asEffect(() => then(exit)))
    const first = resume === undefined
    resume = resumeWorker
    worker.resume = () => resumeWorker(performLent())
    if (first) fiber.addObserver(onEnd)
    if (worker.task !== undefined) return resumeWorker(performLent())
    kernel.attends(running)
  })
  const performLent = (): Effect.Effect<void> => {
    const lentTo = worker.task!
    worker.attending = worker.task = undefined
    return Effect.andThen(asEffect(() => perform(kernel, lentTo)), attend)
  }
  const onEnd = (exit: Exit.Exit<A, E>): void => {
    if (worker.attending === record) {
      worker.attending = worker.resume = undefined
      return resume!(asEffect(() => then(exit)))
    }
    substituted = true
    kernel.lending.substitute(running)
    const conclusion = Effect.andThen(asEffect(() => then(exit)), Effect.sync(() => kernel.advance()))
    Effect.runForkWith(kernel.context)(conclusion, uninterruptible)
  }
  return attend
}
