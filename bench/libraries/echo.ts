// A TCP server that sends back what it gets, in a process of its own, so that its costs are not counted; run without an
// importer it is that server.
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

if (process.argv[1] === import.meta.filename) {
  const server = createServer((socket) => socket.setNoDelay(true).pipe(socket))
  server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port))
  process.on("disconnect", () => process.exit())
}

/** One byte there and back, over whichever of the sockets is free. */
export const echoClient = async (sockets: number): Promise<Effect.Effect<void>> => {
  const server = fork(import.meta.filename)
  const [port] = await once(server, "message")
  const free: Array<Socket> = []
  for (let i = 0; i < sockets; i++) {
    const socket = connect(port, "127.0.0.1").setNoDelay(true)
    await once(socket, "connect")
    free.push(socket)
  }
  return Effect.callback((resume) => {
    const socket = free.pop()!
    socket.once("data", () => {
      free.push(socket)
      resume(Effect.void)
    })
    socket.write("x")
  })
}
