/** What one round found, by name: `perSecond`, `p99`, `bytes`. */
export type Figures = Readonly<Record<string, number>>

/** Measures once. Everything that is needed only once has been set up before. */
export type Round = () => Promise<Figures>

/** Under which conditions a library is measured. */
export interface Setting {
  readonly workers: number
  readonly capacity: number
  readonly tasks: number
  /** How many groups the tasks are in, or how many producers submit them. */
  readonly parties?: number
}

/** Sets a library up for rounds, in a process of its own. */
export type Measure = (setting: Setting) => Promise<Round> | Round

interface Cost {
  readonly wall: number
  /** CPU of the main thread: what the work takes of the event loop, whatever else the machine does. */
  readonly main: number
  /** CPU of all threads, garbage collection and compilation on the side included. */
  readonly all: number
}

/** What `work` costs this process, in milliseconds. */
export const cost = async (work: () => Promise<unknown>): Promise<Cost> => {
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

/**
 * How much CPU a round takes at least, in milliseconds. Garbage is collected as it comes: a full collection before each
 * round would make short ones slow, since the young part of the heap has to grow again.
 */
const enough = 100

/** The warm-up: until the compiler has seen enough, by time and by number of batches, or a long time has passed. */
const isWarm = (millis: number, batches: number): boolean => (millis >= 400 && batches >= 4) || millis >= 1500

/** Rounds of batches of `tasks` tasks; a batch tells how many tasks ran. */
export const throughput = async (
  { tasks }: Pick<Setting, "tasks">,
  batch: (tasks: number) => Promise<number>
): Promise<Round> => {
  const batches = async (isEnough: (millis: number, batches: number) => boolean): Promise<Figures> => {
    const sum = { wall: 0, main: 0, all: 0, tasks: 0 }
    while (!isEnough(sum.main, sum.tasks / tasks)) {
      let ran = 0
      const { all, main, wall } = await cost(async () => {
        ran = await batch(tasks)
      })
      expectRan(ran, tasks)
      sum.wall += wall
      sum.main += main
      sum.all += all
      sum.tasks += tasks
    }
    return {
      perSecond: sum.tasks / sum.main * 1000,
      perSecondOfClock: sum.tasks / sum.wall * 1000,
      micros: sum.main / sum.tasks * 1000,
      microsOfAllThreads: sum.all / sum.tasks * 1000
    }
  }
  await batches(isWarm)
  return () => batches((millis) => millis >= enough)
}

export const expectRan = (ran: number, tasks: number): void => {
  if (ran !== tasks) throw new Error(`${ran} of ${tasks} tasks ran`)
}

/** The value that the part `part` of `values` is not above. */
export const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const place = part * (sorted.length - 1)
  const below = sorted[Math.floor(place)]!
  return below + (sorted[Math.ceil(place)]! - below) * (place % 1)
}

/** Bytes of the heap that are in use after a full collection. */
export const heapInUse = (): number => {
  for (let i = 0; i < 3; i++) globalThis.gc!()
  return process.memoryUsage().heapUsed
}
