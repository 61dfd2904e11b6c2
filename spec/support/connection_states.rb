# frozen_string_literal: true

require_relative "serving"

# A server with a client in every state of a connection, which stays in it until `open_gate`. For specs that measure what a
# server uses while all its clients wait. (Crossing has fewer states, and asks whether each client gets its answer.)
class ConnectionStates
  # All workers are busy once every state that occupies one is reached.
  THREADS = 9

  APP = <<~'CONFIG'
    require "spec_app"

    LARGE = "0123456789" * 1_000_000

    module Gate
      OPENED = Queue.new

      def self.wait(name)
        SpecApp.report(:waits, id: name)
        OPENED.pop
      end
    end

    MEETING = Queue.new
    HIJACKED = Queue.new

    # Says one thing, and the rest when the gate is opened.
    class Quiet
      def initialize(name) = @name = name

      def each
        yield "first"
        Gate.wait(@name)
        yield "last"
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    # More than any socket takes.
    class Endless
      def initialize(name) = @name = name
      def each = (yield LARGE until Gate::OPENED.closed?)
      def close = SpecApp.report(:closed, id: @name)
    end

    quiet_call = lambda do |name|
      lambda do |stream|
        stream.write("first")
        Gate.wait(name)
        stream.write("last")
      rescue IOError, SystemCallError
        nil # The client has gone.
      ensure
        stream.close
        SpecApp.report(:closed, id: name)
      end
    end

    handler = SpecApp::Recorder.new(message: lambda do |client, data|
      case data
      when "wait" then Gate.wait(SpecApp.name(client))
      when "close" then client.close
      when "flood" then client.write(LARGE)
      end
    end)

    run(lambda do |env|
      name = env["QUERY_STRING"]
      case env["PATH_INFO"]
      when "/wait"
        Gate.wait(name)
        [200, {}, ["answered"]]
      when "/meet"
        SpecApp.report(:meets)
        MEETING.pop
        [200, {}, ["met"]]
      when "/hints"
        env["rack.early_hints"].call("link" => "</style.css>; rel=preload")
        Gate.wait(name)
        [200, {}, ["answered"]]
      when "/each" then [200, {}, Quiet.new(name)]
      when "/call" then [200, {}, quiet_call[name]]
      when "/endless" then [200, {}, Endless.new(name)]
      when "/large" then [200, {}, [LARGE]]
      when "/hijack"
        HIJACKED << env["rack.hijack"].call
        SpecApp.report(:hijacked, id: name)
        [-1, {}, []]
      when "/push"
        env["rack.upgrade"] = handler
        [200, {}, []]
      when "/push-wait"
        Gate.wait(name)
        env["rack.upgrade"] = handler
        [200, {}, []]
      else [200, {}, ["answered"]]
      end
    end)
  CONFIG

  # Timeouts are long: no state ends by itself while a spec looks at it.
  OPTIONS = ["--threads", THREADS, "--mailbox-messages", 2, "--head-timeout", 300, "--body-timeout", 300, "--write-timeout", 300,
             "--slow-timeout", 300, "--close-timeout", 300, "--max-queued-bytes", "64MiB"].freeze

  # What a client can do to its connection.
  FAULTS = { "waits" => ->(_) {},
             "has closed its side" => ->(connection) { connection.finish_writing },
             "has gone" => ->(connection) { connection.close },
             "has reset its connection" => ->(connection) { connection.reset } }.freeze

  # How each state is reached. The block runs in the ConnectionStates and returns the client's connection. States that occupy a
  # worker come last, and after them those that wait for a worker.
  STATES = {
    "before its first request" => -> { connection },
    "in a head" => -> { connection.write("GET / HTTP/1.1\r\nho") },
    "in a body" => -> { connection.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nsome") },
    "in a chunked body" => -> { connection.write("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nso") },
    "behind a refusal" => lambda do
      connection.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: #{1 << 40}\r\n\r\nsome").tap { |it| it.read_until("413") }
    end,
    "told to continue" => lambda do
      head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n"
      connection.write(head).tap { |it| it.read_until("100 Continue\r\n\r\n") }
    end,
    "between two requests" => -> { connection.write(get("/")).tap { |it| it.read_until("answered") } },
    "in the head of a second request" => lambda do
      connection.write("#{get("/")}GET / HT").tap { |it| it.read_until("answered") }
    end,
    "before a quiet body's next part (each)" => -> { connection.write(get("/each")).tap { |it| it.read_until("first") } },
    "before a quiet body's next part (call)" => -> { connection.write(get("/call")).tap { |it| it.read_until("first") } },
    "with a response that it does not take" => -> { slow_connection.write(get("/large")).tap { |it| it.read_until("\r\n\r\n") } },
    "with a streamed response that it does not take" => lambda do
      slow_connection.write(get("/endless")).tap { |it| it.read_until("\r\n\r\n") }
    end,
    "with a file that it does not take" => -> { slow_connection.write(get("/file.bin")).tap { |it| it.read_until("\r\n\r\n") } },
    "in a long poll" => -> { push("/push?push_wait=60&", accept: "text/event-stream") },
    "with an event stream" => -> { push("/push?", accept: "text/event-stream").tap { |it| it.read_until("\r\n\r\n") } },
    "with an event stream that it does not take" => lambda do
      push("/push?", on: slow_connection, accept: "text/event-stream").tap { flood }
    end,
    "with a WebSocket" => -> { websocket },
    "in the middle of a frame" => -> { websocket.write(WebSocketFrame.encode(:text, "hello")[0..-2]) },
    "with a WebSocket that it does not take" => -> { websocket(on: slow_connection).tap { flood } },
    "with a WebSocket whose pings it lets be answered, and takes no answer" => lambda do
      pings = WebSocketFrame.encode(:ping, "x" * 125) * 1000
      websocket(on: slow_connection).tap { |it| 40.times { it.write(pings) } }
    end,
    "before its answer to a Close frame" => lambda do
      websocket.write(WebSocketFrame.encode(:text, "close")).tap { |it| WebSocketFrame.read(it) }
    end,
    "behind its answer to a Close frame" => lambda do
      websocket.write(WebSocketFrame.encode(:close)).tap { |it| WebSocketFrame.read(it) }
    end,
    "with a socket that the app has taken" => -> { connection.write(get("/hijack")).tap { reported(:hijacked) } },
    "with a socket that the app has taken behind what was read" => lambda do
      connection.write("#{get("/hijack")}more").tap { reported(:hijacked) }
    end,
    "with a WebSocket whose mailbox is full" => lambda do
      websocket.write(WebSocketFrame.encode(:text, "wait") * 9).tap { waits }
    end,
    "with a WebSocket that broke the protocol behind a message that the handler has" => lambda do
      broken = WebSocketFrame.encode(:text, "x", rsv: 1) + WebSocketFrame.encode(:text, "x" * 1000)
      websocket.write(WebSocketFrame.encode(:text, "wait") + broken).tap { waits }
    end,
    "with the app" => -> { connection.write(get("/wait")).tap { waits } },
    "behind early hints" => -> { connection.write(get("/hints")).tap { |it| waits && it.read_until("\r\n\r\n") } },
    "with another request behind the app's" => -> { connection.write("#{get("/wait")}GET / HTTP/1.1\r\nhost: x\r\n\r\n").tap { waits } },
    "with a head behind the app's request" => -> { connection.write("#{get("/wait")}GET / HT").tap { waits } },
    "with a body behind the app's request" => lambda do
      connection.write("#{get("/wait")}POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nsome").tap { waits }
    end,
    "with a WebSocket handshake at the app" => lambda do
      upgrade("/push-wait?", **WebSocketClient.handshake).tap { waits }
    end,
    "with a request for an event stream at the app" => lambda do
      upgrade("/push-wait?", accept: "text/event-stream").tap { waits }
    end,
    "before a worker is free" => -> { occupy_workers.then { connection.write(get("/wait")) } },
    "with a WebSocket handshake before a worker is free" => lambda do
      occupy_workers.then { upgrade("/push-wait?", **WebSocketClient.handshake) }
    end
  }.freeze

  # States in which a client that still listens gets the app's answer when the gate is opened.
  ANSWERED = ["with the app", "behind early hints", "with another request behind the app's", "with a head behind the app's request",
              "with a body behind the app's request", "before a worker is free"].freeze

  attr_reader :app

  # options: further ones of the command line.
  def initialize(*options)
    public_folder = { "public/file.bin" => "0123456789" * 1_000_000 }
    @app = AppProcess.start(APP, *OPTIONS, "--public", "public", *options, files: public_folder)
    @clients = []
    @connections = {}
    @occupied = 0
  end

  # A client in each of these states: name => RawConnection.
  def reach(names = STATES.keys)
    names.to_h { |name| [name, @connections[name] = instance_exec(&STATES.fetch(name))] }.tap { settle }
  end

  # Lets the clients of all connections that `reach` has made do this.
  def inflict(fault)
    @connections.each_value(&FAULTS.fetch(fault))
    settle
  end

  # Waits until the reactor has seen all that was sent before: it refuses this request after that, without a worker.
  def settle
    3.times do
      RawConnection.new(@app.address).write("GET / HTTP/9.9\r\n\r\n").tap(&:read_to_end).close
    end
  end

  # The number of connections that the server counts as open.
  def open_connections = @app.ask("PushServer.stats[:open_connections]")

  # See AppProcess.
  def descriptors
    settle
    @app.descriptors
  end

  # Whether as many requests as there are workers can be in the app at the same time.
  def all_workers_meet?
    clients = Array.new(THREADS) { connection.write(get("/meet")) }
    clients.each { @app.events.take(event: "meets") }
    @app.ask("THREADS.times { MEETING << true }; nil".sub("THREADS", THREADS.to_s))
    clients.all? { |client| client.read_until("met") }
  end

  # Tells the server to stop, and waits until it accepts no more connections.
  def begin_drain
    @app.signal("TERM")
    deadline = Deadline.in
    loop do
      RawConnection.new(@app.address).close
      deadline.check!("the server to accept nobody")
    end
  rescue *RawConnection::REFUSED
    self
  end

  def open_gate = @app.ask("Gate::OPENED.close; HIJACKED.pop.close until HIJACKED.empty?; nil")

  def close
    @clients.each { |client| client.close unless client.closed? }
    @clients.clear
    @connections.clear
  end

  # Kills the server if it still runs.
  def kill
    close
    @app.kill if @app.running?
  end

  private

  def connection(**options) = RawConnection.new(@app.address, **options).tap { |client| @clients << client }
  def slow_connection = connection(receive_buffer: 16_384)

  def get(path) = "GET #{path}?#{@name = Serving.next_name} HTTP/1.1\r\nhost: x\r\n\r\n"

  def reported(event) = @app.events.take(event: event.to_s, id: @name)

  # The app has the request, or the message.
  def waits
    @occupied += 1
    reported(:waits)
  end

  def upgrade(target, on: connection, **headers)
    lines = headers.map { |name, value| "#{name}: #{value}\r\n" }.join
    @name = "#{target[/\?(.*)/, 1]}#{Serving.next_name}"
    on.write("GET #{target.sub(/\?.*/, "")}?#{@name} HTTP/1.1\r\nhost: x\r\n#{lines}\r\n")
  end

  # A client that the app's handler has got.
  def push(target, on: connection, **headers) = upgrade(target, on: on, **headers).tap { reported(:open) }

  def websocket(on: connection)
    push("/push?", on: on, **WebSocketClient.handshake).tap { |it| it.read_until("\r\n\r\n") }
  end

  # More than a socket takes is written to the client made last.
  def flood = @app.ask("client.write(LARGE)", id: @name)

  # No worker is free any more.
  def occupy_workers
    connection.write(get("/wait")).tap { waits } until @occupied >= THREADS
  end
end
