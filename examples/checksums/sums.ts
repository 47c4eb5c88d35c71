/** A file in the format of `sha256sum`, written line by line. */
import { Deferred, Effect, Semaphore } from "effect"
import { open } from "node:fs/promises"
import { type FileError, fromText, io, type Path, toBytes } from "./files.ts"

/** As GNU does it: a name with a backslash or a line break is escaped, and a backslash in front of the line says so. */
const line = (digest: string, path: Path): string => {
  const escaped = path.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r")
  return `${escaped === path ? "" : "\\"}${digest}  ${escaped}\n`
}

/**
 * Creates the file and keeps it open until the scope closes. Every line is written at once and whole, so that the file
 * is valid at every moment, whatever ends the process.
 */
export const openSums = Effect.fnUntraced(function*(name: string) {
  const output = fromText(name)
  const file = yield* Effect.acquireRelease(
    io(output, () => open(name, "w")),
    (file) => Effect.promise(() => file.close())
  )
  const turn = yield* Semaphore.make(1)
  const broken = yield* Deferred.make<never, FileError>()
  const written = { lines: 0, bytes: 0 }

  const append = Effect.fnUntraced(
    function*(digest: string, path: Path) {
      const bytes = toBytes(line(digest, path))
      yield* io(output, () => file.appendFile(bytes))
      written.lines++
      written.bytes += bytes.length
    },
    Effect.catch((error) =>
      // A full disk may have taken half of the line.
      io(output, () => file.truncate(written.bytes)).pipe(Effect.ignore, Effect.andThen(Deferred.fail(broken, error)))
    ),
    turn.withPermit,
    Effect.uninterruptible
  )

  return {
    append,
    /** Lines in the file. */
    written,
    /** Fails once a line could not be written: the disk is full, or the reader of a pipe has gone. */
    broken: Deferred.await(broken),
    stat: yield* io(output, () => file.stat({ bigint: true }))
  }
})

export interface Sums extends Effect.Success<ReturnType<typeof openSums>> {}
