// Runs a benchmark: a process for each contender, which take turns round by round, so that whatever else the machine
// does meets all of them alike.
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import type { Benchmark, Contender, Figure, Unit } from "./benchmarks.ts"
import { type Figures, quantile, type Setting } from "./round.ts"
import { type Goal, judge, type Verdict } from "./verdict.ts"

/** The middle of all rounds, and the quarters around it. */
interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export interface Row {
  readonly label: string
  readonly figure: Spread
  /** The subject's figure as a multiple of this one, or minus this one, taken round by round. */
  readonly compared: Spread | undefined
  readonly goal: Goal | undefined
  readonly verdict: Verdict | undefined
}

/** One block of the table. */
export interface Block {
  readonly id: string
  readonly title: string
  readonly unit: Unit
  readonly compare: Figure["compare"]
  readonly rows: ReadonlyArray<Row>
}

export interface Options {
  readonly rounds: number
  readonly quick: boolean
  /** Told before each round, and before each process starts. */
  readonly progress: (what: string) => void
}

export const run = async (benchmark: Benchmark, options: Options): Promise<ReadonlyArray<Block>> => {
  const contenders = benchmark.contenders.filter(({ slow }) => slow !== true || !options.quick)
  const setting = options.quick ? { ...benchmark.setting, ...benchmark.quick } : benchmark.setting
  const measured = await inTurns(contenders, setting, benchmark, options)
  return benchmark.figures.map((figure) => blockOf(benchmark.id, figure, contenders, measured))
}

type Measured = ReadonlyArray<ReadonlyArray<Figures>>

const inTurns = async (
  contenders: ReadonlyArray<Contender>,
  setting: Setting,
  { id, rounds: most = Infinity }: Benchmark,
  { progress, ...options }: Options
): Promise<Measured> => {
  const rounds = Math.min(most, options.rounds)
  const children: Array<ChildProcess> = []
  const measured: Array<Array<Figures>> = contenders.map(() => [])
  try {
    progress(`${id}: warm-up`)
    children.push(...contenders.map((contender) => start(contender, setting)))
    await Promise.all(children.map((child, i) => answer(child, contenders[i]!)))
    for (let round = 1; round <= rounds; round++) {
      for (const [i, child] of children.entries()) {
        progress(`${id}: round ${round} of ${rounds}, ${contenders[i]!.label}`)
        measured[i]!.push(await ask(child, contenders[i]!))
      }
    }
  } finally {
    for (const child of children) if (child.connected) child.disconnect()
  }
  return measured
}

/** The process answers once when it has warmed up, and then each time it is asked for a round. */
const start = ({ library, measure, setting }: Contender, common: Setting): ChildProcess => {
  const conditions = JSON.stringify({ ...common, ...setting })
  return fork(join(import.meta.dirname, "child.ts"), [library, measure, conditions], { execArgv: ["--expose-gc"] })
}

const ask = (child: ChildProcess, contender: Contender): Promise<Figures> => {
  child.send("round")
  return answer(child, contender)
}

const answer = async (child: ChildProcess, { label }: Contender): Promise<Figures> => {
  const answered = new AbortController()
  const { signal } = answered
  const ended = once(child, "exit", { signal }).then(
    ([code, killedBy]): never => {
      throw new Error(`${label}: the process ended with ${code ?? killedBy}`)
    },
    () => []
  )
  const [message] = await Promise.race([once(child, "message", { signal }), ended])
  answered.abort()
  return message
}

const blockOf = (id: string, figure: Figure, contenders: ReadonlyArray<Contender>, measured: Measured): Block => {
  const values = measured.map((rounds) => rounds.map((figures) => figures[figure.name]!))
  const rows = contenders.map(({ label }, i): Row => {
    const own = spread(values[i]!)
    const compared = i === 0 || figure.compare === undefined
      ? undefined
      : spread(values[i]!.map((value, round) => comparison[figure.compare!](values[0]![round]!, value)))
    const goal = figure.goals?.[label]
    return { label, figure: own, compared, goal, verdict: goal && judge(goal, (compared ?? own).median) }
  })
  return { id, title: figure.title, unit: figure.unit, compare: figure.compare, rows }
}

const comparison = {
  ratio: (subject: number, other: number): number => subject / other,
  difference: (subject: number, other: number): number => subject - other
}

const spread = (values: ReadonlyArray<number>): Spread => ({
  median: quantile(values, 0.5),
  low: quantile(values, 0.25),
  high: quantile(values, 0.75)
})
