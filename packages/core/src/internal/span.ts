/**
 * The span of one attempt: a child of the submitter's span, or linked to it when the attempt starts later.
 */
import * as Effect from "effect/Effect"
import type { TaskRecord } from "./taskRecord.ts"

export const withAttemptSpan = <A, E>(
  effect: Effect.Effect<A, E>,
  manager: string,
  record: TaskRecord
): Effect.Effect<A, E> => {
  const { later: submittedLater, span } = record.work!.submitter
  const later = submittedLater || record.attempts > 1 || record.startsDelayed
  const origin = span === undefined
    ? {}
    : later
    ? { links: [{ span, attributes: {} }] }
    : { parent: span }
  return Effect.withSpan(effect, record.name, {
    ...origin,
    root: later || span === undefined,
    kind: "consumer",
    captureStackTrace: false,
    attributes: { "task.manager": manager, "task.id": String(record.id), "task.attempt": record.attempts }
  })
}
