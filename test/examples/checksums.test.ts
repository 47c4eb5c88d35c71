/* oxlint-disable no-control-regex -- what a terminal gets is tested */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock, TestConsole } from "effect/testing"
import { execFileSync } from "node:child_process"
import {
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import { fromText, sha256 } from "../../examples/checksums/files.ts"
import { bar as colouredBar, print } from "../../examples/checksums/progress.ts"
import { example, run, start, temporaryFolder, until } from "./process.ts"

const script = example("checksums")
const node = process.execPath
const checksums = (cwd: string, ...args: ReadonlyArray<string>) => run(node, [script, ...args], cwd)
const sh = (cwd: string, text: string): string => execFileSync("bash", ["-c", text], { cwd, encoding: "latin1" })

const lines = (cwd: string): Array<string> =>
  readFileSync(join(cwd, "SHA256SUMS"), "latin1").split("\n").slice(0, -1).toSorted()

/** What the tool itself writes for the same files. */
const expected = (cwd: string, folder: string): Array<string> =>
  sh(cwd, `find ${folder} -type f -print0 | xargs -0 --no-run-if-empty sha256sum`).split("\n").slice(0, -1).toSorted()

const check = (cwd: string): string => sh(cwd, "sha256sum --check --strict --quiet SHA256SUMS 2>&1")

/** Sparse: it takes no room, and hashing it takes minutes. */
const endless = (path: string): void => {
  const file = openSync(path, "w")
  ftruncateSync(file, 2 ** 40)
  closeSync(file)
}

const control = /[^\n\x20-\x7e]/

/** Whether there is any depends on how fast the machine is. */
const onlyProgress = /^(\d+ files {2}failed 0 {2}\d+\/s {2}retries 0\n)*$/

describe("checksums", { timeout: 120_000 }, () => {
  it("writes the lines of sha256sum, whatever the names, and leaves out all but regular files", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    mkdirSync(join(cwd, "tree/deep/er\nfolder"), { recursive: true })
    mkdirSync(join(cwd, "tree/empty"))
    const names = [
      "plain",
      " spaces ",
      "new\nline",
      "back\\slash",
      "\\n",
      "carriage\r",
      "tab\t",
      "'\"$`*?",
      "-o",
      "ünï",
      Buffer.from([0x66, 0xff, 0xfe, 0x80])
    ]
    for (const name of names) {
      writeFileSync(Buffer.concat([Buffer.from(join(cwd, "tree/deep/")), Buffer.from(name)]), name)
    }
    writeFileSync(join(cwd, "tree/deep/er\nfolder/x"), "x")
    writeFileSync(join(cwd, "tree/none"), "")
    writeFileSync(join(cwd, "tree/large"), Buffer.alloc(1_000_000, "large"))
    symlinkSync("plain", join(cwd, "tree/deep/link"))
    symlinkSync("..", join(cwd, "tree/deep/circle"))
    sh(cwd, "mkfifo tree/pipe")
    const socket = createServer().listen(join(cwd, "tree/socket"))

    const { exit, stderr, stdout } = await checksums(cwd, "tree")
    socket.close()
    assert.strictEqual(exit, 0)
    assert.match(stderr, onlyProgress)
    assert.match(stdout, /^14 checksums in SHA256SUMS after \d+\.\d s, 0 retries\.\n/)
    assert.notMatch(stdout, control)
    assert.deepStrictEqual(lines(cwd), expected(cwd, "tree"))
    assert.strictEqual(check(cwd), "")
  })

  it("does not hash the file that it writes, nor fail on an empty folder", async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, "SHA256SUMS"), "of an earlier run\n")
    symlinkSync(".", join(folder.path, "link"))
    const { exit, stdout } = await checksums(folder.path, ".", "--output", "link/SHA256SUMS")
    assert.strictEqual(exit, 0)
    assert.match(stdout, /^0 checksums/)
    assert.strictEqual(readFileSync(join(folder.path, "SHA256SUMS"), "utf8"), "")
  })

  it("retries what cannot be read, reports it at the end and exits with 1", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    // Paths longer than the system takes: unreadable for everybody, root included.
    const [folder240, file240, listing240] = ["d".repeat(240), "f".repeat(240), "\x1b[2J" + "l".repeat(236)]
    sh(
      cwd,
      `mkdir tree; cd tree; echo 1 > good; for i in {1..16}; do mkdir ${folder240}; cd ${folder240}; done
      echo 2 > ${file240}; mkdir '${listing240}'; echo 3 > '${listing240}/lost'`
    )
    const { exit, stdout } = await checksums(cwd, "tree")
    sh(cwd, "rm -rf tree/d*")
    assert.strictEqual(exit, 1)
    assert.match(stdout, /^1 checksums in SHA256SUMS after .*, 4 retries\.\n/)
    assert.match(stdout, /\nCould not be read, in three attempts each: 2\n/)
    assert.match(stdout, /\ntree\/d+\/.*\/f{240}: ENAMETOOLONG: name too long\n/)
    assert.match(stdout, /\ntree\/d+\/.*\/\\u\{1b\}\[2Jl{236}: ENAMETOOLONG: name too long\n/)
    assert.notMatch(stdout, control)
    assert.deepStrictEqual(lines(cwd), expected(cwd, "tree"))
  })

  it("reads a file again that changed while it was read", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    mkdirSync(join(cwd, "tree"))
    endless(join(cwd, "tree/file"))
    const { child, ended } = start(node, [script, "tree"], cwd)
    await until(() => isReading(child.pid!, join(cwd, "tree/file")))
    truncateSync(join(cwd, "tree/file"), 10)
    const { exit, stdout } = await ended
    assert.strictEqual(exit, 0)
    assert.match(stdout, /^1 checksums .*, 1 retries\.\n/)
    assert.deepStrictEqual(lines(cwd), expected(cwd, "tree"))
  })

  it.each([["SIGTERM", 143], ["SIGKILL", "SIGKILL"]] as const)(
    "leaves a valid file of what was done after %s, and exits with %s",
    async (signal, exit) => {
      using folder = temporaryFolder()
      const cwd = folder.path
      mkdirSync(join(cwd, "tree"))
      for (let i = 0; i < 300; i++) writeFileSync(join(cwd, `tree/small ${i}`), String(i))
      endless(join(cwd, "tree/endless"))
      const { child, ended } = start(node, [script, "tree"], cwd)
      await until(() => existsSync(join(cwd, "SHA256SUMS")) && lines(cwd).length === 300)
      child.kill(signal)
      const { stdout, ...end } = await ended
      assert.strictEqual(end.exit, exit)
      if (signal !== "SIGKILL") assert.match(stdout, /^Stopped before the end\.\n300 checksums/)
      assert.strictEqual(check(cwd), "")
      assert.strictEqual(lines(cwd).length, 300)
    }
  )

  it("says what is wrong with the folder or the output, and leaves an older output alone", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    writeFileSync(join(cwd, "SHA256SUMS"), "older\n")
    const [missing, unwritable] = await Promise.all([
      checksums(cwd, "missing"),
      checksums(cwd, ".", "--output", "missing/sums")
    ])
    assert.deepStrictEqual([missing.exit, unwritable.exit], [1, 1])
    assert.strictEqual(missing.stderr, "checksums: missing: ENOENT: no such file or directory\n")
    assert.strictEqual(unwritable.stderr, "checksums: missing/sums: ENOENT: no such file or directory\n")
    assert.strictEqual(missing.stdout + unwritable.stdout, "")
    assert.strictEqual(readFileSync(join(cwd, "SHA256SUMS"), "utf8"), "older\n")
  })

  it("stops when the output takes no more, and leaves no half line", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    mkdirSync(join(cwd, "tree"))
    for (let i = 0; i < 200; i++) writeFileSync(join(cwd, `tree/${i}`), String(i))
    endless(join(cwd, "tree/endless"))
    const { exit, stderr, stdout } = await run(
      "bash",
      ["-c", `trap "" XFSZ; ulimit -f 4; exec "$0" "$@"`, node, script, "tree"],
      cwd
    )
    assert.strictEqual(exit, 1)
    assert.match(stderr, /^checksums: SHA256SUMS: EFBIG: file too large$/m)
    assert.match(stdout, /^Stopped before the end\.\n/)
    assert.isAbove(lines(cwd).length, 50)
    assert.strictEqual(check(cwd), "")
  })

  it("goes on when nobody reads what it says", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    mkdirSync(join(cwd, "tree"))
    endless(join(cwd, "tree/file"))
    const { child, ended } = start(node, [script, "tree"], cwd)
    child.stdout.destroy()
    child.stderr.destroy()
    await until(() => isReading(child.pid!, join(cwd, "tree/file")))
    const firstLine = performance.now() + 1_500
    await until(() => performance.now() > firstLine)
    truncateSync(join(cwd, "tree/file"), 10)
    assert.strictEqual((await ended).exit, 0)
    assert.deepStrictEqual(lines(cwd), expected(cwd, "tree"))
  })

  it("draws a bar in place on a terminal, in colours unless NO_COLOR is set, and stops on Ctrl-C", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    mkdirSync(join(cwd, "tree"))
    for (let i = 0; i < 20; i++) writeFileSync(join(cwd, `tree/${i}`), "")
    endless(join(cwd, "tree/endless"))
    const onTerminal = async (columns: number, env: NodeJS.ProcessEnv) => {
      const command = `stty cols ${columns}; exec "${node}" "${script}" tree --output sums${columns}`
      const { child, ended, output } = start("script", ["-qec", command, "/dev/null"], cwd, { TERM: "xterm", ...env })
      await until(() => output.stdout.includes("20/21 files"))
      child.stdin.write("\x03")
      const { exit, stdout } = await ended
      assert.strictEqual(exit, 130)
      assert.strictEqual(sh(cwd, `sha256sum --check --strict --quiet sums${columns}`), "")
      assert.match(stdout, /\r\x1b\[KStopped before the end\.\r\n20 checksums in/)
      return stdout.slice(stdout.indexOf("\r"), stdout.indexOf("Stopped")).split("\r")
    }
    const [wide, narrow] = await Promise.all([
      onTerminal(80, { NO_COLOR: undefined }),
      onTerminal(24, { NO_COLOR: "1" })
    ])
    const bars = wide.filter((frame) => frame.includes("20/21 files"))
    for (const frame of bars) assert.match(frame, /^\[\x1b\[32m#+\x1b\[39m\.+\] 20\/21 files .*\x1b\[K/)
    assert.isTrue(narrow.some((frame) => frame.startsWith("20/21 files  failed 0\x1b[K")))
    assert.strictEqual(narrow.join("").replaceAll("\x1b[K", "").includes("\x1b"), false)
  })

  it("keeps no more in memory for 7 times as many files", async () => {
    using folder = temporaryFolder()
    const cwd = folder.path
    const name = "of a length that can be seen when all names are kept ".repeat(4)
    /** The most that was alive at once, in MB. What the process takes beyond it is the collector's choice. */
    const memory = async (tree: string, count: number): Promise<number> => {
      mkdirSync(join(cwd, tree))
      writeFileSync(join(cwd, tree, name), "")
      for (let i = 1; i < count; i++) linkSync(join(cwd, tree, name), join(cwd, tree, name + i))
      const probe = `import { existsSync } from "node:fs"
        let peak = 0
        const measure = () => {
          if (!existsSync("SHA256SUMS")) return // still loading modules
          gc()
          peak = Math.max(peak, process.memoryUsage().heapUsed)
        }
        setInterval(measure, 500).unref()
        process.on("exit", () => { measure(); console.log("peak", peak) })`
      const imported = `--import=data:text/javascript,${encodeURIComponent(probe)}`
      // Without the compile cache: from the second run on there would be less code in the heap.
      const env = { NODE_COMPILE_CACHE: undefined }
      const { exit, stdout } = await run(node, ["--expose-gc", imported, script, tree], cwd, env)
      assert.strictEqual(exit, 0)
      assert.strictEqual(lines(cwd).length, count)
      return Number(/peak (\d+)/.exec(stdout)![1]) / 1e6
    }
    const few = await memory("few", 700)
    const many = await memory("many", 5_000)
    assert.isBelow(many, few + 1)
  })
})

describe("sha256", () => {
  it("gives nothing, and does not block, for what is no regular file any more", async () => {
    using folder = temporaryFolder()
    const output = statSync(folder.path, { bigint: true })
    symlinkSync("/etc/passwd", join(folder.path, "link"))
    sh(folder.path, "mkfifo pipe")
    for (const name of ["link", "pipe", "gone"]) {
      const digest = sha256(fromText(join(folder.path, name)), output)
      assert.strictEqual(await Effect.runPromise(Effect.scoped(digest)), undefined)
    }
  })
})

describe("bar", () => {
  const bar = (...args: Parameters<typeof colouredBar>) => stripVTControlCharacters(colouredBar(...args))
  const progress = { done: 1_234, found: 2_468, counted: true, retries: 5, failed: 0, seconds: 2 }

  it("stays shorter than the line, and drops the least important when there is no room", () => {
    for (let columns = 2; columns <= 200; columns++) assert.isBelow(bar(progress, columns).length, columns)
    assert.strictEqual(
      bar(progress, 100),
      "[###############...............] 1,234/2,468 files  failed 0  2s left  617/s  retries 5"
    )
    assert.strictEqual(bar(progress, 40), "1,234/2,468 files  failed 0  2s left")
    assert.strictEqual(bar(progress, 30), "1,234/2,468 files  failed 0")
    assert.strictEqual(bar(progress, 10), "1,234/2,4")
  })

  it("fills up when all files are counted, and not before", () => {
    assert.include(bar({ ...progress, done: 2_467 }, 200), "[#############################.]")
    assert.include(
      bar({ ...progress, done: 2_468 }, 200),
      "[##############################] 2,468/2,468 files  failed 0  0 left"
    )
    assert.include(
      bar({ ...progress, counted: false }, 200),
      "[..............................] 1,234 files  failed 0  617/s"
    )
  })
})

describe("print", () => {
  it.effect("prints its first line after a second, and in ten minutes no more than 23", () =>
    Effect.gen(function*() {
      const progress = { done: 1_234, found: 1_400, counted: false, retries: 5, failed: 0, seconds: 2 }
      yield* Effect.forkChild(print(Effect.succeed(progress)))
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(yield* TestConsole.errorLines, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* TestConsole.errorLines, ["1,234 files  failed 0  617/s  retries 5"])
      yield* TestClock.adjust("599 seconds")
      assert.lengthOf(yield* TestConsole.errorLines, 23)
    }))
})

/** Whether the process has read from the file. */
const isReading = (pid: number, file: string): boolean =>
  readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === file &&
        /^pos:\s+[1-9]/.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))
    } catch {
      return false // closed meanwhile
    }
  })
