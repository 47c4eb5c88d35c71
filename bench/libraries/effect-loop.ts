// What people write by hand: a queue, and workers that take an effect from it and run it.
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { type Measure, type Setting, throughput } from "../round.ts"
import { noOps, times } from "./no-ops.ts"
import { turnsOf } from "./turns.ts"

type Tasks = Queue.Queue<Effect.Effect<void>>

const loop = (tasks: Tasks): Effect.Effect<never> => Effect.forever(Effect.flatten(Queue.take(tasks)))

/** Without a yield after each task. */
const tunedLoop = (tasks: Tasks): Effect.Effect<never> =>
  Effect.forever(Effect.flatten(Queue.take(tasks)), { disableYield: true })

const start = ({ capacity, workers }: Setting, worker: (tasks: Tasks) => Effect.Effect<never>): Tasks => {
  const queue = Effect.runSync(Queue.bounded<Effect.Effect<void>>(capacity))
  for (let i = 0; i < workers; i++) Effect.runFork(worker(queue))
  return queue
}

export const submit: Measure = (setting) => {
  const queue = start(setting, loop)
  return throughput(setting, (tasks) => Effect.runPromise(noOps(tasks, (task) => Queue.offer(queue, task))))
}

export const submitTuned: Measure = (setting) => {
  const queue = start(setting, tunedLoop)
  return throughput(setting, (tasks) => Effect.runPromise(noOps(tasks, (task) => Queue.offer(queue, task))))
}

/** Submit and wait: a Deferred for each task. */
export const run: Measure = (setting) => {
  const queue = start(setting, tunedLoop)
  const callers = setting.parties!
  return throughput(setting, (tasks) =>
    Effect.runPromise(Effect.suspend(() => {
      let ran = 0
      const task = Effect.sync(() => ++ran)
      const runOne = Effect.gen(function*() {
        const result = yield* Deferred.make<number>()
        yield* Queue.offer(queue, Effect.asVoid(Deferred.into(task, result)))
        return yield* Deferred.await(result)
      })
      const caller = times(tasks / callers, () => runOne)
      return Effect.forEach(Array(callers).keys(), () => caller, { concurrency: callers, discard: true }).pipe(
        Effect.andThen(Effect.sync(() => ran))
      )
    })))
}

export const turnsTuned: Measure = async (setting) => turnsOf(await submitTuned(setting))
