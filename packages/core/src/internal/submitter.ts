/**
 * What a task takes along from whoever submitted it: services, log annotations, log level, tracer, and the span as a
 * parent; and what stays behind because it belongs to the submitter's own extent.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { CurrentTask } from "../TaskInfo.ts"
import { RunningTask, type Submitter } from "./taskRecord.ts"

/**
 * Effect's keys of open SQL transactions, which a test pins: those of its own clients end in the client's number; a
 * client may bring another, and the innermost transaction is named by a reference.
 */
const sqlTransaction = "effect/sql/SqlClient/TransactionConnection/"
const currentSqlTransaction = "effect/sql/CurrentTransactionService"

const extent: ReadonlySet<string> = new Set([
  CurrentTask.key,
  Effect.Transaction.key,
  References.CurrentLogSpans.key,
  References.CurrentStackFrame.key,
  Schedule.CurrentMetadata.key,
  Scope.Scope.key,
  Tracer.ParentSpanKey
])

/** Derived once per context; a program usually submits many tasks from one. */
const submitters = new WeakMap<Context.Context<never>, Submitter>()

export const submitterOf = (fiber: Fiber.Fiber<unknown, unknown>): Submitter => {
  let submitter = submitters.get(fiber.context)
  if (submitter === undefined) {
    submitter = derive(fiber)
    submitters.set(fiber.context, submitter)
  }
  return submitter
}

const derive = (fiber: Fiber.Fiber<unknown, unknown>): Submitter => {
  const services = fiber.context.mapUnsafe
  const { minimumLogLevel, span, tracer } = fiber.cache
  const innermost = services.get(currentSqlTransaction) as { readonly key: string } | undefined // SAFETY: a Context.Key
  const kept = new Map(services)
  for (const key of services.keys()) {
    if (extent.has(key) || key === innermost?.key || key.startsWith(sqlTransaction)) kept.delete(key)
  }
  const task = services.get(CurrentTask.key)
  return {
    context: kept.size === services.size ? fiber.context : Context.makeUnsafe(kept),
    span: tracer === undefined || span === undefined ? undefined : Tracer.externalSpan(span),
    traced: tracer !== undefined,
    debug: LogLevel.isGreaterThanOrEqualTo("Debug", minimumLogLevel),
    task: task instanceof RunningTask ? task : undefined
  }
}
