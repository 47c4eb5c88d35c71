/**
 * Submits at each step of a schedule, until the scope closes or the manager stops.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { TaskOptions } from "../TaskOptions.ts"
import { checkTask, InvalidOption, resolveTiming } from "./config.ts"
import type { Kernel } from "./kernel.ts"
import { logScheduleFailed } from "./log.ts"
import { submit } from "./submission.ts"
import { SubmitsLater } from "./submitter.ts"
import type { AnyEffect } from "./taskRecord.ts"

export const recurring = (
  kernel: Kernel,
  task: AnyEffect,
  schedule: Schedule.Schedule<unknown, unknown, unknown>,
  options: TaskOptions = {}
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    checkTask(task)
    resolveTiming(options)
    if (!Schedule.isSchedule(schedule)) throw new InvalidOption("schedule: expected a Schedule")
    if (kernel.phase !== "running") return
    const step = yield* Schedule.toStep(schedule)
    const next = Effect.flatMap(Clock.currentTimeMillis, (now) => asOption(step(now, undefined)))
    const first = yield* Effect.orDie(next)
    if (first === undefined) return
    const name = options.name ?? "task"
    const loop = occurrences(kernel, task, options, first, next).pipe(
      Effect.catchCause((cause) => logScheduleFailed(kernel, name, cause)),
      Effect.provideService(SubmitsLater, true)
    )
    const fiber = yield* Effect.forkScoped(loop)
    const stop = () => fiber.interruptUnsafe()
    // The shutdown may have begun since this fiber looked.
    if (kernel.phase !== "running") return stop()
    kernel.drainListeners.add(stop)
    fiber.addObserver(() => kernel.drainListeners.delete(stop))
  })

const occurrences = Effect.fnUntraced(function*(
  kernel: Kernel,
  task: AnyEffect,
  options: TaskOptions,
  first: Duration.Duration,
  next: Effect.Effect<Duration.Duration | undefined, unknown>
) {
  const counters = kernel.ledger.countersOf(options.name ?? "task")
  const submitAndAwait = Effect.flatMap(submit(kernel, task, options), (handle) => handle.await)
  let last: Fiber.Fiber<unknown, unknown> | undefined
  for (let delay: Duration.Duration | undefined = first; delay !== undefined; delay = yield* next) {
    yield* Effect.sleep(delay)
    if (last !== undefined && last.pollUnsafe() === undefined) counters.skipped++
    else last = yield* Effect.forkChild(submitAndAwait, { startImmediately: true })
  }
  if (last !== undefined) yield* Fiber.await(last)
})

const asOption = (
  step: Pull.Pull<[unknown, Duration.Duration], unknown, unknown>
): Effect.Effect<Duration.Duration | undefined, unknown> =>
  Pull.matchEffect(step, {
    onSuccess: ([, delay]) => Effect.succeed(delay),
    onDone: () => Effect.succeed(undefined),
    onFailure: (cause: Cause.Cause<unknown>) => Effect.failCause(cause)
  })
