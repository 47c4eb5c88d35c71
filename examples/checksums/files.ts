/**
 * The files below a folder, one by one, and the SHA-256 of each.
 *
 * A file name is bytes and need not be UTF-8. A {@link Path} therefore holds one byte per character (latin1), which
 * Node takes back as a Buffer.
 */
import { Data, Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { type BigIntStats, constants } from "node:fs"
import { open, opendir } from "node:fs/promises"
import { join } from "node:path"

export type Path = string

export const fromText = (text: string): Path => Buffer.from(text).toString("latin1")

export const toBytes = (path: Path): Buffer => Buffer.from(path, "latin1")

/** For people: as UTF-8, and without what a terminal would obey. */
const toText = (path: Path): string =>
  toBytes(path).toString().replaceAll(/[\p{Cc}\p{Cf}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)

/** What went wrong with a file; `code` is the system's, such as `EACCES`. */
export class FileError extends Data.TaggedError("FileError")<{
  readonly path: Path
  readonly code: string | undefined
  readonly reason: string
}> {
  override get message(): string {
    return `${toText(this.path)}: ${this.reason}`
  }
}

/** A call of `node:fs/promises` as an Effect. */
export const io = <A>(path: Path, call: () => Promise<A>): Effect.Effect<A, FileError> =>
  Effect.tryPromise({
    try: call,
    catch: (error) => {
      // SAFETY: `node:fs` rejects with nothing else. Its messages go on with the call and the path: `, open '…'`.
      const { code, message } = error as NodeJS.ErrnoException
      return new FileError({ path, code, reason: message.split(", ")[0]! })
    }
  })

/**
 * All regular files below a folder; symbolic links, sockets, pipes and devices are left out. It reads on only when the
 * next file is wanted.
 *
 * A folder that cannot be listed comes out itself: `sha256` fails on it, and it ends where unreadable files end.
 */
export const files = (folder: Path): Stream.Stream<Path> =>
  Stream.unwrap(
    Effect.map(
      io(folder, () => opendir(toBytes(folder), { encoding: "latin1" })),
      (entries) => Stream.fromAsyncIterable(entries, (error) => error)
    )
  ).pipe(
    Stream.flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return files(path)
      return entry.isFile() ? Stream.succeed(path) : Stream.empty
    }),
    Stream.catch(() => Stream.succeed(folder))
  )

/** A file that is a pipe by now must not block, and one that is a symbolic link by now must not be followed. */
const readOnly = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW

/** The checksum in hex; undefined when there is no such regular file any more, or when it is `except`. */
export const sha256 = Effect.fnUntraced(
  function*(path: Path, except: BigIntStats) {
    // A task has a scope of its own for each attempt: the file is closed however the attempt ends.
    const file = yield* Effect.acquireRelease(
      io(path, () => open(toBytes(path), readOnly)),
      (file) => Effect.promise(() => file.close())
    )
    const before = yield* io(path, () => file.stat({ bigint: true }))
    if (before.isDirectory()) return yield* fail(path, "a folder that could not be listed")
    if (!before.isFile() || (before.ino === except.ino && before.dev === except.dev)) return undefined
    const hash = createHash("sha256")
    const size = Number(before.size)
    const buffer = Buffer.allocUnsafe(Math.min(size + 1, 256 * 1024))
    const read = io(path, () => file.read(buffer))
    for (let done = 0, { bytesRead } = yield* read; bytesRead > 0; { bytesRead } = yield* read) {
      hash.update(buffer.subarray(0, bytesRead))
      done += bytesRead
      if (done === size) break
    }
    const after = yield* io(path, () => file.stat({ bigint: true }))
    if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) {
      return yield* fail(path, "changed while it was read")
    }
    return hash.digest("hex")
  },
  Effect.catchIf(({ code }) => code === "ENOENT" || code === "ELOOP", () => Effect.succeed(undefined))
)

const fail = (path: Path, reason: string) => new FileError({ path, code: undefined, reason })
