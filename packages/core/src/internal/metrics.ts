/**
 * The counters of a manager as Effect metrics, tagged with the manager's id and the task's name. They are read when
 * somebody asks (`Metric.snapshot`, an exporter), so that a task pays nothing for them.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { Histogram, type NameCounters } from "./counters.ts"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

const submitted = counter("effect_tasks_submitted_total", "Tasks accepted")
const attempts = counter("effect_tasks_attempts_total", "Attempts started")
const retries = counter("effect_tasks_retries_total", "Failed attempts that another one follows")
const skipped = counter("effect_tasks_skipped_total", "Occurrences of a schedule that found the last one still in")
const outcomes = counter("effect_tasks_outcomes_total", "Tasks that ended, by outcome")
const waiting = Metric.gauge("effect_tasks_waiting", { description: "Tasks that wait for their first start" })
const delayed = Metric.gauge("effect_tasks_delayed", {
  description: "Retries and delayed starts that have not started"
})
const running = Metric.gauge("effect_tasks_running", { description: "Tasks on a worker" })
const capacity = Metric.gauge("effect_tasks_capacity", { description: "Tasks that may wait" })
const boundaries = Histogram.boundaries
const waitTime = Metric.histogram("effect_tasks_wait_seconds", {
  description: "From admission, or the due time, to the first start",
  boundaries
})
const runTime = Metric.histogram("effect_tasks_run_seconds", { description: "Of one attempt", boundaries })

const count = (count: number) => ({ count, incremental: true })

export class Metrics {
  readonly #context: Context.Context<never>
  readonly #manager: string
  readonly #gauges: Array<Metric.Registration> = []

  constructor(context: Context.Context<never>, manager: string, size: number) {
    this.#context = context
    this.#manager = manager
    this.#gauges.push(this.#register(capacity, {}, () => ({ value: size })))
  }

  /** Registers the series of one task name. */
  add(counters: NameCounters): void {
    const labels = { task: counters.name }
    const { states } = counters
    this.#register(submitted, labels, () => count(counters.submitted))
    this.#register(attempts, labels, () => count(counters.attempts))
    this.#register(retries, labels, () => count(counters.retries))
    this.#register(skipped, labels, () => count(counters.skipped))
    for (const outcome of ["completed", "failed", "aborted"] as const) {
      this.#register(outcomes, { ...labels, outcome }, () => count(states[outcome].tasks))
    }
    this.#gauges.push(
      this.#register(waiting, labels, () => ({ value: states.waiting.tasks })),
      this.#register(delayed, labels, () => ({ value: states.delayed.tasks })),
      this.#register(running, labels, () => ({ value: states.running.tasks }))
    )
    this.#register(waitTime, labels, () => counters.waitTime.read())
    this.#register(runTime, labels, () => counters.runTime.read())
  }

  /** Of a manager that is gone, only the counts stay: an exporter that is outlived by nothing has still to send them. */
  removeGauges(): void {
    for (const gauge of this.#gauges) gauge.remove()
  }

  #register<Input, State>(
    metric: Metric.Metric<Input, State>,
    labels: Record<string, string>,
    get: () => NoInfer<State>
  ): Metric.Registration {
    const series = Metric.withAttributes(metric, { manager: this.#manager, ...labels })
    const hooks = { get, update: () => {}, modify: () => {} }
    return Metric.registerUnsafe(series, this.#context, hooks)
  }
}
