// ws_client.js URL: talks to the app of foreign_clients_spec.rb through npm's ws and prints what it got.
import { once } from "node:events"
import WebSocket from "ws"

const [url] = process.argv.slice(2)
const results = {}

async function connect(name) {
  const socket = new WebSocket(`${url}/?${name}`)
  // The server may send pings while the script waits for nothing.
  socket.pings = 0
  socket.on("ping", () => { socket.pings += 1 })
  await once(socket, "open")
  return socket
}

async function echoed(socket, data) {
  const answer = once(socket, "message")
  socket.send(data)
  const [bytes, binary] = await answer
  return { same: Buffer.compare(bytes, Buffer.from(data)) === 0, binary }
}

async function closed(socket) {
  const [code, reason] = await once(socket, "close")
  return [code, reason.toString()]
}

const socket = await connect("ws")
results.text = await echoed(socket, "grüße 😀")
results.binary = await echoed(socket, Buffer.from([0, 255, 128]))
results.largeText = await echoed(socket, "x".repeat(2 ** 20))
results.largeBinary = await echoed(socket, Buffer.alloc(2 ** 20, 7))

const fragmented = once(socket, "message")
socket.send("in ", { fin: false })
socket.send("three ", { fin: false })
socket.send("parts", { fin: true })
results.fragmented = (await fragmented)[0].toString()

const pong = once(socket, "pong")
socket.ping("are you there?")
results.pong = (await pong)[0].toString()

await echoed(socket, "ping me")
while (socket.pings < 2) await once(socket, "ping")
results.pings = socket.pings

const ended = closed(socket)
socket.close(4001, "bye")
results.closedByClient = await ended

const other = await connect("ws-closed-by-server")
const closing = closed(other)
other.send("close me")
results.closedByServer = await closing

console.log(JSON.stringify(results))
