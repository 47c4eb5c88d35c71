/** Five receivers of webhooks on a local port, each with its own way to be a bad one. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { Context, Effect, Layer, Random, Schema } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

export const receivers = ["steady", "flaky", "hanging", "resetting", "gone"] as const

export type Receiver = typeof receivers[number]

const Delivery = Schema.Struct({ receiver: Schema.Literals(receivers), event: Schema.Int, attempt: Schema.Int })

export class Receivers extends Context.Service<Receivers, {
  readonly url: string
  /** What they took, in the order in which it came. */
  readonly received: ReadonlyArray<typeof Delivery.Type>
}>()("examples/Receivers") {
  /** With one seed the same attempts fail in every run, whatever comes first. */
  static readonly layer = (seed: number) =>
    Layer.effect(
      Receivers,
      Effect.gen(function*() {
        const received: Array<typeof Delivery.Type> = []
        const receive = Effect.gen(function*() {
          const delivery = yield* HttpServerRequest.schemaBodyJson(Delivery)
          const { answer, fails } = habits[delivery.receiver]
          const luck = yield* Random.withSeed(Random.next, [seed, ...Object.values(delivery)].join())
          if (luck < fails) return yield* answer
          received.push(delivery)
          return HttpServerResponse.empty()
        })
        const server = yield* HttpServer.HttpServer
        yield* HttpServer.serveEffect(Effect.interruptible(receive)) // ends with the connection
        return { url: HttpServer.formatAddress(server.address), received }
      })
    ).pipe(Layer.provide(NodeHttpServer.layerServer(createServer, { host: "127.0.0.1", port: 0 })))
}

const status = (status: number) => Effect.succeed(HttpServerResponse.empty({ status }))

const reset = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  NodeHttpServerRequest.toIncomingMessage(request).socket.resetAndDestroy()
  return yield* Effect.never
})

/** How often each of them fails, and how. */
const habits = {
  steady: { fails: 0, answer: status(204) },
  flaky: { fails: 0.5, answer: status(503) },
  hanging: { fails: 0.3, answer: Effect.never },
  resetting: { fails: 0.4, answer: reset },
  gone: { fails: 1, answer: status(410) }
}
