/**
 * The manager's tasks by id and in pages: those that have not settled, and the last failed ones.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TaskInfo } from "../TaskInfo.ts"
import type { TaskFilter } from "../Tasks.ts"
import { invalid, whole } from "./config.ts"
import type { Kernel } from "./kernel.ts"
import { cancel, submitAgain } from "./submission.ts"
import type { TaskRecord } from "./taskRecord.ts"

const numberOf = (id: string): number | undefined => {
  const number = Number(id)
  return String(number) === id && number >= 0 && Number.isSafeInteger(number) ? number : undefined
}

const find = (kernel: Kernel, id: string): TaskRecord | undefined => {
  const number = numberOf(id)
  return number === undefined ? undefined : kernel.ledger.tasks.get(number) ?? kernel.ledger.failed.get(number)
}

export const get = (kernel: Kernel, id: string): Effect.Effect<Option.Option<TaskInfo>> =>
  Effect.sync(() => Option.map(Option.fromUndefinedOr(find(kernel, id)), (record) => kernel.info(record)))

export const list = (kernel: Kernel, filter: TaskFilter = {}): Effect.Effect<ReadonlyArray<TaskInfo>> =>
  Effect.sync(() => {
    const { after = "0", group, name, state } = filter
    const limit = whole("limit", filter.limit ?? 100, 1)
    const start = numberOf(after) ?? invalid("after", "an id of list", after)
    const matches = (record: TaskRecord): boolean =>
      record.id > start &&
      (state === undefined || record.state === state) &&
      (name === undefined || record.name === name) &&
      (group === undefined || record.work?.options.group === group)
    return [...kernel.ledger.tasks.toArray(), ...kernel.ledger.failed.values()]
      .filter(matches)
      .toSorted((a, b) => a.id - b.id)
      .slice(0, limit)
      .map((record) => kernel.info(record))
  })

export const cancelById = (kernel: Kernel, id: string): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const record = find(kernel, id)
    return record === undefined ? Effect.succeed(false) : cancel(kernel, record)
  })

/** A failed task again, as a new submit; the failed one is forgotten, so that it runs again once. */
export const retryById = (kernel: Kernel, id: string): Effect.Effect<Option.Option<string>> =>
  Effect.sync(() => {
    const failed = find(kernel, id)
    if (failed === undefined || failed.state !== "failed" || kernel.phase !== "running") return Option.none()
    const { submitter, timing, ...work } = failed.work!
    const again = { ...work, submitter: { ...submitter, later: true }, timing: timing && { ...timing, delay: 0 } }
    const record = submitAgain(kernel, again)
    if (record === undefined) return Option.none()
    kernel.ledger.forgetFailed(failed)
    return Option.some(String(record.id))
  })
