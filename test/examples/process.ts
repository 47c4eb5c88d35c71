/** Runs an example as a user does: a process of its own, in a folder of its own. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url))

/** The compile cache makes the start of a process a third shorter. Colours are what the example decides. */
const environment = {
  ...process.env,
  CI: undefined,
  FORCE_COLOR: undefined,
  NODE_COMPILE_CACHE: fileURLToPath(new URL("../../node_modules/.cache/compile", import.meta.url))
}

/** A folder that is gone with the test. */
export const temporaryFolder = (): { readonly path: string } & Disposable => {
  const path = mkdtempSync(join(tmpdir(), "effect-tasks-"))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export interface Ended {
  /** The exit code, or the signal that ended the process. */
  readonly exit: number | string | null
  readonly stdout: string
  readonly stderr: string
}

export const start = (command: string, args: ReadonlyArray<string>, cwd: string, env: NodeJS.ProcessEnv = {}) => {
  const child = spawn(command, args, { cwd, env: { ...environment, ...env }, stdio: "pipe" })
  const output = { stdout: "", stderr: "" }
  child.stdout.on("data", (data: Buffer) => output.stdout += data.toString())
  child.stderr.on("data", (data: Buffer) => output.stderr += data.toString())
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code, signal) => resolve({ exit: code ?? signal, ...output }))
  })
  return { child, output, ended }
}

export const run = (command: string, args: ReadonlyArray<string>, cwd: string, env?: NodeJS.ProcessEnv) =>
  start(command, args, cwd, env).ended

/** Waits for what a process of its own does. */
export const until = async (condition: () => boolean): Promise<void> => {
  const end = performance.now() + 60_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited for 60 s: ${condition.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
