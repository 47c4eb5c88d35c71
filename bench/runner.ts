// Runs a benchmark: a process for each contender, which take turns round by round, so that whatever else the machine
// does meets all of them alike.
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import type { Benchmark, Contender, Goal } from "./benchmarks.ts"
import type { Figures, Setting } from "./round.ts"

/** The middle of all rounds, with the quarters around it. */
interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export interface Row {
  readonly label: string
  readonly figure: Spread
  /** The subject's figure as a multiple of this one, round by round. */
  readonly ratio: Spread | undefined
  readonly goal: Goal | undefined
  readonly rounds: ReadonlyArray<Figures>
}

export interface Result {
  readonly id: string
  readonly title: string
  readonly unit: string
  readonly rows: ReadonlyArray<Row>
}

export const run = async (benchmark: Benchmark, rounds: number): Promise<Result> => {
  const children: Array<ChildProcess> = []
  const figures: Array<Array<Figures>> = benchmark.contenders.map(() => [])
  try {
    // One after the other, so that their warm-ups do not disturb each other.
    for (const contender of benchmark.contenders) children.push(await start(contender, benchmark.setting))
    for (let round = 0; round < rounds; round++) {
      for (const [i, child] of children.entries()) figures[i]!.push(await ask(child, benchmark.contenders[i]!))
    }
  } finally {
    for (const child of children) child.kill()
  }
  const { contenders, figure, id, title, unit } = benchmark
  const subject = figures[0]!.map((round) => round[figure]!)
  const rows = contenders.map(({ goal, label }, i): Row => {
    const values = figures[i]!.map((round) => round[figure]!)
    return {
      label,
      figure: spread(values),
      ratio: i === 0 ? undefined : spread(values.map((value, round) => subject[round]! / value)),
      goal,
      rounds: figures[i]!
    }
  })
  return { id, title, unit, rows }
}

const start = async (contender: Contender, setting: Setting): Promise<ChildProcess> => {
  const { library, measure } = contender
  const conditions = JSON.stringify({ ...setting, ...contender.setting })
  const child = fork(join(import.meta.dirname, "child.ts"), [library, measure, conditions], {
    execArgv: ["--expose-gc"]
  })
  await answer(child, contender)
  return child
}

const ask = async (child: ChildProcess, contender: Contender): Promise<Figures> => {
  child.send("round")
  return answer(child, contender)
}

const answer = async (child: ChildProcess, { label }: Contender): Promise<Figures> => {
  const ended = new AbortController()
  const exit = once(child, "exit", { signal: ended.signal }).then(([code]): never => {
    throw new Error(`${label}: the process ended with ${code}`)
  })
  try {
    const [message] = await Promise.race([once(child, "message", { signal: ended.signal }), exit])
    return message
  } finally {
    exit.catch(() => {})
    ended.abort()
  }
}

const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): number => {
    const place = part * (sorted.length - 1)
    const below = sorted[Math.floor(place)]!
    return below + (sorted[Math.ceil(place)]! - below) * (place % 1)
  }
  return { median: at(0.5), low: at(0.25), high: at(0.75) }
}
