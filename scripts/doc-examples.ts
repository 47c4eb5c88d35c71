// Type-checks and runs every example of the documentation: the ```ts fences in README.md, in docs/*.md and in the JSDoc
// comments of packages/*/src. A fence ```ts no-run is only type-checked, ```ts no-check is skipped.
import { execFile } from "node:child_process"
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, relative } from "node:path"
import { promisify, stripVTControlCharacters } from "node:util"
import { parseSync } from "rolldown/utils"

const root = join(import.meta.dirname, "..")
const folder = join(root, "test/generated-examples")
const timeout = 20_000

interface Example {
  /** `docs/retries.md:12`: where its fence opens. */
  readonly source: string
  readonly file: string
  readonly run: boolean
  failure?: string
}

/** The comment's text with the leading ` * ` of each line gone, so that line numbers stay as they are. */
const unstar = (comment: string): string => comment.replaceAll(/^[ \t]*\* ?/gm, "")

/** The Markdown of a source file: its JSDoc comments at the lines where they are, all else blank. */
const jsdoc = (path: string, source: string): string => {
  let text = ""
  let done = 0
  for (const { end, start, type, value } of parseSync(path, source).comments) {
    if (type !== "Block" || !value.startsWith("*")) continue
    text += source.slice(done, start).replaceAll(/[^\n]/g, "") + unstar(value)
    done = end
  }
  return text
}

const examples: Array<Example> = []
let skipped = 0

const extract = (path: string): void => {
  const source = readFileSync(join(root, path), "utf8")
  const markdown = path.endsWith(".ts") ? jsdoc(path, source) : source
  const lines = markdown.split("\n")
  for (let open = 0; open < lines.length; open++) {
    const fence = /^(\s*)(`{3,})(.*)$/.exec(lines[open] ?? "")
    if (fence === null) continue
    const [, indent = "", ticks = "", info = ""] = fence
    const close = lines.findIndex((line, index) => index > open && line.trim() === ticks)
    if (close === -1) throw new Error(`${path}:${open + 1}: this fence is never closed`)
    const [language, mode, ...rest] = info.trim().split(/\s+/)
    if (language === "ts" || language === "typescript") {
      if (rest.length > 0 || (mode !== undefined && mode !== "no-run" && mode !== "no-check")) {
        throw new Error(`${path}:${open + 1}: after ts expected nothing, no-run or no-check, got "${info}"`)
      }
      if (mode === "no-check") skipped++
      else {
        const place = `${path}:${open + 1}`
        const file = `${path.replaceAll(/[^A-Za-z0-9]+/g, "-")}-${open + 1}.ts`
        const code = lines.slice(open + 1, close).map((line) =>
          line.startsWith(indent) ? line.slice(indent.length) : line
        )
        // The comment stands for the fence: line n of the file is line open + n of the source.
        writeFileSync(join(folder, file), [`// ${place}`, ...code, ""].join("\n"))
        examples.push({ source: place, file, run: mode === undefined })
      }
    }
    open = close
  }
}

const exec = promisify(execFile)

/** Everything a command printed when it failed, or undefined when it went well. */
const failureOf = async (command: string, args: ReadonlyArray<string>, limit?: number): Promise<string | undefined> => {
  try {
    await exec(command, args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1" },
      maxBuffer: 64 * 1024 * 1024,
      ...(limit === undefined ? {} : { timeout: limit, killSignal: "SIGKILL" as const })
    })
    return undefined
  } catch (error) {
    // SAFETY: execFile rejects with an Error that carries these fields.
    const { code, killed, message, stderr, stdout } = error as Error & {
      code?: unknown
      killed?: boolean
      stderr?: string
      stdout?: string
    }
    const output = `${stdout ?? ""}${stderr ?? ""}`.trim()
    if (killed === true) return `still running after ${timeout / 1000} s\n${output}`
    return `exit code ${String(code)}\n${output === "" ? message : output}`
  }
}

const typeCheck = async (): Promise<void> => {
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.test.json",
      include: ["*.ts"],
      exclude: [],
      compilerOptions: {
        rootDir: ".",
        tsBuildInfoFile: "./examples.tsbuildinfo",
        noUnusedLocals: false,
        noUnusedParameters: false
      },
      references: [{ path: "../../packages/core" }, { path: "../../packages/node" }]
    })
  )
  const compiler = (await exec("effect-tsgo", ["get-exe-path"], { cwd: root })).stdout.trim()
  const failure = await failureOf(compiler, ["-b", join(folder, "tsconfig.json"), "--pretty", "false"])
  if (failure === undefined) return
  let explained = false
  for (const line of stripVTControlCharacters(failure).split("\n")) {
    const match = /^(.*)\((\d+),\d+\): error (.*)$/.exec(line)
    const example = examples.find(({ file }) => relative(folder, join(root, match?.[1] ?? "")) === file)
    if (match === null || example === undefined) continue
    explained = true
    const [path, open] = example.source.split(":")
    const place = `${path}:${Number(open) + Number(match[2]) - 1}`
    example.failure = `${example.failure === undefined ? "" : `${example.failure}\n`}${place} ${match[3]}`
  }
  if (!explained) throw new Error(`The type check failed outside the examples:\n${failure}`)
}

const runAll = async (): Promise<void> => {
  const queue = examples.filter(({ failure, run }) => run && failure === undefined)
  const worker = async (): Promise<void> => {
    for (let example = queue.shift(); example !== undefined; example = queue.shift()) {
      const failure = await failureOf(process.execPath, [join(folder, example.file)], timeout)
      if (failure !== undefined) example.failure = failure
    }
  }
  await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, worker))
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
globSync(["README.md", "docs/*.md", "packages/*/src/**/*.ts"], { cwd: root }).toSorted().forEach(extract)
if (examples.length > 0) {
  await typeCheck()
  await runAll()
}
const failed = examples.filter(({ failure }) => failure !== undefined)
for (const { failure, file, source } of failed) {
  console.log(`FAILED ${source} (test/generated-examples/${file})\n${failure?.replaceAll(/^/gm, "  ")}\n`)
}
console.log(`${examples.length - failed.length} passed, ${failed.length} failed, ${skipped} skipped`)
process.exitCode = failed.length > 0 ? 1 : 0
