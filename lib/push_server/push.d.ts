export type Transport = "websocket" | "sse" | "poll"

export interface Message {
  /** The event's name: "message" if it has none, "push.binary" for bytes. */
  event: string
  /** Text, or bytes for "push.binary". */
  data: string | Uint8Array
  /** The cursor after this message. A message of client.write has none, unless the app gave one. */
  id?: string
  json(): any
}

export interface Notice {
  event: "push.open" | "push.gap" | "push.drop" | "push.join" | "push.leave" | "push.here" | "push.bye" | `push.${string}`
  data: any
  id?: string
}

export interface Loss {
  transport: Transport
  /** Milliseconds until the next try. */
  delay: number
  /** The server has answered 204: there is no next try. */
  final: boolean
  /** The code of a WebSocket's Close frame. */
  code?: number
  /** The reason of a WebSocket's Close frame, or the event of the page that made push.js reconnect. */
  reason?: string
  /** The status of the response. */
  status?: number
  /** Whether the response has ended completely. */
  whole?: boolean
  error?: unknown
}

export interface Options {
  onmessage?(message: Message): void | Promise<unknown>
  onopen?(opening: { transport: Transport }): void
  ongap?(gap: { channels: string[], dropped?: number }): void
  onclose?(loss: Loss): void
  onnotice?(notice: Notice): void
  cursor?: string
  /** In this order. On a page that came over HTTP/2 from the same origin, the event stream is the first by default; else the WebSocket. */
  transports?: Transport[]
  request?: RequestInit
  wait?: number
  retry?: number
  longest?: number
  silence?: number
  timeout?: number
}

export interface Connection {
  /** Sends over a WebSocket and returns true. Without an open WebSocket it sends nothing and returns false. */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob): boolean
  close(): void
  readonly transport: Transport | null
  /** The cursor after the last message, for a later `cursor` option. It does not contain the token of a long poll. */
  readonly cursor: string | undefined
}

/** Calls with the same URL and options share a connection, until it has opened. */
export function push(url: string | URL, options?: Options): Connection
/** Parses an event stream. `onblock` gets each block, and each `retry` alone, as soon as its line has ended. */
export function parser(onblock: (block: { event?: string, data?: string, id?: string, retry?: number }) => void): (text: string) => void
