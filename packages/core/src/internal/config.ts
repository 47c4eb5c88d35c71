/**
 * Options of managers and submits, checked and with their defaults.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { TaskManagerOptions } from "../TaskManagerOptions.ts"
import type { TaskOptions } from "../TaskOptions.ts"
import type { Timing } from "./taskRecord.ts"

export interface ManagerConfig {
  readonly workers: number
  readonly capacity: number
  readonly groupCapacity: number
  readonly rate: { readonly limit: number; readonly window: number } | undefined
  readonly maxDelayed: number
  readonly gracePeriod: number
  readonly keepFailed: number
}

/** A bad option, in words: `workers: expected a whole number >= 1, got 0`. */
export class InvalidOption extends Error {
  override readonly name = "InvalidOption"
}

export const resolveConfig = (options: TaskManagerOptions): ManagerConfig => {
  const capacity = whole("capacity", options.capacity ?? 64, 0)
  return {
    workers: whole("workers", options.workers ?? 4, 1),
    capacity,
    groupCapacity: whole("groupCapacity", options.groupCapacity ?? Math.ceil(capacity / 4), 0),
    rate: options.rate === undefined ? undefined : rateOf(options.rate),
    maxDelayed: whole("maxDelayed", options.maxDelayed ?? 10_000, 1),
    gracePeriod: graceMillis(options.gracePeriod ?? "20 seconds"),
    keepFailed: whole("keepFailed", options.keepFailed ?? 100, 0)
  }
}

const rateOf = (rate: NonNullable<TaskManagerOptions["rate"]>): NonNullable<ManagerConfig["rate"]> => {
  if (typeof rate !== "object" || rate === null) invalid("rate", "{ limit, window }", rate)
  return { limit: whole("rate.limit", rate.limit, 1), window: positive("rate.window", rate.window) }
}

export const graceMillis = (input: Duration.Input): number => {
  const value = millis("gracePeriod", input)
  return value >= 0 ? value : invalid("gracePeriod", "a duration >= 0", input)
}

export const checkTask = (task: unknown): void => {
  if (!Effect.isEffect(task)) throw new InvalidOption(`task: expected an Effect, got ${typeof task}`)
}

/** Checks a submit's options and resolves its durations. */
export const resolveTiming = (options: TaskOptions): Timing | undefined => {
  text("name", options.name)
  text("key", options.key)
  text("group", options.group)
  if (options.keyUntil !== undefined && options.keyUntil !== "start" && options.keyUntil !== "end") {
    invalid("keyUntil", `"start" or "end"`, options.keyUntil)
  }
  if (options.priority !== undefined && !Number.isFinite(options.priority)) {
    invalid("priority", "a finite number", options.priority)
  }
  checkRetry(options.retry)
  callable("error", options.error)
  callable("onFailed", options.onFailed)
  const { delay, timeToLive, timeToStart } = options
  if (delay === undefined && timeToStart === undefined && timeToLive === undefined) return undefined
  return {
    delay: delay === undefined ? 0 : Math.ceil(millis("delay", delay)),
    timeToStart: timeToStart === undefined ? Infinity : positive("timeToStart", timeToStart),
    timeToLive: timeToLive === undefined ? Infinity : positive("timeToLive", timeToLive)
  }
}

const checkRetry = (retry: TaskOptions["retry"]): void => {
  if (retry === undefined || Schedule.isSchedule(retry)) return
  if (typeof retry !== "object" || retry === null) invalid("retry", "a Schedule or retry options", retry)
  if (retry.times !== undefined) whole("retry.times", retry.times, 0)
  if (retry.schedule !== undefined && !Schedule.isSchedule(retry.schedule)) {
    invalid("retry.schedule", "a Schedule", retry.schedule)
  }
  callable("retry.while", retry.while)
  callable("retry.until", retry.until)
}

export const whole = (name: string, value: number, minimum: number): number =>
  Number.isSafeInteger(value) && value >= minimum
    ? value
    : invalid(name, `a whole number >= ${minimum}`, value)

const text = (name: string, value: string | undefined): void => {
  if (value !== undefined && typeof value !== "string") invalid(name, "a string", value)
}

const callable = (name: string, value: unknown): void => {
  if (value !== undefined && typeof value !== "function") invalid(name, "a function", value)
}

/** Effect takes NaN for 0. */
const millis = (name: string, input: Duration.Input): number => {
  const value = Number.isNaN(input) ? Option.none() : Option.map(Duration.fromInput(input), Duration.toMillis)
  return Option.isSome(value) ? value.value : invalid(name, "a duration", input)
}

const positive = (name: string, input: Duration.Input): number => {
  const value = millis(name, input)
  return value > 0 ? value : invalid(name, "a duration > 0", input)
}

export const invalid = (name: string, expected: string, got: unknown): never => {
  throw new InvalidOption(`${name}: expected ${expected}, got ${Formatter.format(got)}`)
}
