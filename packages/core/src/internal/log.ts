/**
 * All log entries of a manager. A task's entries go to its submitter's loggers, with the submitter's annotations; the
 * manager's own go to the loggers that its layer was built with.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import { TaskFailedError } from "../TaskError.ts"
import type { ShutdownReport } from "../TaskStats.ts"
import { markedReasons, readable } from "./causes.ts"
import type { Kernel } from "./kernel.ts"
import type { TaskRecord } from "./taskRecord.ts"

export const logCompleted = (kernel: Kernel, record: TaskRecord): void =>
  ofTask(kernel, record, Effect.logDebug("task completed"))

export const logRetry = (kernel: Kernel, record: TaskRecord, delay: number): void =>
  ofTask(kernel, record, Effect.logDebug(`task failed, next attempt in ${delay} ms`, record.failures!.last.cause))

/** One entry with one Cause; a debug line when a live `run` takes the failure to its caller. */
export const logFailed = (
  kernel: Kernel,
  record: TaskRecord,
  error: TaskFailedError,
  defects: ReadonlyArray<Cause.Reason<never>>
): void => {
  const taken = record.runs > 0
  if (taken && !record.work!.submitter.debug) return
  const attempts = record.failures!.toCause(markedReasons, "attempt")
  const cause = Cause.fromReasons([headOf(error), ...attempts.reasons, ...defects.map(readable)])
  ofTask(
    kernel,
    record,
    taken
      ? Effect.logDebug("task failed", cause)
      // The report is made even if a logger throws.
      : Effect.ensuring(Effect.logError("task failed", cause), ErrorReporter.report(Cause.fail(error)))
  )
}

export const logDelayedFull = (kernel: Kernel): void =>
  ofManager(
    kernel,
    Effect.logWarning(
      `${kernel.config.maxDelayed} retries and delayed starts are waiting (maxDelayed): submits wait until there are fewer`
    )
  )

export const logSlowFinalizers = (kernel: Kernel, running: ReadonlyArray<TaskRecord>): void => {
  const names = running.slice(0, 20).map((record) => `${record.name} (${record.id})`)
  const more = running.length > names.length ? `, and ${running.length - names.length} more` : ""
  ofManager(
    kernel,
    Effect.logWarning(`shutdown still waits for the finalizers of ${tasks(running.length)}: ${names.join(", ")}${more}`)
  )
}

export const logReport = (kernel: Kernel, report: ShutdownReport): void => {
  if (report.cause._tag === "None") return
  ofManager(
    kernel,
    Effect.logWarning(
      `shutdown: ${tasks(report.unfinished.length)} did not complete`,
      Cause.fromReasons(report.cause.value.reasons.map((reason) => isFailed(reason) ? headOf(reason.error) : reason))
    )
  )
}

export const logScheduleFailed = (kernel: Kernel, name: string, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logError("a schedule failed and submits no more", cause), {
    manager: kernel.id,
    task: name
  })

/** The error without its cause: its attempts follow it, or were logged when it failed. */
const headOf = (error: TaskFailedError): Cause.Fail<TaskFailedError> =>
  Cause.makeFailReason(Object.create(error, { message: { value: error.message }, cause: { value: undefined } }))

const isFailed = (reason: Cause.Reason<unknown>): reason is Cause.Fail<TaskFailedError> =>
  Cause.isFailReason(reason) && reason.error instanceof TaskFailedError

const tasks = (count: number): string => count === 1 ? "1 task" : `${count} tasks`

const ofTask = (kernel: Kernel, record: TaskRecord, entry: Effect.Effect<void>): void =>
  write(
    record.work!.submitter.context,
    Effect.annotateLogs(entry, {
      manager: kernel.id,
      task: record.name,
      taskId: String(record.id),
      attempts: record.attempts
    })
  )

const ofManager = (kernel: Kernel, entry: Effect.Effect<void>): void =>
  write(kernel.context, Effect.annotateLogs(entry, { manager: kernel.id }))

const write = (context: Context.Context<never>, entry: Effect.Effect<void>): void =>
  void Effect.runForkWith(context)(entry)
