/**
 * What happens to tasks, as a stream. While nobody listens, nothing is made; a slow reader loses the oldest events, and
 * the gap in `seq` tells how many.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import type { TaskEvent, TaskInfo } from "../TaskInfo.ts"

const keptForSlowReaders = 4096

export class Events {
  readonly stream: Stream.Stream<TaskEvent>
  /** Made for the first listener: its buffer is most of what an idle manager would hold. */
  #pubsub: PubSub.PubSub<Take.Take<TaskEvent>> | undefined
  #listeners = 0
  #seq = 0
  #ended = false

  constructor() {
    const open = Effect.suspend(() =>
      this.#pubsub === undefined
        ? PubSub.sliding<Take.Take<TaskEvent>>({ capacity: keptForSlowReaders })
        : Effect.succeed(this.#pubsub)
    )
    const listen = Effect.map(open, (pubsub) => {
      this.#listeners++
      return this.#pubsub ??= pubsub
    })
    const listening = Effect.acquireRelease(listen, () => Effect.sync(() => void this.#listeners--))
    this.stream = Stream.suspend(() =>
      this.#ended ? Stream.empty : Stream.unwrap(Effect.map(listening, (pubsub) => Stream.fromPubSubTake(pubsub)))
    )
  }

  get heard(): boolean {
    return this.#listeners > 0
  }

  publish(tag: TaskEvent["_tag"], task: TaskInfo, now: number): void {
    PubSub.publishUnsafe(this.#pubsub!, [{ seq: ++this.#seq, at: DateTime.makeUnsafe(now), _tag: tag, task }])
  }

  end(): void {
    this.#ended = true
    if (this.#pubsub !== undefined) PubSub.endUnsafe(this.#pubsub, Exit.void)
  }
}
