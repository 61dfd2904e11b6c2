export type Transport = "websocket" | "sse" | "poll"

export interface Message {
  /** The name it was published with; "message" if with none, "push.binary" for bytes. */
  event: string
  /** Text, or bytes for "push.binary". */
  data: string | Uint8Array
  /** Its cursor; none for what the server wrote to this client alone. */
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
  /** The server said 204: there is no next try. */
  final: boolean
  /** Of a WebSocket; or what woke the page. */
  code?: number
  reason?: string
  /** Of a response. */
  status?: number
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
  transports?: Transport[]
  request?: RequestInit
  wait?: number
  retry?: number
  longest?: number
  silence?: number
  timeout?: number
}

export interface Connection {
  /** WebSocket only: false, and nothing sent, on another transport or without one. */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob): boolean
  close(): void
  readonly transport: Transport | null
  /** Where it is, for a later `cursor` option; without the token of a long poll. */
  readonly cursor: string | undefined
}

export function push(url: string | URL, options?: Options): Connection
/** `retry` comes alone, as soon as its line has ended. */
export function parser(onblock: (block: { event?: string, data?: string, id?: string, retry?: number }) => void): (text: string) => void
