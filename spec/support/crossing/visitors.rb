# frozen_string_literal: true

require "digest"
require_relative "../raw_connection"
require_relative "../websocket_frame"

module Crossing
  # A client that gets into one state of a connection, does something wrong there, and then waits for its answer. It must get
  # the answer or the end of the connection; otherwise it would wait for ever.
  class Visitor
    HEAD = "host: localhost\r\n"
    WEBSOCKET = "#{HEAD}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" \
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".freeze
    BODY = ("body of an upload " * 20_000).freeze
    DIGEST = Digest::SHA256.hexdigest(BODY)
    UPLOAD = "POST /digest HTTP/1.1\r\n#{HEAD}content-length: #{BODY.bytesize}\r\n\r\n".freeze

    HELLO = WebSocketFrame.encode(:text, "hello").freeze
    WAIT = WebSocketFrame.encode(:text, "wait").freeze
    POLL = "GET /push?push_wait=60 HTTP/1.1\r\n#{HEAD}accept: text/event-stream\r\n".freeze

    # `enter` is sent first. `entered` matches what comes then, and from that `inside` makes what is sent next. `go_on` is sent
    # when the gate is opened, and `whole` matches what comes then. `worker`: the state occupies a worker.
    State = Struct.new(:name, :enter, :entered, :inside, :go_on, :whole, :worker, keyword_init: true)

    STATES = [
      State.new(name: "no request", enter: "", go_on: "GET /hello HTTP/1.1\r\n#{HEAD}\r\n", whole: /Hello\z/),
      State.new(name: "in a head", enter: "GET /hello HTTP/1.1\r\nho", go_on: "st: localhost\r\n\r\n", whole: /Hello\z/),
      State.new(name: "in a body", enter: "POST /digest HTTP/1.1\r\n#{HEAD}content-length: 4\r\n\r\nab", go_on: "cd",
                whole: /#{Digest::SHA256.hexdigest("abcd")}\z/),
      State.new(name: "in a body that is in a file", enter: UPLOAD + BODY[0, 300_000], go_on: BODY[300_000..], whole: /#{DIGEST}\z/),
      State.new(name: "idle", enter: "GET /hello HTTP/1.1\r\n#{HEAD}\r\n", entered: /Hello\z/,
                go_on: "GET /hello HTTP/1.1\r\n#{HEAD}\r\n", whole: /Hello\z/),
      State.new(name: "with the app", enter: "GET /wait HTTP/1.1\r\n#{HEAD}\r\n", whole: /waited\z/, worker: true),
      State.new(name: "with the app, another behind", worker: true,
                enter: "GET /wait HTTP/1.1\r\n#{HEAD}\r\nGET /hello HTTP/1.1\r\n#{HEAD}\r\n", whole: /waited.*Hello\z/m),
      State.new(name: "in a body's each", enter: "GET /each HTTP/1.1\r\n#{HEAD}\r\n", entered: /first,/, whole: /last\r\n0\r\n\r\n\z/),
      State.new(name: "in a body's call", enter: "GET /call HTTP/1.1\r\n#{HEAD}\r\n", entered: /first,/, whole: /last\r\n0\r\n\r\n\z/),
      State.new(name: "not reading its response", enter: "GET /large HTTP/1.1\r\n#{HEAD}\r\n", whole: /(0123456789abcdef){64}\z/),
      State.new(name: "hijacked", enter: "GET /hijack HTTP/1.1\r\n#{HEAD}\r\n", entered: /first,/, whole: /last\z/),
      State.new(name: "event stream", enter: "GET /push HTTP/1.1\r\n#{HEAD}accept: text/event-stream\r\n\r\n", entered: /data: open/,
                whole: /data: tick/),
      State.new(name: "WebSocket", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/, whole: /tick/),
      State.new(name: "WebSocket in a message", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
                inside: ->(_) { HELLO[0, 4] }, go_on: HELLO[4..], whole: /answer to hello/),
      # If its worker is killed, its message is lost, and the connection stays open.
      State.new(name: "WebSocket in a callback", enter: "GET /push HTTP/1.1\r\n#{WEBSOCKET}", entered: /open/,
                inside: ->(_) { WAIT }, whole: /answer to wait|tick/, worker: true),
      # The first poll of a session says that it is open; the second one waits.
      State.new(name: "long poll", enter: "#{POLL}\r\n", entered: /\nid: [^\n]*\n\n\z/,
                inside: ->(answer) { "#{POLL}last-event-id: #{answer[/.*^id: ([^\n]*)\n/m, 1]}\r\n\r\n" }, whole: /data: tick/)
    ].freeze

    # What a client does while the server has its faults.
    DEEDS = %i[wait wait wait close half_close reset stall].freeze

    attr_reader :state, :deed

    # @param patience [Numeric] seconds that it waits for each answer
    def initialize(address, state, deed, patience)
      @address, @state, @deed, @patience = address, state, deed, patience
    end

    def to_s = "#{state.name} (#{deed})"

    # Connects, sends `enter`, and waits for `entered`, if there is one.
    def enter
      @connection = RawConnection.new(@address, receive_buffer: 16 * 1024)
      @connection.offer(state.enter)
      @answer = await(state.entered) if state.entered
    rescue RawConnection::Ended
      # The server has refused the request, because it could not make threads and has not tried again yet.
      @connection.close
    end

    # Sends `inside`, if there is one. Nothing comes back for that.
    def go_inside
      @connection.offer(state.inside.call(@answer)) if state.inside && !@connection.closed?
    end

    def meet_its_fault
      return if @connection.closed?

      case deed
      when :close then @connection.close
      when :half_close then @connection.finish_writing
      when :reset then @connection.reset
      end
    rescue Errno::ENOTCONN
      nil # The server has ended it already.
    end

    # Sends `go_on`, and waits for the answer or the end. Returns what went wrong, or nil.
    def conclude
      return if @connection.closed?

      @connection.offer(state.go_on) if state.go_on && deed != :half_close
      await(state.whole)
      nil
    rescue RawConnection::Ended
      nil
    rescue Deadline::Missed => e
      "#{self}: #{e.message}"
    ensure
      @connection.close unless @connection.closed?
    end

    private

    def await(pattern)
      deadline = Deadline.in(@patience)
      text = "".b
      text << @connection.read_available(seconds: deadline.remaining) until pattern.match?(text)
      text
    end
  end
end
