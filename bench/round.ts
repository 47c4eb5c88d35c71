/** What one round found, by name: `perSecond`, `p99`, `bytes`. */
export type Figures = Readonly<Record<string, number>>

/** Measures once. Everything that is needed only once has been set up before. */
export type Round = () => Promise<Figures>

/** Under which conditions a library is measured; a field that a measurement does not use is left out. */
export interface Setting {
  readonly workers: number
  readonly capacity: number
  readonly tasks: number
}

/** Sets a library up for rounds, in a process of its own. */
export type Measure = (setting: Setting) => Promise<Round> | Round

/** What `work` takes of this process: of the clock, of the CPU in its main thread, and in all its threads; in ms. */
const cost = async (work: () => Promise<void>): Promise<{ wall: number; main: number; all: number }> => {
  const start = performance.now()
  const main = process.threadCpuUsage()
  const all = process.cpuUsage()
  await work()
  const mainSpent = process.threadCpuUsage(main)
  const allSpent = process.cpuUsage(all)
  return {
    wall: performance.now() - start,
    main: (mainSpent.user + mainSpent.system) / 1000,
    all: (allSpent.user + allSpent.system) / 1000
  }
}

/** Rounds of a batch of tasks that says how many of them ran; a few batches warm up. */
export const throughput = async (
  { tasks }: Setting,
  batch: (tasks: number) => Promise<number>
): Promise<Round> => {
  const round: Round = async () => {
    let ran = 0
    const { main, wall } = await cost(async () => {
      ran = await batch(tasks)
    })
    if (ran !== tasks) throw new Error(`${ran} of ${tasks} tasks ran`)
    return { perSecond: tasks / main * 1000, perSecondOfClock: tasks / wall * 1000 }
  }
  for (let i = 0; i < 3; i++) await round()
  return round
}
