/**
 * What a task takes along from whoever submitted it: services, log annotations, log level, tracer, and the span as a
 * parent; and what stays behind because it belongs to the submitter's own extent.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
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

/** Where this is set, submits come long after the span they stand in: their spans are linked to it. */
export const SubmitsLater = Context.Reference("@effect-tasks/core/SubmitsLater", { defaultValue: () => false })

const extent: ReadonlySet<string> = new Set([
  CurrentTask.key,
  Effect.Transaction.key,
  References.CurrentLogSpans.key,
  References.CurrentStackFrame.key,
  Schedule.CurrentMetadata.key,
  Scope.Scope.key,
  SubmitsLater.key,
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

/** The span that Effect would take as a parent: the nearest that is not hidden from propagation. */
const propagated = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined =>
  span !== undefined && Context.get(span.annotations, Tracer.DisablePropagation)
    ? propagated(span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined)
    : span

const derive = (fiber: Fiber.Fiber<unknown, unknown>): Submitter => {
  const services = fiber.context.mapUnsafe
  const { minimumLogLevel, tracer } = fiber.cache
  const span = tracer === undefined ? undefined : propagated(fiber.cache.span)
  const innermost = services.get(currentSqlTransaction) as { readonly key: string } | undefined // SAFETY: a Context.Key
  const kept = new Map(services)
  for (const key of services.keys()) {
    if (extent.has(key) || key === innermost?.key || key.startsWith(sqlTransaction)) kept.delete(key)
  }
  const task = services.get(CurrentTask.key)
  return {
    context: kept.size === services.size ? fiber.context : Context.makeUnsafe(kept),
    span: span === undefined ? undefined : Tracer.externalSpan(span),
    later: fiber.getRef(SubmitsLater),
    traced: tracer !== undefined,
    debug: LogLevel.isGreaterThanOrEqualTo("Debug", minimumLogLevel),
    task: task instanceof RunningTask ? task : undefined
  }
}
