/**
 * What happens to tasks, as a stream. While nobody listens, nothing is made; a slow reader loses the oldest events, and
 * the gap in `seq` tells how many. Each reader has a queue of its own, so that a slow one costs the others nothing.
 */
import type * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { TaskEvent, TaskInfo } from "../TaskInfo.ts"

type Reader = Queue.Queue<TaskEvent, Cause.Done>

const keptForSlowReaders = 4096

export class Events {
  readonly stream: Stream.Stream<TaskEvent>
  readonly #readers = new Set<Reader>()
  #ended = false
  #seq = 0

  constructor() {
    this.stream = Stream.callback<TaskEvent>(
      (reader) => Effect.acquireRelease(Effect.sync(() => this.#join(reader)), () => this.#leave(reader)),
      { bufferSize: keptForSlowReaders, strategy: "sliding" }
    )
  }

  get heard(): boolean {
    return this.#readers.size > 0
  }

  publish(tag: TaskEvent["_tag"], task: TaskInfo, now: number): void {
    const event: TaskEvent = { seq: ++this.#seq, at: DateTime.makeUnsafe(now), _tag: tag, task }
    for (const reader of this.#readers) Queue.offerUnsafe(reader, event)
  }

  end(): void {
    this.#ended = true
    for (const reader of this.#readers) Queue.endUnsafe(reader)
  }

  #join(reader: Reader): void {
    if (this.#ended) Queue.endUnsafe(reader)
    else this.#readers.add(reader)
  }

  #leave(reader: Reader): Effect.Effect<void> {
    return Effect.sync(() => void this.#readers.delete(reader))
  }
}
