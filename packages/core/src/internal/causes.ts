/**
 * Causes of many parts: bounded, in order, and readable.
 *
 * Reasons are put together with `Cause.fromReasons`, since `Cause.combine` would merge equal failures.
 */
import * as Cause from "effect/Cause"
import * as Formatter from "effect/Formatter"

/** Keeps the first 8 and the last 8 of what is added, and counts the rest: an endless retry must not grow. */
export class Capped<A> {
  readonly #first: Array<A> = []
  readonly #last: Array<A> = []
  #count = 0

  /** Present once something was added. */
  get last(): A {
    return (this.#last.at(-1) ?? this.#first.at(-1))!
  }

  add(item: A): void {
    this.#count++
    if (this.#first.length < 8) return void this.#first.push(item)
    this.#last.push(item)
    if (this.#last.length > 8) this.#last.shift()
  }

  /** One Cause of all that was kept; a `Die` between the first and the last says how many were left out. */
  toCause<E>(reasons: (item: A) => ReadonlyArray<Cause.Reason<E>>, noun: string): Cause.Cause<E> {
    const left = this.#count - this.#first.length - this.#last.length
    const nouns = left === 1 ? noun : `${noun}s`
    const gap = left > 0 ? [Cause.makeDieReason(plainError(`${left} more ${nouns} in between`))] : []
    return Cause.fromReasons([...this.#first.flatMap(reasons), ...gap, ...this.#last.flatMap(reasons)])
  }
}

export interface FailedAttempt {
  readonly attempt: number
  readonly cause: Cause.Cause<unknown>
}

/** The reasons of one attempt, each with the attempt's number in its text. */
export const markedReasons = ({ attempt, cause }: FailedAttempt): ReadonlyArray<Cause.Reason<unknown>> =>
  cause.reasons.map((reason) => {
    if (Cause.isInterruptReason(reason)) {
      return Cause.makeDieReason(plainError(`attempt ${attempt}: interrupted itself`))
    }
    const error = rendered(reason)
    reword(error, `attempt ${attempt}${error.message === "" ? "" : `: ${error.message}`}`)
    return Cause.isFailReason(reason) ? Cause.makeFailReason(error) : Cause.makeDieReason(error)
  })

/** A new `Error` of what a task failed with, which may be anything: a getter of it that throws must not end a worker. */
const rendered = (reason: Cause.Fail<unknown> | Cause.Die): Error => {
  try {
    return withFields(Cause.prettyErrors(Cause.fromReasons([reason]))[0]!)
  } catch {
    return plainError(Formatter.format(Cause.isFailReason(reason) ? reason.error : reason.defect))
  }
}

/** An error without a message, as tagged errors usually are, says what it carries. */
const withFields = (error: Error): Error => {
  if (error.message !== "") return error
  const fields = Object.entries(error).filter(([key]) => key !== "name" && key !== "_tag")
  if (fields.length === 0) return error
  reword(error, Formatter.format(Object.fromEntries(fields)))
  return error
}

/** Gives the error another message, which its stack begins with. */
const reword = (error: Error, message: string): void => {
  const head = `${error.name}: ${error.message}`
  error.message = message
  error.stack = `${error.name}: ${message}${error.stack?.slice(head.length) ?? ""}`
}

/** What went wrong beside the task, as defects: it stands among the task's typed failures. */
export const asDefects = (cause: Cause.Cause<unknown>, where: string): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.map((reason) => {
    if (Cause.isDieReason(reason)) return reason
    return Cause.makeDieReason(Cause.isFailReason(reason) ? reason.error : plainError(`${where} interrupted itself`))
  }))

/** The defect as it is, unless it throws when it is read: no logger is to meet that. */
export const readable = (reason: Cause.Reason<never>): Cause.Reason<never> => {
  try {
    Cause.pretty(Cause.fromReasons([reason]))
    return reason
  } catch {
    return Cause.makeDieReason(plainError(describeReason(reason)))
  }
}

export const withoutInterrupts = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.fromReasons(cause.reasons.filter((reason) => !Cause.isInterruptReason(reason)))

/** One line for a message: what the reason says, without its stack. */
export const describeReason = (reason: Cause.Reason<unknown>): string =>
  Cause.isInterruptReason(reason)
    ? "interrupted itself"
    : firstLine(Cause.isFailReason(reason) ? reason.error : reason.defect)

export const firstLine = (error: unknown): string => {
  const { message, name } = rendered(Cause.makeDieReason(error))
  const text = message === "" ? name : name === "Error" ? message : `${name}: ${message}`
  return text.split("\n")[0]!
}

/** Makes an error without a stack: where it was made says nothing, and a stack costs 3.6 µs. */
export const withoutStack = <E extends Error>(make: () => E): E => {
  // SAFETY: the property is V8's; where it is absent or frozen, the error merely has a stack.
  const { stackTraceLimit } = Error as { stackTraceLimit?: number }
  Reflect.set(Error, "stackTraceLimit", 0)
  try {
    return make()
  } finally {
    Reflect.set(Error, "stackTraceLimit", stackTraceLimit)
  }
}

const plainError = (message: string): Error => withoutStack(() => new Error(message))
