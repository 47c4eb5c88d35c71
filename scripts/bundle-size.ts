// Prints what the library costs a browser bundle, minified and gzipped, and fails when core's own code is over its limit.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { bundle, coreSource } from "./bundle.ts"

interface Entry {
  readonly name: string
  readonly program: string
  /** Leave `effect` out of the count. */
  readonly external: boolean
  /** Most bytes after gzip. */
  readonly limit?: number
  /** The module of core that the program needs: without it the entry is left out. */
  readonly module: string
}

const useManager = (layer: string, imports: string): string => `
  import * as Effect from "effect/Effect"
  import { TaskManager } from "@effect-tasks/core/TaskManager"
  ${imports}
  const program = Effect.gen(function*() {
    const tasks = yield* TaskManager
    return yield* tasks.run(Effect.succeed(1))
  })
  Effect.runFork(Effect.provide(program, ${layer}))
`

const entries: ReadonlyArray<Entry> = [
  {
    name: "core's own code",
    program: `export * from "@effect-tasks/core"`,
    external: true,
    limit: 16_000, // the goal is 12_000
    module: "index.ts"
  },
  {
    name: "effect alone",
    program: `import * as Effect from "effect/Effect"; Effect.runFork(Effect.succeed(1))`,
    external: false,
    module: "index.ts"
  },
  {
    name: "TaskManager with effect",
    program: useManager("TaskManager.layer({ workers: 2 })", ""),
    external: false,
    module: "TaskManager.ts"
  },
  {
    name: "TaskManager and TaskManagerConfig with effect",
    program: useManager(
      `TaskManagerConfig.layer(TaskManager, { workers: Config.Int("WORKERS") })`,
      `import * as Config from "effect/Config"
       import * as TaskManagerConfig from "@effect-tasks/core/TaskManagerConfig"`
    ),
    external: false,
    module: "TaskManagerConfig.ts"
  }
]

const kB = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`

let failed = false
console.log(`${"rolldown, browser".padEnd(48)}${"minified".padStart(10)}${"gzip".padStart(10)}  limit`)
for (const { external, limit, module, name, program } of entries) {
  if (!existsSync(join(coreSource, module))) {
    console.log(`${name.padEnd(48)}left out: there is no ${module}`)
    continue
  }
  const { code } = await bundle(program, { external })
  const gzip = gzipSync(code, { level: 9 }).byteLength
  const over = limit !== undefined && gzip > limit
  const verdict = limit === undefined ? "" : `${kB(limit)}${over ? " EXCEEDED" : ""}`
  console.log(
    `${name.padEnd(48)}${kB(Buffer.byteLength(code)).padStart(10)}${kB(gzip).padStart(10)}  ${verdict}`.trimEnd()
  )
  failed ||= over
}
process.exitCode = failed ? 1 : 0
