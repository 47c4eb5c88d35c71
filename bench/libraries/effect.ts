// What Effect does by itself: the floor that the costs of a task manager stand on.
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import { expectRan, heapInUse, type Measure, type Round, throughput } from "../round.ts"
import { echoClient } from "./echo.ts"
import { failingThrice } from "./failing.ts"
import { idleSecond } from "./idle.ts"
import { latencies } from "./latencies.ts"
import { times } from "./no-ops.ts"

const inParallel = (concurrency: number, tasks: number, task: Effect.Effect<void>): Promise<void> =>
  Effect.runPromise(Effect.forEach(Array(tasks).keys(), () => task, { concurrency, discard: true }))

/** Timers of 1 ms, as many at once as there are workers. */
export const timers: Measure = (setting) =>
  throughput(setting, async (tasks) => {
    let ran = 0
    await inParallel(setting.workers, tasks, Effect.andThen(Effect.sleep(1), Effect.sync(() => void ran++)))
    return ran
  })

/** Round trips over TCP sockets, one for each worker. */
export const sockets: Measure = async (setting) => {
  const client = await echoClient(setting.workers)
  return throughput(setting, async (tasks) => {
    let ran = 0
    await inParallel(setting.workers, tasks, Effect.andThen(client, Effect.sync(() => void ran++)))
    return ran
  })
}

/** From a fork to the first instruction of the fiber. */
export const latency: Measure = ({ tasks }) => latencies(tasks, (started) => Effect.asVoid(Effect.forkDetach(started)))

/** Three retries, then success, one task after the other. */
export const retry: Measure = (setting) =>
  throughput(setting, async (tasks) => {
    let ran = 0
    const task = () => Effect.retry(failingThrice(() => ran++), Schedule.recurs(3))
    await Effect.runPromise(times(tasks, task))
    return ran
  })

/** Bytes of an effect that waits in a queue. */
export const waiting: Measure = ({ tasks }): Round => async () => {
  const before = heapInUse()
  const queue = await Effect.runPromise(Queue.bounded<Effect.Effect<void>>(tasks))
  for (let i = 0; i < tasks; i++) Queue.offerUnsafe(queue, Effect.void)
  const bytes = (heapInUse() - before) / tasks
  expectRan(await Effect.runPromise(Queue.size(queue)), tasks)
  return { bytes }
}

/** Bytes of a fiber that sleeps before it runs its task. */
export const delayed: Measure = ({ tasks }): Round => async () => {
  const before = heapInUse()
  const fibers = Array.from({ length: tasks }, () => Effect.runFork(Effect.delay(Effect.void, "1 hour")))
  const bytes = (heapInUse() - before) / tasks
  await Effect.runPromise(Fiber.interruptAll(fibers))
  return { bytes }
}

/** Bytes of a fiber that has ended and is still held. */
export const settled: Measure = ({ tasks }): Round => async () => {
  const before = heapInUse()
  const fibers = Array.from({ length: tasks }, () => Effect.runFork(Effect.succeed(1)))
  const bytes = (heapInUse() - before) / tasks
  expectRan(fibers.filter((fiber) => fiber.pollUnsafe()?._tag === "Success").length, tasks)
  return { bytes }
}

/** A process that does nothing. */
export const idle: Measure = () => idleSecond
