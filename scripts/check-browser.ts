// Bundles each public module of @effect-tasks/core for the browser. Fails when a Node built-in is reached, or when core
// imports anything but `effect`.
import { readdirSync } from "node:fs"
import { bundle, coreSource } from "./bundle.ts"

let failed = false
for (const file of readdirSync(coreSource).filter((name) => name.endsWith(".ts")).toSorted()) {
  const specifier = file === "index.ts" ? "@effect-tasks/core" : `@effect-tasks/core/${file.slice(0, -".ts".length)}`
  const { foreign } = await bundle(`export * from ${JSON.stringify(specifier)}`, { external: false })
  console.log(foreign.length === 0 ? `ok      ${specifier}` : `FAILED  ${specifier}: ${foreign.join(", ")}`)
  failed ||= foreign.length > 0
}
process.exitCode = failed ? 1 : 0
