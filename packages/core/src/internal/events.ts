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
  readonly #pubsub: PubSub.PubSub<Take.Take<TaskEvent>>
  #listeners = 0
  #seq = 0

  static readonly make: Effect.Effect<Events> = Effect.map(
    PubSub.sliding<Take.Take<TaskEvent>>({ capacity: keptForSlowReaders }),
    (pubsub) => new Events(pubsub)
  )

  private constructor(pubsub: PubSub.PubSub<Take.Take<TaskEvent>>) {
    this.#pubsub = pubsub
    this.stream = Stream.suspend(() => {
      this.#listeners++
      return Stream.ensuring(Stream.fromPubSubTake(pubsub), Effect.sync(() => void this.#listeners--))
    })
  }

  get heard(): boolean {
    return this.#listeners > 0
  }

  publish(tag: TaskEvent["_tag"], task: TaskInfo, now: number): void {
    PubSub.publishUnsafe(this.#pubsub, [{ seq: ++this.#seq, at: DateTime.makeUnsafe(now), _tag: tag, task }])
  }

  end(): void {
    PubSub.endUnsafe(this.#pubsub, Exit.void)
  }
}
