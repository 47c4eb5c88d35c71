// Measures one library in a process of its own: in a shared one the call sites of Effect's runtime would see the code
// of all libraries, and every figure would be off by up to two times. A round starts when the parent says so.
import type { Measure, Setting } from "./round.ts"

const [library, measure, setting] = process.argv.slice(2) as [string, string, string]
const measures: Record<string, Measure> = await import(`./libraries/${library}.ts`)
const conditions: Setting = JSON.parse(setting)
const round = await measures[measure]!(conditions)

process.on("message", async () => process.send!(await round()))
// An ordinary exit, so that `--cpu-prof` writes its file.
process.on("disconnect", () => process.exit())
process.send!("ready")
