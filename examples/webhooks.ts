/**
 * Delivers events to receivers that fail, hang, reset connections or are gone, each delivery as a task.
 *
 *     node examples/webhooks.ts [--events n] [--seed n]        (by default 6 events for each receiver, seed 1)
 *
 * What it shows: a time limit for each attempt; retries of what may pass, and of nothing else; one group per receiver
 * (in order, one at a time, and a dead receiver holds up nobody else); the manager's events as a log; and a drain: at
 * the end, and at the first SIGTERM or Ctrl-C, what was accepted is delivered, and a report says what was not.
 */
import { CurrentTask, type TaskInfo, TaskManager } from "@effect-tasks/core"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { type Cause, Clock, Console, Data, Effect, Exit, Fiber, Layer, Logger, Runtime, Schedule, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { FetchHttpClient, HttpClient, type HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { type Receiver, Receivers, receivers } from "./webhooks/receivers.ts"
import { line, table } from "./webhooks/story.ts"

class Webhooks extends TaskManager.Named<Webhooks>()("examples/Webhooks") {}

class NotDelivered extends Data.TaggedError("NotDelivered")<{
  readonly message: string
  readonly transient: boolean
}> {}

/** One attempt. Its services come from whoever submits it, `CurrentTask` from the manager. */
const deliver = Effect.fn("deliver")(
  function*(receiver: Receiver, event: number) {
    const { url } = yield* Receivers
    const { attempts } = yield* CurrentTask
    yield* HttpClientRequest.post(url).pipe(
      HttpClientRequest.bodyJsonUnsafe({ receiver, event, attempt: attempts }),
      HttpClient.execute,
      Effect.flatMap(HttpClientResponse.filterStatusOk)
    )
  },
  Effect.timeout("1 second"),
  Effect.mapError((error) => new NotDelivered({ message: why(error), transient: HttpClient.isTransientError(error) }))
)

const why = (error: HttpClientError.HttpClientError | Cause.TimeoutError): string => {
  if (error._tag === "TimeoutError") return "no answer"
  return error.response === undefined ? "connection lost" : `answered ${error.response.status}`
}

const submit = (receiver: Receiver, event: number) =>
  Webhooks.submit(deliver(receiver, event), {
    name: "webhook",
    key: `${receiver} ${event}`, // submitted twice, it is delivered once
    group: receiver,
    retry: { times: 3, schedule: Schedule.exponential("50 millis"), while: (error) => error.transient }
  })

/** A producer for each receiver: `submit` waits while the receiver's group is full, and holds up no other. */
const produce = (events: number) =>
  Effect.forEach(
    receivers,
    (receiver) => Effect.forEach(Array.from({ length: events }, (_, i) => i + 1), (event) => submit(receiver, event)),
    { concurrency: "unbounded", discard: true }
  )

const main = Effect.fn(function*(events: number) {
  const tasks = yield* Webhooks
  const { received } = yield* Receivers
  const started = yield* Clock.currentTimeMillis
  const ended: Array<TaskInfo> = []
  const story = yield* Effect.forkChild(
    Stream.runForEach(tasks.events, (event) => {
      if (["completed", "failed", "aborted"].includes(event.task.state)) ended.push(event.task)
      const text = line(event, started)
      return text === undefined ? Effect.void : Console.log(text)
    }),
    { startImmediately: true }
  )
  yield* Effect.onExit(produce(events), (exit) =>
    Effect.gen(function*() {
      yield* Console.log(Exit.isSuccess(exit) ? "All accepted. Draining …" : "Stopped by a signal. Draining …")
      // The layer does the same when its scope closes; this way there is a report.
      const { unfinished } = yield* tasks.shutdown()
      yield* Fiber.await(story)
      yield* Console.log(`\n${table(received, ended)}`)
      if (unfinished.some(({ state }) => state === "aborted")) process.exitCode = 1
    }))
})

const command = Command.make("webhooks", {
  events: Flag.Int("events").pipe(Flag.withDescription("Events for each receiver, 6 by default"), Flag.withDefault(6)),
  seed: Flag.Int("seed").pipe(Flag.withDescription("Decides which attempts fail, 1 by default"), Flag.withDefault(1))
}, ({ events, seed }) =>
  Effect.provide(
    main(events),
    Webhooks.layer({ workers: 4, capacity: 16, gracePeriod: "3 seconds" }).pipe(
      Layer.provideMerge(Layer.mergeAll(
        Receivers.layer(seed),
        FetchHttpClient.layer,
        // The events tell it all, line by line.
        Logger.layer([])
      ))
    )
  )).pipe(Command.withDescription(
    "Delivers events to receivers that fail, hang, reset connections or are gone.\n" +
      "A signal stops it as the end does, with a drain. Exit code: 1 when the grace period was too short, else 0."
  ))

// A reader that has gone (`… | head -1`) is no reason to stop.
process.stdout.on("error", () => {})

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    teardown: (exit, onExit) =>
      Runtime.defaultTeardown(exit, (code) => onExit(code === 130 ? Number(process.exitCode ?? 0) : code))
  })
)
