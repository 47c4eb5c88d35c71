// The command `pnpm bench`: measures, prints one table, and fails when a figure is far from where it has to be.
import { writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import { type Benchmark, benchmarks } from "./benchmarks.ts"
import { heading, markdown, text } from "./report.ts"
import { type Block, run } from "./runner.ts"

const help = `pnpm bench [words] [options]: measures @effect-tasks/core and what people use instead of it

  words, --only <words>  only benchmarks whose name contains all of the words
  --quick                in less than a minute: fewer rounds, contenders and tasks
  --json <file>          also writes every figure to a file
  --markdown             prints the table as Markdown
  --help                 prints this

Names: ${benchmarks.map(({ id }) => id).join(", ")}.

A rate is per second of CPU of the main thread. A comparison is the first line of a block as a multiple of another line, or
what it has more. The exit code is 1 when a figure is "broken": worse than a bound that is itself far from the goal.
`

const usage = {
  allowPositionals: true,
  options: {
    only: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    markdown: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
} as const

const fail = (message: string): never => {
  process.stderr.write(`${message}\nSee pnpm bench --help.\n`)
  process.exit(2)
}

const parse = () => {
  try {
    return parseArgs(usage)
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

const { positionals, values: options } = parse()

/** One line that is overwritten, on a terminal only. */
const progress = (what: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`)
}

/** What looks broken is measured again, longer, before it counts: something else may have had the machine. */
const measure = async (benchmark: Benchmark): Promise<ReadonlyArray<Block>> => {
  const { quick } = options
  const results = await run(benchmark, { rounds: quick ? 3 : 9, quick, progress })
  if (!isBroken(results)) return results
  return run(benchmark, { rounds: 9, quick, progress })
}

const isBroken = (blocks: ReadonlyArray<Block>): boolean =>
  blocks.some(({ rows }) => rows.some(({ verdict }) => verdict === "broken"))

const main = async (): Promise<void> => {
  const words = [...positionals, ...options.only.split(" ")]
  const chosen = benchmarks.filter(({ id, slow }) =>
    words.every((word) => ` ${id}`.includes(` ${word}`)) && (slow !== true || !options.quick)
  )
  if (chosen.length === 0) fail(`There is no benchmark for "${words.join(" ").trim()}".`)

  const blocks: Array<Block> = []
  if (!options.markdown) process.stdout.write(`${heading()}\n\n`)
  for (const benchmark of chosen) {
    const results = await measure(benchmark)
    progress("")
    blocks.push(...results)
    if (!options.markdown) { for (const block of results) process.stdout.write(`${text(block)}\n\n`) }
  }
  if (options.markdown) process.stdout.write(`${markdown(blocks)}\n`)
  if (options.json !== undefined) {
    const machine = `${cpus().length} × ${cpus()[0]!.model}, Node ${process.versions.node}`
    writeFileSync(options.json, `${JSON.stringify({ machine, blocks }, null, 2)}\n`)
  }

  const verdicts = blocks.flatMap(({ rows }) => rows).map(({ verdict }) => verdict)
  const count = (verdict: string): number => verdicts.filter((other) => other === verdict).length
  if (!options.markdown) {
    process.stdout.write(`goals: ${count("met")} met, ${count("missed")} missed, ${count("broken")} broken\n`)
  }
  process.exitCode = isBroken(blocks) ? 1 : 0
}

if (options.help) process.stdout.write(help)
else await main()
