import { TaskManager } from "@effect-tasks/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import { type Measure, type Round, type Setting, throughput } from "../round.ts"
import { echoClient } from "./echo.ts"
import { failingThrice } from "./failing.ts"
import { idleSecond } from "./idle.ts"
import { latencies } from "./latencies.ts"
import { noOps, times } from "./no-ops.ts"
import { turnsOf } from "./turns.ts"

/** A manager that logs nothing, since a log entry costs more than all the rest of a task. */
const start = ({ capacity, workers }: Setting) =>
  ManagedRuntime.make(
    TaskManager.layer({ workers, capacity }).pipe(Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None")))
  )

/** Submits as fast as the queue lets it, with everything on that is on by default. */
export const submit: Measure = (setting) => {
  const runtime = start(setting)
  return throughput(
    setting,
    (tasks) =>
      runtime.runPromise(Effect.flatMap(TaskManager, (manager) => noOps(tasks, (task) => manager.submit(task))))
  )
}

/** Submit and wait for the result. */
export const run: Measure = (setting) => {
  const runtime = start(setting)
  const callers = setting.parties!
  return throughput(setting, (tasks) =>
    runtime.runPromise(Effect.gen(function*() {
      const manager = yield* TaskManager
      let ran = 0
      const task = Effect.sync(() => ++ran)
      const caller = times(tasks / callers, () => manager.run(task))
      yield* Effect.forEach(Array(callers).keys(), () => caller, { concurrency: callers, discard: true })
      return ran
    })))
}

const untilIdle = (
  setting: Setting,
  task: (ran: () => void) => Effect.Effect<unknown, unknown>,
  options?: { readonly retry: Schedule.Schedule<unknown> }
): Promise<Round> => {
  const runtime = start(setting)
  return throughput(setting, (tasks) =>
    runtime.runPromise(Effect.gen(function*() {
      const manager = yield* TaskManager
      let ran = 0
      yield* times(tasks, () => manager.submit(task(() => ran++), options))
      yield* manager.awaitIdle
      return ran
    })))
}

/** Timers of 1 ms. */
export const timers: Measure = (setting) =>
  untilIdle(setting, (ran) => Effect.andThen(Effect.sleep(1), Effect.sync(ran)))

/** Round trips over TCP sockets. */
export const sockets: Measure = async (setting) => {
  const client = await echoClient(setting.workers)
  return untilIdle(setting, (ran) => Effect.andThen(client, Effect.sync(ran)))
}

/** From the submit to the first instruction of the task, when the manager is idle. */
export const latency: Measure = async (setting) => {
  const manager = await start(setting).runPromise(TaskManager)
  return latencies(setting.tasks, (started) => Effect.asVoid(manager.submit(started)))
}

/** Three retries by the manager, then success. */
export const retry: Measure = (setting) => untilIdle(setting, failingThrice, { retry: Schedule.recurs(3) })

/** The same retries by Effect, inside the task. */
export const retryInside: Measure = (setting) =>
  untilIdle(setting, (succeeded) => Effect.retry(failingThrice(succeeded), Schedule.recurs(3)))

export const success: Measure = (setting) => untilIdle(setting, (ran) => Effect.sync(ran))

/** Fails for good, with a report but, the log being off, without a log entry. */
export const failure: Measure = (setting) =>
  untilIdle(setting, (ran) =>
    Effect.suspend(() => {
      ran()
      return Effect.fail("no")
    }))

export const turns: Measure = async (setting) => turnsOf(await submit(setting))

/** A manager with nothing to do. */
export const idle: Measure = async (setting) => {
  await start(setting).runPromise(TaskManager)
  return idleSecond
}
