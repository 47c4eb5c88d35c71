import { QueueFullError, TaskManager, type TaskOptions } from "@effect-tasks/core"
import { Deferred, Effect } from "effect"

/** Runs in a fiber of its own, up to where it suspends. */
export const start = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

export const times = <A, E, R>(n: number, effect: (i: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: n }, (_, i) => i), effect)

/** Submits a task that runs until it is let go; it has begun. */
export const busy = (options?: TaskOptions) =>
  Effect.gen(function*() {
    const begun = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const task = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(gate))
    const handle = yield* TaskManager.submit(task, options)
    yield* Deferred.await(begun)
    yield* Effect.yieldNow
    return { handle, letGo: Deferred.succeed(gate, undefined) }
  })

export const isFull = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.flip(effect), (error) => error instanceof QueueFullError)
