/**
 * The end of a manager: drain, grace period, interrupt, one report (law 11). The kernel does the steps; here callers
 * wait for them.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { ShutdownReport } from "../TaskStats.ts"
import { Capped } from "./causes.ts"
import type { Kernel } from "./kernel.ts"
import { logReport } from "./log.ts"
import { currentTask } from "./submission.ts"

export class Shutdown {
  readonly #kernel: Kernel
  readonly #listeners = new Set<(report: ShutdownReport) => void>()
  #report: ShutdownReport | undefined

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Begins the shutdown, or shortens the one under way, and waits for the report. */
  run(gracePeriod: number): Effect.Effect<ShutdownReport> {
    return notFromInside(
      this.#kernel,
      "shutdown",
      Effect.callback<ShutdownReport>((resume) => {
        if (this.#report === undefined) this.#kernel.drain(gracePeriod)
        if (this.#report !== undefined) return resume(Exit.succeed(this.#report))
        const listener = (report: ShutdownReport) => resume(Exit.succeed(report))
        this.#listeners.add(listener)
        return Effect.sync(() => void this.#listeners.delete(listener))
      })
    )
  }

  /** Everything has ended. Logged before the callers go on, since one of them may exit the process at once. */
  finish(): void {
    const { stats, unfinished } = this.#kernel
    const errors = new Capped<Cause.Reason<unknown>>()
    for (const { error } of unfinished) errors.add(Cause.makeFailReason(error))
    const report = this.#report = {
      stats,
      unfinished: unfinished.map(({ task }) => task),
      cause: unfinished.length === 0 ? Option.none() : Option.some(errors.toCause((reason) => [reason], "task"))
    }
    logReport(this.#kernel, report)
    for (const listener of this.#listeners) listener(report)
  }
}

/** Waits until no task is waiting, delayed or running, and no submit is suspended. */
export const awaitIdle = (kernel: Kernel): Effect.Effect<void> =>
  notFromInside(
    kernel,
    "awaitIdle",
    Effect.callback((resume) => {
      if (kernel.isIdle) return resume(Effect.void)
      const listener = () => resume(Effect.void)
      kernel.idleListeners.add(listener)
      return Effect.sync(() => void kernel.idleListeners.delete(listener))
    })
  )

const notFromInside = <A>(kernel: Kernel, verb: string, effect: Effect.Effect<A>): Effect.Effect<A> =>
  Effect.withFiber((fiber) => {
    const current = currentTask(fiber)
    const task = current && kernel.lending.outermost(current)
    if (task === undefined) return effect
    return Effect.die(new Error(`${verb} was called inside task ${task.name} (${task.id}), which it would wait for`))
  })
