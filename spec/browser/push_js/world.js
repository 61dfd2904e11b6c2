// What push.js takes from the browser, in the hands of a test: time passes, and chance falls, as it says.
import { WebSocket } from "ws"

// In a browser, an error without a listener has no effect.
class QuietWebSocket extends WebSocket {
  constructor(...how) {
    super(...how)
    this.on("error", () => {})
  }
}

export class World extends EventTarget {
  WebSocket = QuietWebSocket
  fetch = globalThis.fetch
  document = Object.assign(new EventTarget(), { hidden: false })
  Date = { now: () => this.time }
  Math = { random: () => this.chance }
  time = 1_000_000
  chance = 0
  errors = []
  reportError = (error) => this.errors.push(error)
  stored = new Map()
  sessionStorage = { getItem: (key) => this.stored.get(key) ?? null, setItem: (key, value) => this.stored.set(key, value) }
  // Timers in the order they were set; the delays of all there ever were.
  timers = []
  delays = []
  #changed = []

  setTimeout = (action, delay) => {
    const timer = { action, delay }
    this.timers.push(timer)
    this.delays.push(delay)
    this.#changed.splice(0).forEach((resolve) => resolve())
    return timer
  }

  clearTimeout = (timer) => {
    this.timers = this.timers.filter((other) => other !== timer)
  }

  // Waits until there is a timer of such a delay, and lets its time pass.
  async pass(matches) {
    const timer = await this.timer(matches)
    this.clearTimeout(timer)
    this.time += timer.delay
    timer.action()
    return timer.delay
  }

  async timer(matches = () => true) {
    for (;;) {
      const timer = this.timers.find(({ delay }) => matches(delay))
      if (timer) return timer
      await new Promise((resolve) => this.#changed.push(resolve))
    }
  }

  wake(type = "visibilitychange") {
    (type === "online" ? this : this.document).dispatchEvent(new Event(type))
  }
}

// Collects what callbacks are called with, and waits for the nth of a kind.
export class Story {
  events = []
  #changed = []

  get callbacks() {
    const note = (kind) => (detail) => {
      this.events.push({ kind, ...detail })
      this.#changed.splice(0).forEach((resolve) => resolve())
    }
    return Object.fromEntries(["message", "open", "gap", "close", "notice"].map((kind) => [`on${kind}`, note(kind)]))
  }

  all(kind) {
    return this.events.filter((event) => event.kind === kind)
  }

  async nth(kind, number) {
    while (this.all(kind).length < number) await new Promise((resolve) => this.#changed.push(resolve))
    return this.all(kind)[number - 1]
  }

  get texts() {
    return this.all("message").map(({ data }) => data)
  }
}
