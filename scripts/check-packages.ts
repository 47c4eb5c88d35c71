// Builds and packs the packages, checks the tarballs with publint and attw, installs them together with their peers into a
// new plain npm project, and there, on the Node of node_modules and on the system's, imports every public entry, sees that
// internal modules are closed, type-checks a small program and runs it.
import { execFileSync } from "node:child_process"
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, delimiter, join } from "node:path"

const root = join(import.meta.dirname, "..")
const packages = ["core", "node"]
const temporary = mkdtempSync(join(tmpdir(), "effect-tasks-packages-"))
const consumer = join(temporary, "consumer")

/** The PATH as it was before pnpm and npx put their folders in front. */
const systemPath = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules")).join(
  delimiter
)
const systemEnv = { PATH: systemPath, HOME: process.env.HOME }

const run = (
  command: string,
  args: ReadonlyArray<string>,
  options?: { cwd?: string; env?: NodeJS.ProcessEnv }
): void => {
  console.log(`$ ${command} ${args.join(" ")}`.replaceAll(temporary, "…"))
  execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], ...options })
}

interface Manifest {
  readonly name: string
  readonly devDependencies: Readonly<Record<string, string>>
  readonly engines?: { readonly node: string }
}
const manifest = (folder: string): Manifest => JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"))

const pack = (): ReadonlyArray<string> => {
  for (const name of packages) rmSync(join(root, "packages", name, "dist"), { recursive: true, force: true })
  run("tsc", ["-b", "tsconfig.build.json", "--force"])
  for (const name of packages) run("pnpm", ["--dir", `packages/${name}`, "pack", "--pack-destination", temporary])
  const tarballs = globSync("*.tgz", { cwd: temporary }).map((file) => join(temporary, file))
  for (const tarball of tarballs) {
    run("publint", [tarball, "--strict"])
    run("attw", [tarball, "--profile", "esm-only", "--no-emoji"])
  }
  return tarballs
}

const program = `import { TaskManager } from "@effect-tasks/core"
import * as Effect from "effect/Effect"

const program = Effect.gen(function*() {
  const tasks = yield* TaskManager
  const result: number = yield* tasks.run(Effect.succeed(1))
  return result
}).pipe(Effect.provide(TaskManager.layer({ workers: 2 })))

Effect.runPromise(program).then((result) => {
  if (result !== 1) throw new Error("expected 1, got " + result)
})
`

/** Every public module of an installed package, as one would import it. */
const entries = (name: string): ReadonlyArray<string> =>
  globSync("dist/*.js", { cwd: join(consumer, "node_modules", name) }).map((file) => basename(file, ".js"))
    .map((module) => module === "index" ? name : `${name}/${module}`).toSorted()

/** Whether a Node version such as `22.4.1` satisfies `engines.node`, which is absent or of the form `>=22.19`. */
const supports = (range: string | undefined, version: string): boolean => {
  const [, major = 0, minor = 0] = (/^>=(\d+)\.(\d+)$/.exec(range ?? ">=0.0") ?? []).map(Number)
  const [nodeMajor = 0, nodeMinor = 0] = version.split(".").map(Number)
  return nodeMajor > major || (nodeMajor === major && nodeMinor >= minor)
}

const importAll = (names: ReadonlyArray<string>): string => `
const closed = await import("@effect-tasks/core/internal/closed").then(() => "no error", (error) => error.code)
if (closed !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw new Error("internal modules can be imported: " + closed)
for (const entry of ${JSON.stringify(names.flatMap(entries))}) {
  await import(entry)
  console.log("  " + entry)
}
`

const useInPlainProject = (tarballs: ReadonlyArray<string>): void => {
  const { devDependencies } = manifest(".")
  const peers = ["effect", "@effect/platform-node"].map((name) => `${name}@${devDependencies[name]}`)
  mkdirSync(consumer)
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", ...tarballs, ...peers], {
    cwd: consumer,
    env: systemEnv
  })
  writeFileSync(join(consumer, "program.ts"), program)
  writeFileSync(
    join(consumer, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { strict: true, module: "NodeNext", target: "ES2022", skipLibCheck: false, types: [] }
    })
  )
  run("tsc", ["-p", consumer])

  for (const node of [process.execPath, "node"]) {
    const version = execFileSync(node, ["--version"], { env: systemEnv, encoding: "utf8" }).trim().slice(1)
    const [supported, other] = [true, false].map((wanted) =>
      packages.map((name) => manifest(`packages/${name}`)).filter(({ engines }) =>
        supports(engines?.node, version) === wanted
      ).map(({ name }) => name)
    )
    console.log(`Node ${version}${other?.length === 0 ? "" : `, too old for ${other?.join(", ")}`}`)
    writeFileSync(join(consumer, "import-all.js"), importAll(supported ?? []))
    run(node, ["import-all.js"], { cwd: consumer, env: systemEnv })
    run(node, ["program.js"], { cwd: consumer, env: systemEnv })
  }
}

try {
  useInPlainProject(pack())
  console.log("The packages install, type-check and run.")
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
