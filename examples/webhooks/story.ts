/** What a reader sees of the deliveries: a line for each attempt that ended, and a table at the end. */
import type { TaskEvent, TaskInfo } from "@effect-tasks/core"
import { Cause, DateTime } from "effect"
import { styleText } from "node:util"
import { type Receivers, receivers } from "./receivers.ts"

/** `   312 ms  flaky 3       attempt 1: answered 503, again in 50 ms`; undefined for an event that is not worth a line. */
export const line = (event: TaskEvent, startedAt: number): string | undefined => {
  const text = news(event)
  if (text === undefined) return undefined
  return `${String(millis(event.at) - startedAt).padStart(6)} ms  ${event.task.key!.padEnd(12)}  ${text}`
}

const news = ({ _tag, at, task }: TaskEvent): string | undefined => {
  switch (_tag) {
    case "Completed":
      return styleText("green", "delivered")
    case "Retrying":
      return styleText("yellow", `${lastFailure(task)}, again in ${millis(task.dueAt!) - millis(at)} ms`)
    case "Failed":
      return styleText("red", `${lastFailure(task)}, given up`)
    case "Aborted":
      return styleText("red", `not delivered: ${task.reason}`)
  }
}

const millis = DateTime.toEpochMillis

/** Such as `attempt 2: answered 503`. */
const lastFailure = ({ cause }: TaskInfo): string => Cause.prettyErrors(cause!).at(-1)!.message

/** A row for each receiver: what it says it got, and what became of the tasks. */
export const table = (received: Receivers["Service"]["received"], ended: ReadonlyArray<TaskInfo>): string => {
  const rows = receivers.map((receiver) => {
    const got = received.filter((delivery) => delivery.receiver === receiver).map(({ event }) => event)
    const tasks = ended.filter(({ group }) => group === receiver)
    const attempts = tasks.reduce((sum, task) => sum + task.attempts, 0)
    const lost = tasks.filter(({ state }) => state !== "completed").map(({ key }) => key!.split(" ")[1])
    return row(receiver, String(attempts), got.join(" "), lost.join(" "))
  })
  return [row("receiver", "attempts", "got, in this order", "not delivered"), ...rows].join("\n")
}

const row = (receiver: string, attempts: string, got: string, lost: string): string =>
  `${receiver.padEnd(11)}${attempts.padEnd(10)}${got.padEnd(20)}${lost}`.trimEnd()
