// What is measured, against what, and which goals it has to meet. No library is loaded here.
import type { Setting } from "./round.ts"
import type { Goal } from "./verdict.ts"

export type Unit = "tasks/s" | "µs" | "ms" | "bytes" | "times"

export interface Contender {
  readonly label: string
  /** The module in `libraries/`, and what it exports. */
  readonly library: string
  readonly measure: string
  readonly setting?: Partial<Setting>
  /** Left out by `--quick`. */
  readonly slow?: boolean
}

/** A block of the table. */
export interface Figure {
  readonly name: string
  readonly title: string
  readonly unit: Unit
  /** Whether the first contender is compared with each other one as a multiple of it, or by what it has more. */
  readonly compare?: "ratio" | "difference"
  /** By label. */
  readonly goals?: Readonly<Record<string, Goal>>
}

/** Contenders that take turns; the first of them is the subject. */
export interface Benchmark {
  /** What a word on the command line is looked for in. */
  readonly id: string
  readonly setting: Setting
  /** What `--quick` changes. */
  readonly quick?: Partial<Setting>
  readonly contenders: ReadonlyArray<Contender>
  readonly figures: ReadonlyArray<Figure>
  /** At most so many: where chance has no part in the figure, or where a round is long. */
  readonly rounds?: number
  readonly slow?: boolean
}

const core = (label: string, measure: string, more?: Partial<Contender>): Contender => ({
  label,
  library: "effect-tasks",
  measure,
  ...more
})

const growth = (label: string, measure: string, more?: Partial<Contender>): Contender => ({
  label,
  library: "effect-tasks-growth",
  measure,
  ...more
})

const tasksOf = (tasks: number): string => `${tasks.toLocaleString("en")} tasks`

// --- against others ---

const submit = (
  workers: number,
  capacity: number,
  goals: Readonly<Record<string, Goal>>,
  slow: boolean
): Benchmark => ({
  id: `submit ${workers}/${capacity}`,
  setting: { workers, capacity, tasks: 100_000 },
  quick: { tasks: 20_000 },
  contenders: [
    core("effect-tasks", "submit"),
    { label: "Effect loop, tuned", library: "effect-loop", measure: "submitTuned" },
    { label: "Effect loop", library: "effect-loop", measure: "submit", slow },
    { label: "p-queue", library: "p-queue", measure: "submit" },
    { label: "fastq", library: "fastq", measure: "submit", slow },
    { label: "fastq, batches of the capacity", library: "fastq", measure: "submitInBatches", slow: true },
    { label: "effect-mq, memory store", library: "effect-mq", measure: "submit", setting: { tasks: 1000 }, slow }
  ],
  figures: [{
    name: "perSecond",
    title: `submit no-ops: ${workers} workers, capacity ${capacity}`,
    unit: "tasks/s",
    compare: "ratio",
    goals: { ...goals, "effect-mq, memory store": { atLeast: 300, guard: 10 } }
  }]
})

const run = (parties: number, tasks: number, title: string, goal: Goal): Benchmark => ({
  id: `run ${parties}`,
  setting: { workers: 8, capacity: 1024, tasks, parties },
  contenders: [
    core("effect-tasks", "run"),
    { label: "p-queue", library: "p-queue", measure: "run" },
    { label: "fastq", library: "fastq", measure: "run", slow: true },
    { label: "Effect loop, tuned, with a Deferred", library: "effect-loop", measure: "run", slow: true }
  ],
  figures: [{ name: "perSecond", title, unit: "tasks/s", compare: "ratio", goals: { "p-queue": goal } }]
})

const work = (id: string, measure: string, title: string): Benchmark => ({
  id,
  setting: { workers: 100, capacity: 1024, tasks: 10_000 },
  contenders: [
    core("effect-tasks", measure),
    { label: "Effect.forEach, concurrency 100", library: "effect", measure }
  ],
  figures: [{
    name: "microsOfAllThreads",
    title,
    unit: "µs",
    compare: "difference",
    goals: { "Effect.forEach, concurrency 100": { atMost: 5 } }
  }]
})

const latency: Benchmark = {
  id: "latency",
  setting: { workers: 4, capacity: 64, tasks: 1000 },
  contenders: [
    core("effect-tasks", "latency"),
    { label: "Effect.forkDetach", library: "effect", measure: "latency" }
  ],
  figures: [
    {
      name: "p50",
      title: "idle, from submit to start: median",
      unit: "µs",
      compare: "difference",
      goals: { "Effect.forkDetach": { atMost: 20 } }
    },
    { name: "p99", title: "idle, from submit to start: 99th percentile", unit: "µs", compare: "difference" }
  ]
}

const retry: Benchmark = {
  id: "retry",
  setting: { workers: 8, capacity: 1024, tasks: 20_000 },
  contenders: [
    core("effect-tasks: submit(task, { retry })", "retry"),
    core("submit(Effect.retry(task))", "retryInside"),
    { label: "Effect.retry(task) in a loop", library: "effect", measure: "retry", slow: true }
  ],
  figures: [{
    name: "micros",
    title: "a task with 3 retries",
    unit: "µs",
    compare: "ratio",
    goals: { "submit(Effect.retry(task))": { atMost: 1.2, guard: 3 } }
  }]
}

const failure: Benchmark = {
  id: "failure",
  setting: { workers: 8, capacity: 1024, tasks: 20_000 },
  contenders: [core("a task that fails for good", "failure"), core("a task that succeeds", "success")],
  figures: [{
    name: "micros",
    title: "a final failure, with its report",
    unit: "µs",
    compare: "ratio",
    goals: { "a task that succeeds": { atMost: 5, guard: 15 } }
  }]
}

const eventLoop: Benchmark = {
  id: "event-loop",
  setting: { workers: 8, capacity: 1024, tasks: 100_000 },
  quick: { tasks: 20_000 },
  contenders: [
    core("effect-tasks", "turns"),
    { label: "Effect loop, tuned", library: "effect-loop", measure: "turnsTuned", slow: true },
    { label: "fastq", library: "fastq", measure: "turns", slow: true },
    { label: "p-queue", library: "p-queue", measure: "turns", slow: true }
  ],
  figures: [
    {
      name: "p99",
      title: "event-loop delay under no-ops at full speed: 99th percentile",
      unit: "ms",
      goals: { "effect-tasks": { atMost: 20 } }
    },
    { name: "max", title: "event-loop delay under no-ops at full speed: longest", unit: "ms" }
  ]
}

const idle: Benchmark = {
  id: "idle",
  setting: { workers: 8, capacity: 1024, tasks: 0 },
  rounds: 1,
  contenders: [core("effect-tasks", "idle"), { label: "nothing", library: "effect", measure: "idle" }],
  figures: [
    {
      name: "millis",
      title: "CPU in a second without tasks",
      unit: "ms",
      compare: "difference",
      goals: { nothing: { atMost: 2 } }
    },
    {
      name: "wakeUps",
      title: "wake-ups in a second without tasks",
      unit: "times",
      compare: "difference",
      goals: { nothing: { atMost: 2 } }
    }
  ]
}

// --- memory ---

const sizes = [1000, 10_000, 100_000, 1_000_000]

const memory = (measure: string, title: string, atMost: number, others: ReadonlyArray<Contender>): Benchmark => ({
  id: `memory ${measure}`,
  setting: { workers: 4, capacity: 64, tasks: 100_000 },
  rounds: 1,
  contenders: [
    ...sizes.map((tasks): Contender => ({
      label: `effect-tasks, ${tasksOf(tasks)}`,
      library: "effect-tasks-memory",
      measure,
      setting: { tasks },
      slow: tasks !== 100_000
    })),
    ...others.map((other) => ({ ...other, label: `${other.label}, ${tasksOf(100_000)}`, slow: true }))
  ],
  figures: [{
    name: "bytes",
    title,
    unit: "bytes",
    goals: Object.fromEntries(sizes.map((tasks) => [`effect-tasks, ${tasksOf(tasks)}`, { atMost }]))
  }]
})

// --- growth: the first contender is the smallest ---

const within = (
  labels: ReadonlyArray<string>,
  atMost: number,
  guard: number
): Readonly<Record<string, Goal>> => Object.fromEntries(labels.slice(1).map((label) => [label, { atMost, guard }]))

const taskCounts = [10_000, 100_000, 1_000_000, 10_000_000]

const tasks: Benchmark = {
  id: "growth tasks",
  rounds: 3,
  setting: { workers: 8, capacity: 1024, tasks: 10_000 },
  contenders: taskCounts.map((tasks) => core(tasksOf(tasks), "submit", { setting: { tasks }, slow: tasks > 100_000 })),
  figures: [{
    name: "perSecond",
    title: "submit no-ops, more and more of them",
    unit: "tasks/s",
    compare: "ratio",
    goals: within(taskCounts.map(tasksOf), 1.25, 3)
  }]
}

const producersOf = (count: number): string => `${count.toLocaleString("en")} producers`

const producerCounts = [1000, 10_000, 100_000]

const producers: Benchmark = {
  id: "growth producers",
  setting: { workers: 4, capacity: 64, tasks: 100 },
  contenders: producerCounts.map((tasks) =>
    growth(producersOf(tasks), "producers", { setting: { tasks }, slow: tasks > 10_000 })
  ),
  figures: [{
    name: "perSecond",
    title: "suspended producers, each with one task, served in order",
    unit: "tasks/s",
    compare: "ratio",
    goals: within(producerCounts.map(producersOf), 1.5, 6)
  }]
}

const groupsOf = (count: number): string => `${count.toLocaleString("en")} groups`

const groupCounts = [10, 1000, 100_000]

const groups: Benchmark = {
  id: "growth groups",
  setting: { workers: 8, capacity: 100_000, tasks: 100_000 },
  contenders: groupCounts.map((parties) => growth(groupsOf(parties), "groups", { setting: { parties } })),
  figures: [{
    name: "perSecond",
    title: "submit no-ops in groups",
    unit: "tasks/s",
    compare: "ratio",
    goals: within(groupCounts.map(groupsOf), 2, 6)
  }],
  slow: true
}

const options: Benchmark = {
  id: "options",
  setting: { workers: 8, capacity: 1024, tasks: 50_000 },
  contenders: [
    core("no options", "submit"),
    growth("name", "named"),
    growth("priority, 100 different", "priorities"),
    growth("key, each its own", "keys"),
    growth("group, 1,000 different", "groups", { setting: { parties: 1000 } })
  ],
  figures: [{ name: "perSecond", title: "submit no-ops with options", unit: "tasks/s", compare: "ratio" }],
  slow: true
}

const delayed: Benchmark = {
  id: "growth delayed",
  rounds: 3,
  setting: { workers: 8, capacity: 1024, tasks: 1000 },
  contenders: sizes.map((tasks) => growth(tasksOf(tasks), "delayed", { setting: { tasks }, slow: tasks > 10_000 })),
  figures: [
    {
      name: "insertedPerSecond",
      title: "delayed tasks: submit",
      unit: "tasks/s",
      compare: "ratio",
      goals: within(sizes.map(tasksOf), 2, Infinity)
    },
    {
      name: "drainedPerSecond",
      title: "delayed tasks: come due and run",
      unit: "tasks/s",
      compare: "ratio",
      goals: within(sizes.map(tasksOf), 2, Infinity)
    }
  ]
}

export const benchmarks: ReadonlyArray<Benchmark> = [
  submit(8, 1024, {
    "Effect loop, tuned": { atLeast: 0.7, guard: 0.04 },
    fastq: { atLeast: 4 },
    "p-queue": { atLeast: 4, guard: 0.3 }
  }, false),
  submit(4, 64, {
    "Effect loop, tuned": { atLeast: 1.5, guard: 0.1 },
    fastq: { atLeast: 3 },
    "p-queue": { atLeast: 3, guard: 0.3 }
  }, true),
  submit(64, 65_536, {
    "Effect loop, tuned": { atLeast: 0.7, guard: 0.04 },
    fastq: { atLeast: 4 },
    "p-queue": { atLeast: 4, guard: 0.3 }
  }, true),
  run(1, 5000, "run: one caller that waits for each result", { atLeast: 3, guard: 0.1 }),
  run(64, 64_000, "run: 64 callers that wait for each result", { atLeast: 3, guard: 0.3 }),
  work("work timer", "timers", "a timer of 1 ms: CPU per task, all threads"),
  work("work socket", "sockets", "a round trip over a TCP socket: CPU per task, all threads"),
  latency,
  memory("waiting", "memory of a waiting task", 400, [
    { label: "Effect's Queue", library: "effect", measure: "waiting" },
    { label: "fastq", library: "fastq", measure: "waiting" },
    { label: "p-queue", library: "p-queue", measure: "waiting" }
  ]),
  memory("delayed", "memory of a delayed task", 600, [
    { label: "a sleeping fiber", library: "effect", measure: "delayed" }
  ]),
  memory("settled", "memory of a settled task whose handle is held", 300, [
    { label: "an ended fiber", library: "effect", measure: "settled" }
  ]),
  delayed,
  tasks,
  producers,
  groups,
  options,
  retry,
  failure,
  eventLoop,
  idle
]
