// What is measured, against what, and which goal it has to meet. No library is loaded here.
import type { Setting } from "./round.ts"

/** How a figure reads. */
type Unit = "tasks/s"

/** A bound on a figure, or on what it compares to. `guard` is the bound for CI, wide, since noise is large there. */
export interface Goal {
  readonly atLeast?: number
  readonly atMost?: number
  readonly guard?: number
}

export interface Contender {
  readonly label: string
  /** The module in `libraries/`, and what it exports. */
  readonly library: string
  readonly measure: string
  readonly setting?: Partial<Setting>
  readonly goal?: Goal
}

/** One block of the table: its first contender is the subject, the others are what it is compared with. */
export interface Benchmark {
  readonly id: string
  readonly title: string
  readonly figure: string
  readonly unit: Unit
  readonly setting: Setting
  readonly contenders: readonly [Contender, ...ReadonlyArray<Contender>]
}

const submit = (
  workers: number,
  capacity: number,
  goals: { readonly loop: Goal; readonly promises: Goal; readonly mq: Goal }
): Benchmark => ({
  id: `submit ${workers} ${capacity}`,
  title: `submit a no-op: ${workers} workers, capacity ${capacity}`,
  figure: "perSecond",
  unit: "tasks/s",
  setting: { workers, capacity, tasks: 100_000 },
  contenders: [
    { label: "effect-tasks", library: "effect-tasks", measure: "submit" },
    { label: "Effect loop, tuned", library: "effect-loop", measure: "submitTuned", goal: goals.loop },
    { label: "Effect loop", library: "effect-loop", measure: "submit" },
    { label: "fastq", library: "fastq", measure: "submit", goal: goals.promises },
    { label: "fastq, in batches of the capacity", library: "fastq", measure: "submitInBatches" },
    { label: "p-queue", library: "p-queue", measure: "submit", goal: goals.promises },
    { label: "effect-mq", library: "effect-mq", measure: "submit", setting: { tasks: 1000 }, goal: goals.mq }
  ]
})

const againstMq: Goal = { atLeast: 300 }

export const benchmarks: ReadonlyArray<Benchmark> = [
  submit(8, 1024, { loop: { atLeast: 0.7 }, promises: { atLeast: 4 }, mq: againstMq }),
  submit(4, 64, { loop: { atLeast: 1.5 }, promises: { atLeast: 3 }, mq: againstMq }),
  submit(64, 65536, { loop: { atLeast: 0.7 }, promises: { atLeast: 4 }, mq: againstMq })
]
