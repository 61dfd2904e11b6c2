import assert from "node:assert/strict"
import { afterEach, beforeEach, test } from "node:test"
import { push } from "./subject.js"
import { MockServer, TOKEN } from "./mock_server.js"
import { Story, World } from "./world.js"

const TRANSPORTS = ["websocket", "sse", "poll"]
// Watches are set for these; all else is a pause.
const WATCHES = [10000, 40000, 35000]
const aPause = (delay) => !WATCHES.includes(delay)

let server, world, story, connection

beforeEach(async () => {
  [server, world, story] = [await MockServer.start(), new World(), new Story()]
})

afterEach(async () => {
  connection?.close()
  await server.stop()
})

function connect(options = {}) {
  connection = push(server.url, { world, ...story.callbacks, ...options })
  return connection
}

// A poll ends with each message: its pauses pass until a condition holds.
async function until(kind, number) {
  let held = false
  const wanted = story.nth(kind, number).finally(() => { held = true })
  while (!held) await Promise.race([wanted, world.pass(aPause)])
  return wanted
}

for (const transport of TRANSPORTS) {
  const only = { transports: [transport] }

  test(`${transport}: resumes after a killed connection, with no hole and no duplicate`, async () => {
    connect(only)
    await story.nth("notice", 1)
    for (let number = 1; number <= 5; number += 1) {
      server.publish(number)
      await until("message", number)
    }
    assert.match(connection.cursor, /^e-5/)
    server.kill()
    for (let number = 6; number <= 9; number += 1) server.publish(number)
    await until("message", 9)
    server.publish(10)
    await until("message", 10)
    assert.deepEqual(story.texts, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"])
    // A session of polls outlives the connection.
    const recovered = transport === "poll" ? null : true
    assert.deepEqual(story.all("notice").at(-1).data, { recovered, gap: [] })
    assert.deepEqual(story.all("gap"), [])
    assert.match(server.requests.find(({ cursor }) => cursor).cursor, /^e-/)
  })

  test(`${transport}: begins where a page's cursor says`, async () => {
    ["A", "B"].forEach((text) => server.publish(text))
    connect({ ...only, cursor: "e-0" })
    await until("message", 2)
    assert.deepEqual(story.texts, ["A", "B"])
    assert.equal(server.requests[0].cursor, "e-0")
  })

  test(`${transport}: tells of a gap`, async () => {
    Array.from({ length: 9 }, (_, index) => server.publish(index))
    server.floor = 5
    connect({ ...only, cursor: "e-3" })
    const { channels, dropped } = await story.nth("gap", 1)
    assert.deepEqual([channels, dropped], [["news"], undefined])
    assert.deepEqual(story.texts, [])
    server.publish("on")
    await until("message", 1)
    assert.deepEqual(story.texts, ["on"])
  })

  test(`${transport}: hands over events, ids, JSON and bytes`, async () => {
    connect(only)
    await story.nth("notice", 1)
    server.publish('{"a":1}', "said")
    const message = await until("message", 1)
    assert.deepEqual([message.event, message.data, message.id, message.json()], ["said", '{"a":1}', "e-1", { a: 1 }])
    server.publish("AP+A", "push.binary")
    assert.deepEqual((await until("message", 2)).data, Uint8Array.of(0, 255, 128))
  })

  test(`${transport}: close ends it for good`, async () => {
    connect(only)
    await story.nth("notice", 1)
    assert.equal(connection.transport, transport)
    connection.close()
    const told = story.events.length
    assert.deepEqual([connection.transport, world.timers], [null, []])
    server.publish("too late")
    world.wake("online")
    world.wake()
    server.kill()
    assert.equal(story.events.length, told)
    assert.equal(connection.send("too late"), false)
    assert.deepEqual([world.timers, server.requests.length], [[], 1])
  })

  test(`${transport}: close within a callback stops what else has come`, async () => {
    ["A", "B", "C"].forEach((text) => server.publish(text))
    const heard = []
    await new Promise((resolve) => {
      const onmessage = ({ data }) => {
        heard.push(data)
        if (data === "B") resolve(connection.close())
      }
      connect({ ...only, cursor: "e-0", onmessage })
    })
    assert.deepEqual([heard, connection.cursor], [["A", "B"], "e-2"])
  })

  test(`${transport}: a callback that raises is reported, and costs nothing else`, async () => {
    connect({ ...only, onmessage: (message) => { story.callbacks.onmessage(message); throw new Error(message.data) } })
    await story.nth("notice", 1)
    server.publish("A")
    await until("message", 1)
    server.publish("B")
    await until("message", 2)
    assert.deepEqual([story.texts, world.errors.map(({ message }) => message)], [["A", "B"], ["A", "B"]])
    assert.deepEqual(story.all("close"), [])
  })
}

test("only a WebSocket can send", async () => {
  connect()
  await story.nth("notice", 1)
  assert.equal(connection.send("hello"), true)
  const { event, data } = await story.nth("message", 1)
  assert.deepEqual([event, data], ["heard", "hello"])
  connection.close()
  connect({ transports: ["sse"] })
  await story.nth("notice", 2)
  assert.equal(connection.send("hello"), false)
})

test("falls back at once, and remembers what worked", async () => {
  server.refused = { websocket: 403, sse: 404 }
  connect()
  await story.nth("notice", 1)
  assert.deepEqual(server.requests.map(({ transport }) => transport), TRANSPORTS)
  assert.deepEqual([connection.transport, story.all("close")], ["poll", []])
  connection.close()
  connect()
  await story.nth("notice", 2)
  assert.equal(server.requests.at(-1).transport, "poll")
  assert.equal(server.requests.length, 4)
})

test("does without storage", async () => {
  Object.defineProperty(world, "sessionStorage", { get() { throw new Error("forbidden") } })
  connect()
  await story.nth("notice", 1)
  assert.equal(connection.transport, "websocket")
})

test("does without a WebSocket of the browser's, and with one that raises", async () => {
  world.WebSocket = class { constructor() { throw new Error("forbidden by a policy") } }
  connect()
  await story.nth("notice", 1)
  assert.equal(connection.transport, "sse")
})

test("polls where a proxy holds back the stream", async () => {
  server.refused = { websocket: 0 }
  server.buffers = true
  connect()
  await server.request(2)
  await world.pass((delay) => delay === 10000)
  assert.equal((await story.nth("open", 1)).transport, "poll")
  server.publish("through")
  await until("message", 1)
})

test("what is no event stream is none", async () => {
  server.refused = { sse: 401 }
  connect({ transports: ["sse"] })
  const { status, transport, final } = await story.nth("close", 1)
  assert.deepEqual([status, transport, final], [401, "sse", false])
})

test("204 is the end", async () => {
  server.refused = { sse: 204 }
  connect({ transports: ["sse"] })
  assert.equal((await story.nth("close", 1)).final, true)
  assert.deepEqual(world.timers, [])
})

test("a poll's token goes to no other transport, in no URL, and not to the page", async () => {
  connect({ transports: ["websocket", "sse", "poll"] })
  await story.nth("notice", 1)
  server.publish("A")
  await until("message", 1)
  server.refused = { websocket: 0, sse: 503 }
  server.kill()
  await until("open", 2)
  assert.equal(connection.transport, "poll")
  server.publish("B")
  await until("message", 2)
  server.publish("C")
  await until("message", 3)
  assert.equal(connection.cursor, "e-3")
  // The stream stands in for the poll, and then the WebSocket is back.
  server.refused = { websocket: 0, poll: 503 }
  server.kill()
  await until("open", 3)
  assert.equal(connection.transport, "sse")
  server.refused = {}
  server.kill()
  await until("open", 4)
  assert.equal(connection.transport, "websocket")
  server.publish("D")
  await until("message", 4)
  assert.deepEqual(story.texts, ["A", "B", "C", "D"])
  const seen = server.requests.map(({ transport, cursor, url }) => [transport, cursor?.includes(TOKEN) ?? false, url.href.includes(TOKEN)])
  assert.ok(seen.some(([transport, has]) => transport === "poll" && has))
  assert.deepEqual(seen.filter(([transport, has, inUrl]) => inUrl || (has && transport !== "poll")), [])
  // A page that has a token from somewhere does not put it there either.
  connection.close()
  connect({ transports: ["websocket"], cursor: `e-4.${TOKEN}.7` })
  await story.nth("notice", story.all("notice").length + 1)
  assert.equal(server.requests.at(-1).cursor, "e-4")
})

test("keeps ids that only look like a poll's", async () => {
  connect({ transports: ["sse"], cursor: "1.2.3" })
  assert.equal((await server.request(1)).cursor, "1.2.3")
  assert.equal(connection.cursor, "1.2.3")
})

test("backs off, within bounds, until something comes", async () => {
  server.refused = { websocket: 0, sse: 503, poll: 503 }
  world.chance = 0.5 // first retry: 2000
  connect()
  // Half way from 2000 to 2000, 4000, 8000, 16000, and from then on 30000.
  const bounds = [2000, 3000, 5000, 9000, 16000, 16000]
  for (const [index, delay] of bounds.entries()) {
    assert.equal((await story.nth("close", index + 1)).delay, delay)
    if (index === bounds.length - 1) server.refused = {}
    assert.equal(await world.pass(aPause), delay)
  }
  await story.nth("notice", 1)
  server.kill()
  assert.equal((await story.nth("close", bounds.length + 1)).delay, 2000)
})

test("chance never leaves the bounds", async () => {
  for (const [chance, first, third] of [[0, 500, 500], [0.999999, 500, 2000]]) {
    Object.assign(world, { chance })
    server.refused = { sse: 503 }
    story = new Story()
    connect({ transports: ["sse"], retry: 500 })
    assert.equal(Math.round((await story.nth("close", 1)).delay), first)
    await world.pass(aPause)
    await story.nth("close", 2)
    await world.pass(aPause)
    assert.equal(Math.round((await story.nth("close", 3)).delay), third)
    connection.close()
  }
})

test("honours retry:", async () => {
  server.retry = 7777
  connect({ transports: ["sse"] })
  await story.nth("notice", 1)
  server.tell("event: push.bye\nretry: 1234\ndata: {}\n\n")
  await story.nth("notice", 2)
  server.kill()
  assert.equal((await story.nth("close", 1)).delay, 1234)
})

test("honours a retry: that nothing follows, also of a stream that held nothing else", async () => {
  connect({ transports: ["sse"] })
  await story.nth("notice", 1)
  server.tell("retry: 1234\n")
  server.end()
  assert.equal((await story.nth("close", 1)).delay, 1234)
  server.overloaded = true
  server.retry = 2345
  await world.pass(aPause)
  assert.equal((await story.nth("close", 2)).delay, 2345)
})

test("hears nothing of a heartbeat between two messages", async () => {
  connect({ transports: ["sse"] })
  await story.nth("notice", 1)
  server.publish("A")
  server.tell(":\n")
  server.publish("B")
  await until("message", 2)
  assert.deepEqual([story.texts, story.all("notice").length], [["A", "B"], 1])
})

test("forgets a farewell's retry: once it is connected again", async () => {
  connect({ transports: ["websocket"] })
  await story.nth("notice", 1)
  server.tell("event: push.bye\nretry: 1234\ndata: {}\n\n")
  await story.nth("notice", 2)
  const delays = []
  for (const loss of [1, 2]) {
    server.kill()
    delays.push((await story.nth("close", loss)).delay)
    await world.pass(aPause)
    await story.nth("notice", 2 + loss)
  }
  assert.deepEqual(delays, [1234, 1000])
})

test("what worked on this page gets three tries before others", async () => {
  connect()
  await story.nth("notice", 1)
  server.refused = { websocket: 0 }
  server.kill()
  await until("open", 2)
  assert.deepEqual(server.requests.map(({ transport }) => transport), ["websocket", ...Array(3).fill("websocket"), "sse"])
  // And is asked again after the next loss.
  server.refused = {}
  server.kill()
  await until("open", 3)
  assert.equal(connection.transport, "websocket")
})

test("a poll that stands in sees after a minute whether what worked does again", async () => {
  connect({ transports: ["websocket", "poll"] })
  await story.nth("notice", 1)
  server.refused = { websocket: 0 }
  server.kill()
  await until("open", 2)
  assert.equal(connection.transport, "poll")
  world.time += 61000
  server.publish("A") // ends this poll; the preferred transport is tried and fails, which the page does not see
  await until("message", 1)
  server.publish("B")
  await until("message", 2)
  assert.deepEqual([connection.transport, story.all("open").length, story.all("close").length], ["poll", 2, 3])
  server.refused = {}
  world.time += 61000
  server.publish("C")
  await until("open", 3)
  assert.deepEqual([connection.transport, story.texts], ["websocket", ["A", "B", "C"]])
})

test("a stream without heartbeats is dead", async () => {
  connect({ transports: ["sse"] })
  await story.nth("notice", 1)
  await world.timer((delay) => delay === 40000)
  const before = world.delays.length
  server.tell(":\n")
  while (world.delays.length === before) await new Promise(setImmediate)
  await world.pass((delay) => delay === 40000)
  const { error, transport } = await story.nth("close", 1)
  assert.deepEqual([error.message, transport], ["nothing received for 40000 ms", "sse"])
  server.publish("meanwhile")
  await until("message", 1)
})

test("events of an abandoned connection are ignored", async () => {
  connect()
  await story.nth("notice", 1)
  const abandoned = [...server.readers]
  world.wake("online")
  assert.equal((await story.nth("close", 1)).reason, "online")
  abandoned.forEach((reader) => reader.write("id: e-99\ndata: ghost\n\n"))
  await until("open", 2)
  server.publish("A")
  await until("message", 1)
  assert.deepEqual(story.texts, ["A"])
})

test("waking up ends a pause", async () => {
  server.refused = { websocket: 0, sse: 0, poll: 0 }
  connect()
  await story.nth("close", 1)
  server.refused = {}
  world.wake()
  assert.equal(await world.pass(aPause), 0)
  await story.nth("open", 1)
})

test("waking up replaces a connection that has been silent, and no other", async () => {
  connect()
  await story.nth("notice", 1)
  world.wake()
  assert.deepEqual(story.all("close"), [])
  world.time += 40001
  world.document.hidden = true
  world.wake()
  assert.deepEqual(story.all("close"), [])
  world.document.hidden = false
  world.wake()
  await story.nth("close", 1)
  await until("open", 2)
})

test("reads no faster than onmessage keeps its promises", async () => {
  let keep
  const heard = []
  connect({ transports: ["sse"], onmessage: ({ data }) => { heard.push(data); return new Promise((resolve) => { keep = resolve }) } })
  await story.nth("notice", 1)
  server.publish("A")
  while (!keep) await new Promise(setImmediate)
  assert.deepEqual(world.timers, [])
  server.publish("B")
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
  assert.deepEqual(heard, ["A"])
  keep()
  while (heard.length < 2) await new Promise(setImmediate)
})

test("sends what the app wants in a request, and cursors that are no Latin", async () => {
  connect({ transports: ["sse"], cursor: "é-😀", request: { headers: { authorization: "Bearer x" } } })
  const { headers } = await server.request(1)
  assert.deepEqual([headers.authorization, headers.accept], ["Bearer x", "text/event-stream"])
  assert.equal(Buffer.from(headers["last-event-id"], "latin1").toString(), "é-😀")
})

test("keeps the query of its address", async () => {
  connection = push(`${server.url}?room=a%20b`.replace("http", "ws"), { world, cursor: "e-0" })
  const { url } = await server.request(1)
  assert.deepEqual(Object.fromEntries(url.searchParams), { room: "a b", last_event_id: "e-0" })
})

// A page that came over this protocol, from the server's origin.
function pageOver(protocol) {
  world.location = new URL(server.url)
  world.performance = { getEntriesByType: (type) => type === "navigation" ? [{ nextHopProtocol: protocol }] : [] }
}

for (const [protocol, transport] of [["http/1.1", "websocket"], ["h2", "sse"], ["h3", "sse"], ["", "websocket"]]) {
  test(`prefers ${transport} on a page that came over ${protocol || "an unknown protocol"}`, async () => {
    pageOver(protocol)
    connect()
    await story.nth("notice", 1)
    assert.equal(connection.transport, transport)
  })
}

test("prefers a WebSocket to another origin, and what a page says itself", async () => {
  pageOver("h2")
  world.location = new URL("https://example.com/")
  connect()
  await story.nth("notice", 1)
  assert.equal(connection.transport, "websocket")
  connection.close()
  pageOver("h2")
  connect({ transports: TRANSPORTS })
  await story.nth("notice", 2)
  assert.equal(connection.transport, "websocket")
})

test("over HTTP/2 uses a WebSocket where a proxy holds back the stream", async () => {
  pageOver("h2")
  server.buffers = true
  connect()
  await server.request(1)
  await world.pass((delay) => delay === 10000)
  assert.equal((await story.nth("open", 1)).transport, "websocket")
})

for (const transport of TRANSPORTS) {
  test(`${transport}: ten that ask for the same share a connection`, async () => {
    const stories = Array.from({ length: 10 }, () => new Story())
    const all = stories.map(({ callbacks }) => push(server.url, { world, transports: [transport], ...callbacks }))
    connection = { close: () => all.forEach((one) => one.close()) }
    const everyone = (kind, number) => Promise.all(stories.map((it) => it.nth(kind, number)))
    story = stories[9]
    await everyone("notice", 1)
    assert.deepEqual([server.requests.length, stories.map((it) => it.all("open").length)], [1, Array(10).fill(1)])
    server.publish("A")
    await until("message", 1)
    assert.deepEqual(all.map(({ cursor }) => cursor), Array(10).fill("e-1"))
    server.kill()
    server.publish("B")
    await until("message", 2)
    assert.deepEqual(stories.map(({ texts }) => texts), Array(10).fill(["A", "B"]))
    // It ends with the last of them.
    all.slice(0, 9).forEach((one) => one.close())
    server.publish("C")
    await until("message", 3)
    assert.deepEqual(stories.map(({ texts }) => texts.length), [...Array(9).fill(2), 3])
    assert.deepEqual(all.map((one) => one.transport), [...Array(9).fill(null), transport])
    all[9].close()
    assert.deepEqual([all[9].transport, world.timers], [null, []])
  })
}

test("later, and with another address, cursor, order or request, there is a connection of its own", async () => {
  const request = { headers: {} }
  const others = [{ cursor: "e-0" }, { transports: ["sse"] }, { request }, { request: { headers: {} } }, { request }]
  const all = [push(server.url, { world }), push(`${server.url}?b`, { world }), ...others.map((it) => push(server.url, { world, ...it }))]
  connect()
  await story.nth("notice", 1)
  all.push(push(server.url, { world }))
  // Two share the first connection, and two the one with this request.
  await server.request(7)
  assert.equal(server.requests.length, 7)
  all.forEach((one) => one.close())
})

test("one of several that share a connection may close within a callback, or raise, and others lose nothing", async () => {
  const heard = []
  const first = push(server.url, { world, onmessage: () => { heard.push("first"); second.close(); throw new Error("no") } })
  const second = push(server.url, { world, onmessage: () => heard.push("second") })
  connect()
  await story.nth("notice", 1)
  server.publish("A")
  await until("message", 1)
  assert.deepEqual([heard, story.texts, world.errors.length, server.requests.length], [["first"], ["A"], 1, 1])
  assert.equal(second.send("x"), false)
  first.close()
})

test("reads no faster than all that share a connection keep their promises", async () => {
  const waiting = [], heard = []
  const slow = (name) => ({ data }) => { heard.push(name + data); return new Promise((resolve) => waiting.push(resolve)) }
  const other = push(server.url, { world, transports: ["sse"], onmessage: slow("1") })
  connect({ transports: ["sse"], onmessage: slow("2") })
  await story.nth("notice", 1)
  server.publish("A")
  while (waiting.length < 2) await new Promise(setImmediate)
  server.publish("B")
  waiting.shift()()
  for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
  assert.deepEqual(heard, ["1A", "2A"])
  waiting.shift()()
  while (heard.length < 4) await new Promise(setImmediate)
  other.close()
})
