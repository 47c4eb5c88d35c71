import { TaskManager } from "@effect-tasks/core"
import { Effect, Latch, ManagedRuntime } from "effect"
import { type Measure, throughput } from "../round.ts"
import { times } from "./times.ts"

/** Submits as fast as the queue lets it, with everything on that is on by default. */
export const submit: Measure = (setting) => {
  const runtime = ManagedRuntime.make(TaskManager.layer(setting))
  return throughput(setting, (tasks) =>
    runtime.runPromise(Effect.gen(function*() {
      const manager = yield* TaskManager
      const all = Latch.makeUnsafe()
      let ran = 0
      const task = Effect.sync(() => {
        if (++ran === tasks) all.openUnsafe()
      })
      yield* times(tasks, () => manager.submit(task))
      yield* all.await
      return ran
    })))
}
