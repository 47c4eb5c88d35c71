// Bytes of the heap per task, all garbage collected.
import { type TaskHandle, TaskManager, type TaskOptions } from "@effect-tasks/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { expectRan, heapInUse, type Measure, type Setting } from "../round.ts"
import { noOps } from "./no-ops.ts"

const start = (setting: Setting) =>
  Effect.runPromise(
    TaskManager.make({
      workers: setting.workers,
      capacity: setting.tasks,
      maxDelayed: setting.tasks + 1,
      gracePeriod: 0
    })
      .pipe(Scope.provide(Scope.makeUnsafe()))
  )

/** What compiled code, caches and grown tables take does not belong to the tasks. */
const warmUp = (manager: Effect.Success<ReturnType<typeof TaskManager.make>>) =>
  Effect.runPromise(noOps(1000, (task) => manager.submit(task)))

const kept = (options: TaskOptions): Measure => async (setting) => {
  const manager = await start(setting)
  await warmUp(manager)
  await Effect.runPromise(manager.pause)
  return async () => {
    const before = heapInUse()
    const task = Effect.void
    await Effect.runPromise(
      Effect.forEach(Array(setting.tasks).keys(), () => manager.submit(task, options), { discard: true })
    )
    const bytes = (heapInUse() - before) / setting.tasks
    const { delayed, waiting } = await Effect.runPromise(manager.stats)
    expectRan(delayed + waiting, setting.tasks)
    return { bytes }
  }
}

/** Waits for a worker; nobody holds its handle. */
export const waiting = kept({})

/** Waits for its time. */
export const delayed = kept({ delay: "1 hour" })

/** Has completed, and its handle is still held. */
export const settled: Measure = async (setting) => {
  const manager = await start(setting)
  await warmUp(manager)
  return async () => {
    const handles: Array<TaskHandle<number>> = Array(setting.tasks)
    const before = heapInUse()
    await Effect.runPromise(Effect.gen(function*() {
      const task = Effect.succeed(1)
      for (let i = 0; i < setting.tasks; i++) handles[i] = yield* manager.submit(task)
      yield* manager.awaitIdle
    }))
    const bytes = (heapInUse() - before) / setting.tasks
    const exits = await Effect.runPromise(Effect.forEach(handles, (handle) => Effect.exit(handle.join)))
    expectRan(exits.filter(Exit.isSuccess).length, setting.tasks)
    return { bytes }
  }
}
