// The command `pnpm bench`: measures, prints one table.
import { benchmarks } from "./benchmarks.ts"
import { text } from "./report.ts"
import { run } from "./runner.ts"

const words = process.argv.slice(2).filter((arg) => !arg.startsWith("--"))
const chosen = benchmarks.filter(({ id }) => words.every((word) => id.includes(word)))
const rounds = process.argv.includes("--quick") ? 3 : 7

for (const benchmark of chosen) console.log(`${text(await run(benchmark, rounds))}\n`)
