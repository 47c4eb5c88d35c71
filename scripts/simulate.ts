// `pnpm simulate --runs N --time S`: runs random programs in a simulated world and stops at the first that breaks a law.
// `SEED=n pnpm simulate` runs that one again and shows what happened. Without options: 10 seconds from a random seed.
import { inspect, parseArgs } from "node:util"
import { generate, type Program } from "../test/simulation/program.ts"
import { shrink } from "../test/simulation/shrink.ts"
import { type Run, simulate } from "../test/simulation/simulation.ts"

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "Infinity" },
    time: { type: "string", default: "10" },
    from: { type: "string", default: String(Math.floor(Math.random() * 1e9)) }
  }
})

const replay = (seed: number): boolean => {
  const program = generate(seed)
  const run = simulate(program, seed)
  show(program, run)
  if (run.violation === undefined) return true
  const small = shrink({ program, seed, run }, 20)
  console.log(`\nA smaller program, under the schedule of seed ${small.seed}:`)
  show(small.program, small.run)
  return false
}

const show = (program: Program, { log, violation }: Run): void => {
  console.log(inspect(program, { depth: Infinity, compact: 100, breakLength: 120 }))
  console.log(log.join("\n"))
  console.log(violation?.message ?? "all laws hold")
}

const explore = (from: number, runs: number, seconds: number): boolean => {
  const start = performance.now()
  const distinct = new Set<string>()
  let steps = 0
  let done = 0
  const elapsed = () => (performance.now() - start) / 1000
  console.log(`seeds from ${from}`)
  for (; done < runs && elapsed() < seconds; done++) {
    const seed = from + done
    const run = simulate(generate(seed), seed)
    if (run.violation !== undefined) {
      console.log(`seed ${seed}: ${run.violation.message}`)
      console.log(`SEED=${seed} pnpm simulate`)
      return false
    }
    distinct.add(run.log.join("\n"))
    steps += run.steps
  }
  const rate = Math.round(done / elapsed())
  console.log(`${done} runs, ${distinct.size} of them distinct, ${steps} steps, ${rate} runs per second: all laws hold`)
  return true
}

const { SEED } = process.env
const held = SEED === undefined
  ? explore(Number(values.from), Number(values.runs), Number(values.time))
  : replay(Number(SEED))
process.exitCode = held ? 0 : 1
