// The browser library of push_server: docs/javascript.md. No dependencies. MIT licence.
const connectors = { websocket, sse, poll: (link) => sse(link, link.wait) }
// The cursor of an id. In the id of a poll the session's token follows, which is sent only with polls.
const bare = (id) => id?.replace(/\.[0-9a-f]{32,37}\.\d+$/, "")

// Makes a function that takes the text of an event stream in any pieces. Calls `onblock` for each block, and each line `retry:`.
export function parser(onblock) {
  let rest = "", cr = false, block = {}
  function line(text) {
    if (text === "") [, block] = [onblock(block), {}]
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(text)
    if (name === "data") block.data = block.data === undefined ? value : `${block.data}\n${value}`
    else if (name === "event" || (name === "id" && !value.includes("\0"))) block[name] = value
    else if (name === "retry" && /^\d+$/.test(value)) onblock({ retry: Number(value) })
  }
  return (text) => {
    const lines = (rest + (cr && text[0] === "\n" ? text.slice(1) : text)).split(/\r\n|\r|\n/)
    if (text !== "") cr = text.endsWith("\r")
    rest = lines.pop()
    lines.forEach(line)
  }
}

function websocket({ world, address, cursor, opened, received, ended }) {
  const url = new URL(address.replace(/^http/, "ws"))
  if (cursor) url.searchParams.set("last_event_id", cursor)
  const socket = new world.WebSocket(url.href, "push.v1")
  socket.onopen = opened
  socket.onmessage = ({ data }) => received(`${data}\n\n`) // A frame holds whole blocks.
  socket.onclose = ({ code, reason }) => ended({ code, reason })
  return { cut: () => socket.close(), send: (data) => socket.send(data) }
}

// A response that streams, or, with `wait`, a response that ends as soon as there is a message.
function sse({ world, address, cursor, request, opened, received, ended }, wait) {
  const url = new URL(address), control = new AbortController(), decoder = new TextDecoder()
  if (wait) url.searchParams.set("push_wait", wait)
  const resume = cursor && { "last-event-id": String.fromCharCode(...new TextEncoder().encode(cursor)) }
  const headers = { ...request.headers, ...resume, accept: "text/event-stream" }
  async function read() {
    const response = await world.fetch(url.href, { cache: "no-store", ...request, headers, signal: control.signal })
    const { status, body } = response, type = response.headers.get("content-type") ?? ""
    if (status !== 200 || !type.startsWith("text/event-stream")) return ended({ status })
    for (let reader = body.getReader(), part; !(part = await reader.read()).done;) {
      opened() // Not earlier: a proxy that buffers may pass on the head alone.
      await received(decoder.decode(part.value, { stream: true }))
    }
    ended({ status, whole: true })
  }
  read().catch((error) => ended({ error }))
  return { cut: () => control.abort() }
}

// The usual order of transports. If the page came over HTTP/2, its streams share one connection. Then an event stream is preferred.
function order(world, address) {
  const [page] = world.performance?.getEntriesByType?.("navigation") ?? []
  const shared = /^h[23]/.test(page?.nextHopProtocol) && new URL(address).origin === world.location?.origin
  return shared ? ["sse", "websocket", "poll"] : ["websocket", "sse", "poll"]
}

// Connections that have told their listeners nothing yet. Who asks for the same joins as another listener.
const young = new Set()
const alike = ["transports", "wait", "timeout", "silence", "longest", "retry", "cursor"]

export function push(url, options = {}) {
  const { world = globalThis, request } = options
  const address = new URL(url, world.location?.href).href.replace(/^ws/, "http")
  const key = JSON.stringify([address, ...alike.map((name) => options[name])])
  const same = (it) => it.key === key && it.world === world && it.request === request
  const known = [...young].find(same), connection = known ?? begin(address, world, options)
  const handle = connection.join(options)
  if (!known) {
    young.add(Object.assign(connection, { key, world, request }))
    connection.connect()
  }
  return handle
}

function begin(address, world, options) {
  const { transports = order(world, address), request = {}, wait = 25 } = options
  const { timeout = 10000, silence = 40000, longest = 30000 } = options, closing = new AbortController()
  const now = () => world.Date.now(), usual = options.retry ?? 1000 + world.Math.random() * 2000
  const key = `push ${transports} ${address.split(/[?#]/)[0]}`
  // If storage is forbidden, reading the property raises an error.
  const storage = (action) => { try { return action(world.sessionStorage) } catch { return null } }
  // home: the transport to return to; proven: it has opened on this page; misses: how often it has failed since.
  let home = Math.max(0, transports.indexOf(storage((it) => it.getItem(key)))), index = home, proven = false, misses = 0
  let { cursor } = options, up = null, link = null, timer, retry = usual, losses = 0, since = 0, last = 0

  const rest = (delay, action) => { world.clearTimeout(timer); timer = action && world.setTimeout(action, delay) }
  const drop = () => { rest(); link?.cut?.(); link = null }
  const watch = (delay) => rest(delay, () => lost({ error: new Error(`nothing received for ${delay} ms`) }))
  const say = world.reportError ?? console.error
  const guarded = (action, detail) => { try { return action?.(detail) } catch (error) { say(error) } }
  const listeners = new Map(), self = { join, connect }
  // Calls this callback of all listeners. Returns a promise if one of them does.
  function tell(name, detail) {
    young.delete(self)
    const given = [...listeners].map(([handle, it]) => listeners.has(handle) && guarded(it[name], detail))
    const promises = given.filter((it) => it?.then).map((it) => Promise.resolve(it).catch(say))
    return promises.length ? Promise.all(promises) : undefined
  }

  function connect() {
    const name = transports[index], mine = link = {}
    const ours = (action) => (detail) => link === mine ? action(detail) : undefined // Events of an abandoned link are ignored.
    const blocks = [], parse = parser((block) => blocks.push(block)), streams = name !== "websocket"
    last = now()
    async function received(text) {
      last = now()
      parse(text)
      if (streams) rest()
      for (const block of blocks.splice(0)) {
        const kept = link === mine && guarded(take, block)
        if (kept && streams) await kept // The stream is read no faster than this, so the server notices a slow page.
      }
      if (streams) ours(watch)(silence)
    }
    function opened() {
      if (up === name) return
      [up, since, retry] = [name, now(), usual]
      rest()
      if (!proven) [home, proven] = [index, true]
      if (index === home) [misses] = [0, storage((it) => it.setItem(key, name))]
      tell("onopen", { transport: name })
    }
    watch(name === "poll" ? wait * 1000 + timeout : timeout)
    try {
      const events = { opened: ours(opened), received: ours(received), ended: ours(lost) }
      const from = name === "poll" ? cursor : bare(cursor)
      Object.assign(mine, connectors[name]({ world, address, cursor: from, request, wait, ...events }))
    } catch (error) { ours(lost)({ error }) }
  }

  function lost(why, awake = false) {
    const transport = transports[index], opened = up === transport
    drop()
    if (opened && why.whole && transport === "poll") { // Each poll ends like this. Once a minute, try home again.
      if (index !== home && now() - since > 60000) [index, since] = [home, now()]
      return rest(retry, connect)
    }
    if (opened && now() - since > longest) losses = 0
    if (!opened && index === home) misses += 1
    // A transport that has worked on this page gets three tries: if there is no network, the others fail too.
    const stay = opened || awake || (index === home && proven && misses < 3)
    index = stay ? home : (index + 1) % transports.length
    if (!stay && index !== home) return connect()
    const most = Math.max(retry, Math.min(longest, retry * 2 ** losses++))
    const delay = awake ? 0 : retry + world.Math.random() * (most - retry), final = why.status === 204
    up = null
    if (final) close()
    tell("onclose", { transport, ...why, delay, final })
    if (!closing.signal.aborted) rest(delay, connect)
  }

  function take({ event = "message", data, id, retry: pause = retry }) {
    [retry, cursor] = [pause, id ?? cursor]
    if ((id ?? data) !== undefined) losses = 0
    if (data === undefined) return
    if (event === "push.binary") data = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))
    else if (event.startsWith("push.")) {
      const news = JSON.parse(data), { channel, gap = [channel], count } = news
      if (/\.(open|gap|drop)$/.test(event) && gap.length) tell("ongap", { channels: gap, dropped: count })
      return tell("onnotice", { event, data: news, id })
    }
    return tell("onmessage", { event, data, id, json: () => JSON.parse(data) })
  }

  // A page cannot see pings. So when it wakes, a connection that may be dead is replaced, and a pause ends.
  function wake({ type }) {
    const doubtful = now() - last > silence || !(link || up)
    if (type === "online" || (doubtful && !world.document.hidden)) lost({ reason: type }, true)
  }
  function close() {
    up = null
    young.delete(self)
    closing.abort()
    drop()
  }
  world.addEventListener?.("online", wake, closing)
  world.document?.addEventListener("visibilitychange", wake, closing)

  // The connection as one listener sees it. It ends with the last of them.
  function join(listener) {
    const handle = {
      close: () => { if (listeners.delete(handle) && !listeners.size) close() },
      send: (data) => listeners.has(handle) && up === "websocket" && (link.send(data), true),
      get transport() { return listeners.has(handle) ? up : null },
      get cursor() { return bare(cursor) }
    }
    listeners.set(handle, listener)
    return handle
  }
  return self
}
