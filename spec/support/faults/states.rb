# frozen_string_literal: true

require "digest"
require_relative "../websocket_client"

module Faults
  HEAD = "host: localhost\r\n"
  WEBSOCKET = "#{HEAD}#{WebSocketClient.handshake.map { |name, value| "#{name}: #{value}\r\n" }.join}\r\n".freeze
  EVENT_STREAM = "#{HEAD}accept: text/event-stream\r\n\r\n".freeze
  POLL = "GET /push?push_wait=60 HTTP/1.1\r\n#{HEAD}accept: text/event-stream\r\n".freeze

  UPLOADED = ("body of an upload " * 20_000).freeze
  UPLOAD = "POST /digest HTTP/1.1\r\n#{HEAD}content-length: #{UPLOADED.bytesize}\r\n\r\n".freeze
  POST = "POST /digest HTTP/1.1\r\n#{HEAD}content-length: 4\r\n".freeze
  DIGEST = /#{Digest::SHA256.hexdigest("abcd")}\z/

  GET = ->(path) { "GET #{path} HTTP/1.1\r\n#{HEAD}\r\n" }
  TEXT = ->(message) { WebSocketFrame.encode(:text, message) }
  # Its beginning and its end need the same key.
  HELLO = TEXT["hello"].freeze

  # A state of a connection. The client sends `enter`, reads until `entered` matches, makes `inside` from that and sends it, and
  # reads until `reached` matches. When the gate is opened, it sends `go_on`, and gets something that matches `whole`. All but the
  # name may be missing. gate: what waits at the gate in this state, :app_thread or :other_thread. queued: the
  # request waits for a thread, if all of them wait at the gate.
  State = Struct.new(:name, :enter, :entered, :inside, :reached, :go_on, :whole, :gate, :queued, keyword_init: true) do
    # Whether `entered` comes without a thread that may have to wait at the gate.
    def entered_soon? = !entered.nil? && (gate != :app_thread || !inside.nil?)

    # Whether a request of the client is answered when the gate is opened.
    def answered? = whole == /waited/
  end

  # States that occupy a thread come after the others, and those that wait for a thread last.
  STATES = [
    { name: "before its first request", enter: "", go_on: GET["/hello"], whole: /Hello\z/ },
    { name: "in a head", enter: "GET /hello HTTP/1.1\r\nho", go_on: "st: localhost\r\n\r\n", whole: /Hello\z/ },
    { name: "in a body", enter: "#{POST}\r\nab", go_on: "cd", whole: DIGEST },
    { name: "in a body that is in a file", enter: UPLOAD + UPLOADED[0, 300_000], go_on: UPLOADED[300_000..],
      whole: /#{Digest::SHA256.hexdigest(UPLOADED)}\z/ },
    { name: "in a chunked body", enter: "POST /digest HTTP/1.1\r\n#{HEAD}transfer-encoding: chunked\r\n\r\n4\r\nab",
      go_on: "cd\r\n0\r\n\r\n", whole: DIGEST },
    { name: "in a body that is refused", enter: "POST / HTTP/1.1\r\n#{HEAD}content-length: #{1 << 40}\r\n\r\nsome", entered: /413/ },
    { name: "after 100 Continue", enter: "#{POST}expect: 100-continue\r\n\r\n", entered: /100 Continue\r\n\r\n/, go_on: "abcd",
      whole: DIGEST },
    { name: "between two requests", enter: GET["/hello"], entered: /Hello\z/, go_on: GET["/hello"], whole: /Hello\z/ },
    { name: "in the head of a second request", enter: "#{GET["/hello"]}GET /he", entered: /Hello\z/,
      go_on: "llo HTTP/1.1\r\n#{HEAD}\r\n", whole: /Hello\z/ },
    { name: "in a body's each", enter: GET["/each"], entered: /first,/, whole: /last\r\n0\r\n\r\n\z/, gate: :other_thread },
    { name: "in a body's call", enter: GET["/call"], entered: /first,/, whole: /last\r\n0\r\n\r\n\z/, gate: :other_thread },
    { name: "not reading its response", enter: GET["/large"], entered: /\r\n\r\n/, whole: /(0123456789abcdef){64}\z/ },
    { name: "not reading its streamed response", enter: GET["/endless"], entered: /\r\n\r\n/ },
    { name: "not reading its file", enter: GET["/file.bin"], entered: /\r\n\r\n/, whole: /(0123456789){64}\z/ },
    # The first poll of a session says that it is open; the second one waits.
    { name: "in a long poll", enter: "#{POLL}\r\n", entered: /\nid: [^\n]*\n\n\z/,
      inside: ->(answer) { "#{POLL}last-event-id: #{answer[/.*^id: ([^\n]*)\n/m, 1]}\r\n\r\n" }, whole: /data: tick/ },
    { name: "with an event stream", enter: "GET /push HTTP/1.1\r\n#{EVENT_STREAM}", entered: /data: open/, whole: /data: tick/ },
    { name: "not reading its event stream", enter: "GET /push?flood HTTP/1.1\r\n#{EVENT_STREAM}", entered: /data: 0123/ },
    { name: "with a WebSocket", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/, whole: /tick/ },
    { name: "in a WebSocket frame", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { HELLO[0, 4] }, go_on: HELLO[4..], whole: /answer to hello/ },
    { name: "not reading its WebSocket", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { TEXT["flood"] }, reached: /0123/ },
    { name: "not reading the answers to its pings", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { WebSocketFrame.encode(:ping, "x" * 125) * 40_000 } },
    { name: "before its answer to a Close frame", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { TEXT["close"] }, reached: /\x88/n },
    { name: "after the answer to its Close frame", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { WebSocketFrame.encode(:close) }, reached: /\x88/n },
    { name: "hijacked", enter: GET["/hijack"], entered: /first,/, whole: /last\z/, gate: :other_thread },
    { name: "hijacked with bytes that were read", enter: "#{GET["/hijack"]}more", entered: /first,/, whole: /last\z/, gate: :other_thread },
    # If its thread is killed, its message is lost, and the connection stays open.
    { name: "in on_message", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/, inside: ->(_) { TEXT["wait"] },
      whole: /answer to wait|tick/, gate: :app_thread },
    { name: "with a full mailbox", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/, inside: ->(_) { TEXT["wait"] * 9 },
      whole: /answer to wait|tick/, gate: :app_thread },
    { name: "in on_message, before a violation of the protocol", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
      inside: ->(_) { TEXT["wait"] + WebSocketFrame.encode(:text, "x", rsv: 1) + TEXT["x" * 1000] }, gate: :app_thread },
    { name: "in the app", enter: GET["/wait"], whole: /waited/, gate: :app_thread },
    { name: "in the app, after early hints", enter: GET["/hints"], entered: /103.*\r\n\r\n/m, whole: /waited/, gate: :app_thread },
    { name: "in the app, with another request", enter: GET["/wait"] + GET["/hello"], whole: /waited/, gate: :app_thread },
    { name: "in the app, with the head of another request", enter: "#{GET["/wait"]}GET / HT", whole: /waited/, gate: :app_thread },
    { name: "in the app, with the body of another request", enter: "#{GET["/wait"]}#{POST}\r\nab", whole: /waited/, gate: :app_thread },
    { name: "in the app, for a WebSocket", enter: "GET /push-wait HTTP/1.1\r\n#{WEBSOCKET}", whole: /open/, gate: :app_thread },
    { name: "in the app, for an event stream", enter: "GET /push-wait HTTP/1.1\r\n#{EVENT_STREAM}", whole: /data: open/, gate: :app_thread },
    { name: "waiting for a thread", enter: GET["/wait"], whole: /waited/, queued: true },
    { name: "waiting for a thread, for a WebSocket", enter: "GET /push-wait HTTP/1.1\r\n#{WEBSOCKET}", whole: /open/, queued: true }
  ].map { |fields| State.new(**fields).freeze }.freeze
end
