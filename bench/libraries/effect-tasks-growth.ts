// What must not cost more when there is more of it.
import { TaskManager, type TaskOptions } from "@effect-tasks/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { cost, expectRan, type Measure, type Setting, throughput } from "../round.ts"
import { ManualClock } from "./manual-clock.ts"
import { noOps, times } from "./no-ops.ts"

const start = ({ capacity, workers }: Setting) =>
  ManagedRuntime.make(TaskManager.layer({ workers, capacity, groupCapacity: capacity }))

const submitWith = (options: (i: number, setting: Setting) => TaskOptions): Measure => (setting) => {
  const runtime = start(setting)
  return throughput(setting, (tasks) =>
    runtime.runPromise(
      Effect.flatMap(TaskManager, (manager) => noOps(tasks, (task, i) => manager.submit(task, options(i, setting))))
    ))
}

export const named = submitWith(() => ({ name: "no-op" }))
export const priorities = submitWith((i) => ({ priority: i * 7919 % 100 }))
export const keys = submitWith((i) => ({ key: String(i) }))
export const groups = submitWith((i, { parties }) => ({ group: String(i % parties!) }))

/** Many producers that are suspended at a full queue, each with one task; they are served in their order. */
export const producers: Measure = (setting) => {
  const runtime = start(setting)
  return throughput(setting, (tasks) =>
    runtime.runPromise(Effect.gen(function*() {
      const manager = yield* TaskManager
      const order: Array<number> = []
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      yield* manager.pause
      for (let i = 0; i < tasks; i++) {
        const submit = Effect.tap(manager.submit(Effect.void), () => Effect.sync(() => order.push(i)))
        fibers.push(yield* Effect.forkChild(submit, { startImmediately: true }))
      }
      yield* manager.resume
      yield* Fiber.joinAll(fibers)
      yield* manager.awaitIdle
      return order.filter((producer, place) => producer === place).length
    })))
}

/** Delayed starts, 100 at each of many times: what it takes to hand them over, and to run them when time goes by. */
export const delayed: Measure = async ({ capacity, tasks, workers }) => {
  const clock = new ManualClock()
  const runtime = ManagedRuntime.make(
    TaskManager.layer({ workers, capacity, maxDelayed: tasks + 1 }).pipe(Layer.provideMerge(clock.layer))
  )
  const manager = await runtime.runPromise(TaskManager)
  const millis = tasks / 100
  let ran = 0
  const task = Effect.sync(() => void ran++)
  const batch = async () => {
    ran = 0
    const insert = await cost(() =>
      runtime.runPromise(times(tasks, (i) => manager.submit(task, { delay: 1 + i * 7919 % millis })))
    )
    if (clock.sleeping > 1) throw new Error(`${clock.sleeping} timers for ${tasks} delayed tasks`)
    const drain = await cost(async () => {
      for (let i = 0; i < millis; i++) await clock.advance(1)
      await runtime.runPromise(manager.awaitIdle)
    })
    expectRan(ran, tasks)
    return { insert: insert.main, drain: drain.main }
  }
  const batches = async (atLeast: number) => {
    const sum = { insert: 0, drain: 0, tasks: 0 }
    while (sum.tasks < atLeast) {
      const { drain, insert } = await batch()
      sum.insert += insert
      sum.drain += drain
      sum.tasks += tasks
    }
    return { insertedPerSecond: sum.tasks / sum.insert * 1000, drainedPerSecond: sum.tasks / sum.drain * 1000 }
  }
  await batches(100_000)
  return () => batches(20_000)
}
