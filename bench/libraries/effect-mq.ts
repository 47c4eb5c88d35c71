import { Job, MemoryJobStore, Worker } from "effect-mq"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { type Measure, throughput } from "../round.ts"
import { times } from "./no-ops.ts"

class NoOp extends Job.make("NoOp", { payload: {}, defaults: { keep: { count: 0 } } }) {}

/** It has no bound; the memory store is the fastest of its stores. */
export const submit: Measure = (setting) => {
  let wanted = 0
  let ran = 0
  const all = Latch.makeUnsafe()
  const handler = Effect.sync(() => {
    if (++ran === wanted) all.openUnsafe()
  })
  const runtime = ManagedRuntime.make(
    NoOp.toLayer(() => handler, { concurrency: setting.workers }).pipe(
      Layer.provideMerge(Worker.layer()),
      Layer.provideMerge(MemoryJobStore.layer)
    )
  )
  return throughput(setting, (tasks) =>
    runtime.runPromise(Effect.gen(function*() {
      wanted = tasks
      ran = 0
      all.closeUnsafe()
      yield* times(tasks, () => NoOp.enqueue({}))
      yield* all.await
      return ran
    })))
}
