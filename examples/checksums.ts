/**
 * Hashes every regular file below a folder, each as a task, and writes what `sha256sum -c` reads.
 *
 *     node examples/checksums.ts [folder] [--output file]      (by default node_modules and SHA256SUMS)
 *
 * What it shows: a full queue holds back the walk, so that memory stays flat however large the tree is; a file that
 * cannot be read is tried again without holding a worker, and ends in one report; a progress bar from the manager's
 * numbers; and a Ctrl-C after which all files are closed and what was written is valid.
 */
import { CurrentTask, TaskManager } from "@effect-tasks/core"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Layer, Logger, Runtime, Schedule, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { opendir } from "node:fs/promises"
import { files, fromText, io, type Path, sha256 } from "./checksums/files.ts"
import { number, onTerminal, type Progress, show } from "./checksums/progress.ts"
import { openSums, type Sums } from "./checksums/sums.ts"

const manager = TaskManager.layer({ workers: 8, capacity: 256, gracePeriod: 0 }).pipe(
  // What fails ends in the report. Log entries would tear the bar.
  Layer.provideMerge(Logger.layer([]))
)

/** What the manager does not know. */
interface Run {
  readonly started: number
  found: number
  counted: boolean
  retries: number
  failed: number
  /** The first ones: all of them would have no bound. */
  readonly failures: Array<string>
}

const hashAll = Effect.fn(function*(folder: Path, sums: Sums, run: Run) {
  const tasks = yield* TaskManager

  const checksum = Effect.fnUntraced(function*(file: Path) {
    const { attempts } = yield* CurrentTask
    if (attempts > 1) run.retries++
    const digest = yield* sha256(file, sums.stat)
    if (digest !== undefined) yield* sums.append(digest, file)
  })

  // While the queue is full `submit` waits, and the walk with it.
  const submitAll = Stream.runForEach(files(folder), (file) =>
    tasks.submit(checksum(file), {
      name: "checksum",
      retry: { times: 2, schedule: Schedule.exponential("50 millis") },
      onFailed: (cause) => Effect.sync(() => noteFailure(run, cause))
    }))
  const progress: Effect.Effect<Progress> = Effect.map(tasks.stats, ({ completed, failed, submitted }) => ({
    ...run,
    done: completed + failed,
    found: Math.max(run.found, submitted),
    seconds: secondsSince(run.started)
  }))

  if (onTerminal) yield* Effect.forkChild(countFiles(folder, run))
  yield* Effect.raceAllFirst([Effect.andThen(submitAll, tasks.awaitIdle), sums.broken, show(progress)])
})

/** A second walk, far ahead of the first, for the time left on the bar. */
const countFiles = Effect.fnUntraced(function*(folder: Path, run: Run) {
  yield* Stream.runForEach(files(folder), () => Effect.sync(() => run.found++))
  run.counted = true
})

const noteFailure = (run: Run, cause: Cause.Cause<unknown>): void => {
  run.failed++
  if (run.failures.length < 20) run.failures.push(Cause.prettyErrors(cause).at(-1)!.message)
}

const secondsSince = (start: number): number => (performance.now() - start) / 1000

const main = Effect.fn(function*(folder: string, output: string) {
  yield* io(fromText(folder), async () => (await opendir(folder)).close())
  const sums = yield* openSums(output)
  const run: Run = { started: performance.now(), found: 0, counted: false, retries: 0, failed: 0, failures: [] }
  yield* hashAll(fromText(folder), sums, run).pipe(
    Effect.provide(manager),
    Effect.onExit((exit) => Console.log(report(run, sums, output, Exit.isSuccess(exit))))
  )
  if (run.failed > 0) process.exitCode = 1
  else if (process.env["npm_lifecycle_event"] === "start") yield* Console.log(next)
})

const report = (run: Run, sums: Sums, output: string, finished: boolean): string => {
  const { lines } = sums.written
  const seconds = secondsSince(run.started).toFixed(1)
  const text = [`${number(lines)} checksums in ${output} after ${seconds} s, ${number(run.retries)} retries.`]
  if (!finished) text.unshift("Stopped before the end.")
  if (lines > 0) text.push(`Check them with: sha256sum --check --quiet ${output}`)
  if (run.failed > 0) text.push(`Could not be read, in three attempts each: ${number(run.failed)}`, ...run.failures)
  if (run.failed > run.failures.length) text.push(`and ${number(run.failed - run.failures.length)} more`)
  return text.join("\n")
}

const next = `
Look at next
  examples/checksums.ts                 what has just run
  npx -y pnpm@12.21.0 run examples      webhooks to receivers that fail, hang and reset connections
  npx -y pnpm@12.21.0 start <folder>    your own files
  README.md                             the quick start, and which option is for which need`

const command = Command.make("checksums", {
  folder: Argument.String("folder").pipe(
    Argument.withDescription("The folder to walk, node_modules by default"),
    Argument.withDefault("node_modules")
  ),
  output: Flag.String("output").pipe(
    Flag.withAlias("o"),
    Flag.withDescription("The file to write, SHA256SUMS by default"),
    Flag.withDefault("SHA256SUMS")
  )
}, ({ folder, output }) =>
  Effect.scoped(main(folder, output)).pipe(
    Effect.catchTag("FileError", (error) => {
      process.exitCode = 1
      return Console.error(`checksums: ${error.message}`)
    })
  )).pipe(Command.withDescription(
    "Hashes every regular file below a folder and writes what sha256sum --check reads.\n" +
      "Exit code: 0 when all went well, 1 when something could not be read or written, 130 after Ctrl-C and 143 after\n" +
      "SIGTERM, with a valid file of what was done."
  ))

// A reader that has gone (`… | head -1`) is no reason to stop: the result is a file.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

let interrupted = 130
process.on("SIGTERM", () => interrupted = 143)

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    teardown: (exit, onExit) => Runtime.defaultTeardown(exit, (code) => onExit(code === 130 ? interrupted : code))
  })
)
