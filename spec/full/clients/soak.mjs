// soak.mjs PORT REQUESTS CYCLES [publish]: that many requests on kept connections, beside that many streams that open, exchange a
// message and end, each in one of the ways a stream can end. Prints how many of each went as they should. With "publish", some of the
// requests publish to a channel, and the streams subscribe to it.

import { randomBytes } from "node:crypto"
import http from "node:http"
import net from "node:net"

const [port, requests, cycles] = process.argv.slice(2).map(Number)
const publishes = process.argv[5] === "publish"
const done = { requests: 0, cycles: 0 }

// Calls work(0) to work(count - 1), so many at a time.
async function each(count, atOnce, work) {
  let next = 0
  const line = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, line))
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 32 })
const upload = Buffer.alloc(2000, "u")
const pages = [
  { path: "/", size: 5 },
  { path: "/echo", method: "POST", body: upload, size: upload.length },
  { path: "/parts", size: 12 },
  { path: "/", size: 5 },
  { path: "/large", size: 50_000 },
  { path: "/size", method: "POST", body: Buffer.alloc(200_000), size: 6 },
]
if (publishes) pages.push({ path: "/publish", method: "POST", body: upload, size: "PushServer::Cursor".length })
const page = publishes ? "/news" : "/"

function request(number) {
  const { path, method = "GET", body, size } = pages[number % pages.length]
  // One in a hundred ends its connection.
  const headers = number % 100 === 0 ? { connection: "close" } : {}
  return new Promise((resolve, reject) => {
    const sent = http.request({ port, host: "127.0.0.1", path, method, agent, headers }, response => {
      let length = 0
      response.on("data", data => (length += data.length))
      response.on("error", reject)
      response.on("end", () => {
        if (response.statusCode !== 200 || length !== size) reject(new Error(`${path}: ${response.statusCode}, ${length} bytes`))
        done.requests++
        resolve()
      })
    })
    sent.on("error", reject)
    sent.end(body)
  })
}

const handshake = (path, headers) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n\r\n`
const webSocket = () =>
  handshake(
    page,
    `connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString("base64")}`,
  )
const eventSource = path => handshake(path, "accept: text/event-stream")

// A masked frame; its mask is zero.
const frame = (opcode, payload) =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)])
const text = payload => frame(1, payload)
const close = frame(8, "\x03\xe8")

// What is said, what is waited for until then, and how it ends.
const lives = [
  [["say", webSocket()], ["hear", "welcome"], ["say", text("hello")], ["hear", "hello"], ["say", close], ["end"]],
  [["say", webSocket()], ["hear", "welcome"], ["say", text("close")], ["hear", "as you wish"], ["say", close], ["end"]],
  [["say", webSocket()], ["hear", "welcome"], ["reset"]],
  [["say", eventSource(page)], ["hear", "data: welcome\n\n"], ["leave"]],
  [["say", eventSource(`${page}?leave`)], ["hear", "data: welcome\n\n"], ["end"]],
  [["say", eventSource(page)], ["hear", "data: welcome\n\n"], ["reset"]],
]

function cycle(number) {
  const steps = [...lives[number % lives.length]]
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1")
    let heard = ""
    const ended = () => {
      done.cycles++
      resolve()
    }
    const go = () => {
      for (;;) {
        const [what, it] = steps[0]
        if (what === "say") socket.write(it)
        else if (what === "hear") {
          const at = heard.indexOf(it)
          if (at < 0) return
          heard = heard.slice(at + it.length)
        } else {
          if (what === "leave") socket.destroy()
          if (what === "reset") socket.resetAndDestroy()
          return what === "end" ? undefined : ended()
        }
        steps.shift()
      }
    }
    socket.on("connect", go)
    socket.on("data", data => {
      heard += data.toString("latin1")
      go()
    })
    socket.on("end", () => (steps[0][0] === "end" ? ended() : reject(new Error(`it ended before ${steps[0]}`))))
    socket.on("error", reject)
  })
}

await Promise.all([each(requests, 32, request), each(cycles, 50, cycle)])
agent.destroy()
console.log(JSON.stringify(done))
