/**
 * When a failed attempt is followed by another: the user's retry options as a `Schedule`, and one step of it.
 *
 * The schedule is the same as under `Effect.retry`, whose builder is internal to Effect; it is stepped by hand so that
 * a task waits in the delay heap and not in a sleeping fiber.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { Retry } from "../TaskOptions.ts"

/** What is kept of a task's schedule between its attempts. */
export interface RetryProgress {
  readonly step: (now: number, error: unknown) => Pull.Pull<[unknown, Duration.Duration], unknown, unknown>
  /** Of the last step: `Schedule.CurrentMetadata` of the attempt that follows it. */
  metadata: Schedule.Metadata | undefined
}

const oneMinute = Duration.minutes(1)

const atMostOneMinute = Schedule.modifyDelay(
  ({ duration }: Schedule.Metadata) => Effect.succeed(Duration.min(duration, oneMinute))
)

/** Capped before the jitter too, so that late retries do not all come after exactly one minute. */
const defaultSchedule = Schedule.exponential("500 millis", 1.5).pipe(
  atMostOneMinute,
  Schedule.jittered,
  atMostOneMinute
)

const toSchedule = <E>(retry: Retry<E>): Schedule.Schedule<unknown, E, unknown> => {
  if (Schedule.isSchedule(retry)) return retry
  const { schedule = defaultSchedule, times, until, while: while_ } = retry
  let result: Schedule.Schedule<unknown, E, unknown> = Schedule.passthrough(schedule)
  if (while_ !== undefined) result = Schedule.while(result, ({ input }) => asEffect(while_(input)))
  if (until !== undefined) {
    result = Schedule.while(result, ({ input }) => Effect.map(asEffect(until(input)), (end) => !end))
  }
  if (times !== undefined) result = Schedule.while(result, ({ attempt }) => Effect.succeed(attempt <= times))
  return result
}

const asEffect = (answer: boolean | Effect.Effect<boolean>): Effect.Effect<boolean> =>
  Effect.isEffect(answer) ? answer : Effect.succeed(answer)

/** To be run before the first attempt, as `Effect.retry` does: a schedule may count from its own start. */
export const beginRetry = (retry: Retry<unknown>): Effect.Effect<RetryProgress> =>
  Effect.map(Effect.suspend(() => Schedule.toStep(toSchedule(retry))), (step) => ({ step, metadata: undefined }))

/** Advances the schedule: the milliseconds until the next attempt, or undefined when there is none. */
export const nextDelay = (
  progress: RetryProgress,
  now: number,
  error: unknown
): Effect.Effect<number | undefined, unknown> =>
  Effect.suspend(() =>
    Pull.matchEffect(progress.step(now, error), {
      onSuccess: ([output, duration]) => {
        progress.metadata = following(progress.metadata, now, error, output, duration)
        return Effect.succeed(Math.max(0, Math.ceil(Duration.toMillis(duration))))
      },
      onDone: () => Effect.succeed(undefined),
      onFailure: Effect.failCause
    })
  )

const following = (
  last: Schedule.Metadata | undefined,
  now: number,
  input: unknown,
  output: unknown,
  duration: Duration.Duration
): Schedule.Metadata => {
  const start = last?.start ?? now
  return {
    input,
    output,
    duration,
    now,
    start,
    attempt: (last?.attempt ?? 0) + 1,
    elapsed: now - start,
    elapsedSincePrevious: now - (last?.now ?? now)
  }
}
