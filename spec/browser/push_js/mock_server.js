// A server that speaks the three transports as push_server does: one log, many readers. Plain http, no dependency.
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import { once } from "node:events"

// Of all sessions of long polls; as a server's are random.
export const TOKEN = "0123456789abcdef".repeat(2)
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

export class MockServer {
  // Every request that came: { transport, cursor, headers, url }.
  requests = []
  log = []
  readers = new Set()
  waiting = []
  sockets = new Set()
  // Transports that are refused, with a status (0: the connection is cut).
  refused = {}
  // Whether event streams are held back, as a proxy does that buffers.
  buffers = false
  // Cursors older than this are answered with a gap.
  floor = 0
  // Whether event streams end with the retry: that they begin with.
  overloaded = false
  retry = 1

  static async start() {
    const server = new MockServer()
    server.http = createServer((request, response) => server.#answer(request, response))
    server.http.on("upgrade", (request, socket) => server.#upgrade(request, socket))
    server.http.on("connection", (socket) => {
      server.sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => server.sockets.delete(socket))
    })
    server.http.listen(0, "127.0.0.1")
    await once(server.http, "listening")
    return server
  }

  get url() {
    return `http://127.0.0.1:${this.http.address().port}/events`
  }

  publish(data, event = "msg") {
    this.log.push(`id: e-${this.log.length + 1}\nevent: ${event}\ndata: ${data}\n\n`)
    this.readers.forEach((reader) => reader.news())
  }

  // What one reader alone hears.
  tell(text) {
    this.readers.forEach((reader) => reader.write(text))
  }

  // Event streams end as they should.
  end() {
    this.readers.forEach((reader) => reader.end())
  }

  // Every connection is cut, with no farewell.
  kill() {
    this.readers.clear()
    this.sockets.forEach((socket) => socket.destroy())
  }

  // Waits for the nth request.
  async request(number) {
    while (this.requests.length < number) await new Promise((resolve) => this.waiting.push(resolve))
    return this.requests[number - 1]
  }

  async stop() {
    this.kill()
    this.http.close()
    await once(this.http, "close")
  }

  #note(transport, request) {
    const url = new URL(request.url, this.url)
    const cursor = request.headers["last-event-id"] ?? url.searchParams.get("last_event_id")
    const entry = { transport, cursor, headers: request.headers, url }
    this.requests.push(entry)
    this.waiting.splice(0).forEach((resolve) => resolve())
    return entry
  }

  // How push.open says it, and from where the log is read.
  #greeting(cursor, opens = true) {
    const seen = cursor ? Number(/^e-(\d+)/.exec(cursor)?.[1] ?? NaN) : this.log.length
    const lost = !(seen >= this.floor && seen <= this.log.length)
    const start = lost ? this.log.length : seen
    const state = { recovered: cursor ? !lost : null, gap: lost ? ["news"] : [] }
    return { start, text: opens ? `id: e-${start}\nevent: push.open\ndata: ${JSON.stringify(state)}\n\n` : "" }
  }

  #read({ start, text }, write) {
    const reader = { at: start, write, news: () => { while (reader.at < this.log.length) write(this.log[reader.at++]) } }
    if (text) write(text)
    reader.news()
    this.readers.add(reader)
    return reader
  }

  #answer(request, response) {
    const wait = new URL(request.url, this.url).searchParams.get("push_wait")
    const transport = wait ? "poll" : "sse"
    const { cursor } = this.#note(transport, request)
    if (transport in this.refused) return this.#refuse(response, this.refused[transport])
    wait ? this.#poll(cursor, response) : this.#stream(cursor, response)
  }

  #refuse(response, status) {
    if (status) response.writeHead(status, { "content-type": "text/plain" }).end("no\n")
    else response.destroy()
  }

  #stream(cursor, response) {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
    if (this.buffers) return response.flushHeaders()
    response.write(`retry: ${this.retry}\n`)
    if (this.overloaded) return response.end()
    const reader = this.#read(this.#greeting(cursor), (text) => response.write(text))
    reader.end = () => response.end()
    response.on("close", () => this.readers.delete(reader))
  }

  // Ends as soon as there is something, with an id: of its own: the cursor and the session's token.
  #poll(cursor, response) {
    let body = `retry: ${this.retry}\n`
    const finish = () => {
      if (!this.readers.delete(reader)) return
      body += `id: e-${reader.at}.${TOKEN}.1\n\n`
      response.writeHead(200, { "content-type": "text/event-stream", "content-length": Buffer.byteLength(body) }).end(body)
    }
    const reader = this.#read(this.#greeting(cursor, !cursor?.includes(".")), (text) => {
      body += text
      queueMicrotask(finish)
    })
    response.on("close", () => this.readers.delete(reader))
  }

  #upgrade(request, socket) {
    const { cursor } = this.#note("websocket", request)
    const status = this.refused.websocket
    if (status !== undefined) return status ? socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`) : socket.destroy()
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64")
    socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" +
                 `sec-websocket-accept: ${accept}\r\nsec-websocket-protocol: push.v1\r\n\r\n`)
    const reader = this.#read(this.#greeting(cursor), (text) => socket.write(frame(text)))
    socket.on("close", () => this.readers.delete(reader))
    socket.on("data", (bytes) => {
      const opcode = bytes[0] & 15
      if (opcode === 8) socket.end(Buffer.from([0x88, 0]))
      if (opcode === 1) this.publish(unmasked(bytes), "heard")
    })
  }
}

function frame(text) {
  const payload = Buffer.from(text)
  const head = payload.length < 126 ? [0x81, payload.length] : [0x81, 126, payload.length >> 8, payload.length & 255]
  return Buffer.concat([Buffer.from(head), payload])
}

// A short frame of a client.
function unmasked(bytes) {
  const mask = bytes.subarray(2, 6)
  return Buffer.from(bytes.subarray(6, 6 + (bytes[1] & 127)).map((byte, index) => byte ^ mask[index % 4])).toString()
}
