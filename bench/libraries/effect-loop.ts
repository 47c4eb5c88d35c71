// What people write by hand: a queue, and workers that take an effect from it and run it.
import { Effect, Latch, Queue } from "effect"
import { type Measure, type Round, type Setting, throughput } from "../round.ts"
import { times } from "./times.ts"

const rounds = (
  setting: Setting,
  worker: (queue: Queue.Queue<Effect.Effect<void>>) => Effect.Effect<never>
): Promise<Round> => {
  const queue = Effect.runSync(Queue.bounded<Effect.Effect<void>>(setting.capacity))
  for (let i = 0; i < setting.workers; i++) Effect.runFork(worker(queue))
  return throughput(setting, (tasks) =>
    Effect.runPromise(Effect.gen(function*() {
      const all = Latch.makeUnsafe()
      let ran = 0
      const task = Effect.sync(() => {
        if (++ran === tasks) all.openUnsafe()
      })
      yield* times(tasks, () => Queue.offer(queue, task))
      yield* all.await
      return ran
    })))
}

export const submit: Measure = (setting) =>
  rounds(setting, (queue) => Effect.forever(Effect.flatten(Queue.take(queue))))

/** Without a yield after each task. */
export const submitTuned: Measure = (setting) =>
  rounds(setting, (queue) => Effect.forever(Effect.flatten(Queue.take(queue)), { disableYield: true }))
