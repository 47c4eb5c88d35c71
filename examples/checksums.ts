/**
 * Hashes every regular file below a folder as tasks on a TaskManager and writes `SHA256SUMS`, which `sha256sum -c` reads.
 *
 *     node examples/checksums.ts [folder] [output]     (default: node_modules, SHA256SUMS in the current folder)
 *
 * Memory stays flat however large the tree: a full queue makes the walk wait. Unreadable files are retried, then end in
 * one report. Exit code: 0 when all went well, 1 when a file could not be read, 130 after Ctrl-C with a valid file of
 * what was done.
 */
import { TaskManager } from "@effect-tasks/core"
import { NodeRuntime } from "@effect/platform-node"
import { Data, Duration, Effect, Logger, References, Schedule } from "effect"
import { createHash } from "node:crypto"
import { createReadStream, createWriteStream, type WriteStream } from "node:fs"
import { opendir } from "node:fs/promises"
import { join, relative, resolve } from "node:path"
import { pipeline } from "node:stream/promises"

const root = resolve(process.argv[2] ?? "node_modules")
const output = resolve(process.argv[3] ?? "SHA256SUMS")
const started = performance.now()
const count = { found: 0, hashed: 0, retried: 0, failed: 0, walking: true }
const unreadable: Array<string> = []

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly path: string; readonly reason: string }> {}

const hash = (path: string) =>
  Effect.tryPromise({
    try: async (signal) => {
      const digest = createHash("sha256")
      await pipeline(createReadStream(path), digest, { signal })
      return digest.digest("hex")
    },
    catch: (error) => new Unreadable({ path, reason: String(error) })
  })

/** One line of SHA256SUMS; a name with a backslash or a newline is escaped and marked, as coreutils does. */
const line = (digest: string, name: string) => {
  const escaped = name.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r")
  return `${escaped === name ? "" : "\\"}${digest}  ${escaped}\n`
}

async function* files(folder: string): AsyncGenerator<string> {
  for await (const entry of await opendir(folder)) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* files(path)
    else if (entry.isFile() && path !== output) yield path
  }
}

const progress = () => {
  const seconds = (performance.now() - started) / 1000
  const rate = count.hashed / seconds
  const left = count.walking ? "counting" : `${Math.ceil((count.found - count.hashed - count.failed) / rate)} s left`
  const done = count.hashed + count.failed
  const filled = Math.round(20 * done / Math.max(1, count.found))
  return `[${"#".repeat(filled).padEnd(20, ".")}] ${done}/${count.found} files  ${rate.toFixed(0)}/s  ` +
    `${count.retried} retries  ${count.failed} failures  ${left}`
}

const showProgress = process.stderr.isTTY
  ? Effect.repeat(Effect.sync(() => process.stderr.write(`\r\x1b[K${progress()}`)), Schedule.spaced("100 millis"))
  : Effect.repeat(Effect.sync(() => process.stderr.write(`${progress()}\n`)), Schedule.spaced("1 second"))

const open = Effect.acquireRelease(
  Effect.sync(() => createWriteStream(output)),
  (file) => Effect.callback<void>((done) => void file.end(() => done(Effect.void)))
)

const hashOne = (file: WriteStream, path: string) =>
  TaskManager.submit(
    Effect.tap(hash(path), (digest) =>
      Effect.sync(() => {
        count.hashed++
        file.write(line(digest, relative(process.cwd(), path)))
      })),
    {
      name: "checksum",
      retry: {
        times: 2,
        schedule: Schedule.exponential(Duration.millis(50)),
        while: () => {
          count.retried++
          return true
        }
      },
      onFailed: (cause) =>
        Effect.sync(() => {
          count.failed++
          const reason = cause.reasons.find((reason) => reason._tag === "Fail")
          unreadable.push(`${path}: ${reason?.error.reason ?? "unknown"}`)
        })
    }
  )

const main = Effect.gen(function*() {
  const file = yield* open
  yield* Effect.forkScoped(showProgress)
  const tasks = yield* TaskManager
  for (const walk = files(root);;) {
    const next = yield* Effect.promise(() => walk.next())
    if (next.done === true) break
    count.found++
    yield* hashOne(file, next.value)
  }
  count.walking = false
  yield* tasks.awaitIdle
})

const program = Effect.scoped(Effect.provide(main, TaskManager.layer({ workers: 16, capacity: 256, gracePeriod: 0 })))
  .pipe(
    Effect.ensuring(
      Effect.sync(() => process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[K" : ""}${progress()}\n`))
    ),
    Effect.andThen(Effect.sync(() => {
      console.log(`${count.hashed} checksums in ${relative(process.cwd(), output)}: check them with sha256sum -c`)
      for (const each of unreadable) console.log(`not read: ${each}`)
      console.log("Next: the quick start in README.md, and examples/.")
      if (unreadable.length > 0) process.exitCode = 1
    })),
    Effect.provide(Logger.layer([])),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )

NodeRuntime.runMain(program, {
  teardown: (exit, onExit) => onExit(exit._tag === "Success" ? unreadable.length > 0 ? 1 : 0 : 130)
})
