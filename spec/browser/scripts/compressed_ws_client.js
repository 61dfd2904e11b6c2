// compressed_ws_client.js URL some|all: talks to the app of compressed_clients_spec.rb through npm's ws, with some or all combinations
// of window bits and context takeover that ws can offer, and prints what it got for each.
import { once } from "node:events"
import WebSocket from "ws"

const [url, extent] = process.argv.slice(2)
const row = (number) => ({ id: number, name: `Ana ${number}`, price: (number * 7919) % 1000, grüße: "😀" })
const json = JSON.stringify(Array.from({ length: 2000 }, (_, number) => row(number)))
const messages = ["", "short", json.slice(0, 700), json.slice(0, 20_000), json]

async function talk(perMessageDeflate) {
  const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0, ...perMessageDeflate } })
  await once(socket, "open")
  const extensions = socket.extensions
  let same = 0
  // Twice, so that a message may refer to the ones before.
  for (const message of [...messages, ...messages]) {
    for (const data of [message, Buffer.from(message)]) {
      const answer = once(socket, "message")
      socket.send(data)
      const [bytes, binary] = await answer
      if (Buffer.compare(bytes, Buffer.from(data)) === 0 && binary === (typeof data !== "string")) same += 1
    }
  }
  const fragments = once(socket, "message")
  for (let at = 0; at < 20_000; at += 1000) socket.send(json.slice(at, at + 1000), { fin: at === 19_000 })
  if ((await fragments)[0].toString() === json.slice(0, 20_000)) same += 1
  const before = socket._socket.bytesRead
  const last = once(socket, "message")
  socket.send(json)
  await last
  const bytes = socket._socket.bytesRead - before
  const closed = once(socket, "close")
  socket.close(1000)
  const [code] = await closed
  return { extensions, same, code, smaller: bytes < json.length / 2 }
}

const bits = extent === "all" ? [undefined, 8, 9, 10, 11, 12, 13, 14, 15] : [undefined, 8, 9]
const results = []
for (const serverMaxWindowBits of bits) {
  for (const clientMaxWindowBits of [...bits, true]) {
    for (const clientNoContextTakeover of [false, true]) {
      for (const serverNoContextTakeover of [false, true]) {
        const offer = { clientNoContextTakeover, serverNoContextTakeover }
        if (serverMaxWindowBits) offer.serverMaxWindowBits = serverMaxWindowBits
        if (clientMaxWindowBits) offer.clientMaxWindowBits = clientMaxWindowBits
        results.push({ offer, ...(await talk(offer)) })
      }
    }
  }
}
console.log(JSON.stringify(results))
