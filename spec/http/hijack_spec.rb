# frozen_string_literal: true

require "spec_helper"

# An app takes over its connection: at once (rack.hijack in env), after the response's head (rack.hijack among the headers), or
# for a protocol that the client asked for (rack.protocol, Rack 3.1).
RSpec.describe "Hijacking" do
  serve <<~'CONFIG', "--threads", "2", "--log-level", "debug"
    require "spec_app"
    require "websocket"

    GATE = Queue.new
    KEPT = []

    class Body
      def initialize(name) = @name = name
      def each = SpecApp.report(:each, id: @name)
      def close = SpecApp.report(:closed, id: @name)
    end

    # What ActionCable and faye-websocket do, in short: a thread selects among hijacked sockets, reads without blocking, and
    # passes the bytes to a library.
    class EventLoop
      def initialize
        @sockets = {}
        @waker, @wakee = IO.pipe.reverse
        Thread.new { loop { turn } }
      end

      def add(io, &block)
        @sockets[io] = block
        @waker << "."
      end

      def remove(io)
        @sockets.delete(io)
        io.close
      end

      private

      def turn
        IO.select([@wakee, *@sockets.keys]).first.each do |io|
          next io.read_nonblock(100) if io.equal?(@wakee)

          case (data = io.read_nonblock(4096, exception: false))
          when :wait_readable then next
          when nil then remove(io)
          else @sockets[io].call(data)
          end
        rescue SystemCallError, IOError => e
          @sockets.delete(io)
          SpecApp.report(:broken, error: e.class.name)
        end
      end
    end
    EVENTS = EventLoop.new

    cable = lambda do |env|
      handshake = WebSocket::Handshake::Server.new
      handshake.from_rack(env)
      io = env["rack.hijack"].call
      io.write(handshake.to_s)
      frames = WebSocket::Frame::Incoming::Server.new(version: handshake.version)
      EVENTS.add(io) do |data|
        frames << data
        while (frame = frames.next)
          closing = frame.type == :close
          reply = closing ? { code: frame.code, data: frame.data } : { data: "echo: #{frame.data}" }
          io.write(WebSocket::Frame::Outgoing::Server.new(version: handshake.version, type: frame.type, **reply).to_s)
          EVENTS.remove(io) if closing
        end
      end
    end

    # Sends back all that comes, up to the end.
    echo = lambda do |io, before = nil|
      io.write(before) if before
      Thread.new do
        loop { io.write(io.readpartial(65_536)) }
      rescue EOFError
        io.close
      end
    end

    text = { "content-type" => "text/plain" }
    app = lambda do |env|
      name = env["QUERY_STRING"]
      case env["PATH_INFO"]
      when "/full"
        io = env["rack.hijack"].call
        SpecApp.report(:hijacked, id: name, io: io.is_a?(IO), same: io.equal?(env["rack.hijack_io"]),
                                  again: io.equal?(env["rack.hijack"].call), flag: env["rack.hijack?"],
                                  methods: %i[read write read_nonblock write_nonblock flush close close_read close_write closed?]
                                    .reject { |method| io.respond_to?(method) })
        io.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        io.close
        [-1, {}, Body.new(name)]
      when "/lint"
        env["rack.hijack"].call
        io = env["rack.hijack_io"]
        io.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        io.close
        [200, text, []]
      when "/echo"
        echo[env["rack.hijack"].call]
        [-1, {}, []]
      when "/sysread"
        io = env["rack.hijack"].call
        read = +""
        read << io.sysread(100) until read.bytesize >= 10
        io.write(read)
        io.close
        [-1, {}, []]
      when "/input"
        input = env["rack.input"].read
        io = env["rack.hijack"].call
        echo[io, input]
        [-1, {}, []]
      when "/cable"
        cable[env]
        [-1, {}, []]
      when "/both"
        env["rack.upgrade"] = SpecApp::Recorder.new
        echo[env["rack.hijack"].call, "hijacked\r\n"]
        [200, {}, []]
      when "/nothing"
        env["rack.hijack"].call.close
        nil
      when "/raise"
        env["rack.hijack"].call.tap { |it| it.write("mine") }.close
        raise "after the hijack"
      when "/gone"
        SpecApp.report(:call, id: name)
        GATE.pop
        begin
          env["rack.hijack"].call
          SpecApp.report(:result, id: name, error: nil)
        rescue IOError => e
          SpecApp.report(:result, id: name, error: e.class.name)
        end
        [200, text, ["x"]]
      when "/keep"
        KEPT << env["rack.hijack"]
        [200, text, ["kept"]]
      when "/partial"
        callable = lambda do |io|
          SpecApp.report(:partial, id: name, io: io.is_a?(IO))
          io.write("written by hand")
          io.close
        end
        [200, text.merge("x-app" => "yes", "rack.hijack" => callable), Body.new(name)]
      when "/partial-echo" then [200, text.merge("rack.hijack" => echo), []]
      when "/partial-raise" then [200, text.merge("rack.hijack" => ->(_io) { raise "the hijacker failed" }), []]
      when "/protocol" then [101, { "rack.protocol" => env["rack.protocol"]&.first }.compact, ->(stream) { echo[stream, "ready\n"] }]
      when "/protocol-of-ours" then [200, text.merge("rack.protocol" => "ours"), ["plain"]]
      when "/protocols" then [200, text, [env["rack.protocol"].inspect]]
      else [200, text, ["plain"]]
      end
    end

    run(->(env) { env["PATH_INFO"] == "/lint" ? Rack::Lint.new(app).call(env) : app.call(env) })
  CONFIG

  def named = @name = Serving.next_name
  def told(event) = app.events.take(event: event, id: @name)

  def request(path, *lines) = "GET #{path} HTTP/1.1\r\nhost: x\r\n#{lines.map { |line| "#{line}\r\n" }.join}\r\n"

  def upgrading(path, protocol = "echo") = request(path, "connection: upgrade", "upgrade: #{protocol}")

  # All bytes that the server sends in answer to these, up to the end.
  def all_of(bytes)
    client = http
    client.write(bytes)
    client.connection.read_to_end
  end

  def expect_alive = expect(get("/").body).to eq("plain")

  def threads = app.ask('Thread.list.count { |thread| thread.name.to_s.start_with?("push_server thread") }')

  after { expect_alive }

  describe "at once" do
    it "gives the app a real IO, and sends only what the app writes" do
      expect(all_of(request("/full?#{named}"))).to eq("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
      expect(told("hijacked")).to include(io: true, same: true, again: true, flag: true, methods: [])
    end

    it "closes the returned body without reading it, and accepts the status -1" do
      all_of(request("/full?#{named}"))
      told("closed")
      expect_alive
      expect(app.events.all(id: @name).map { |event| event[:event] }).to eq(%w[hijacked closed])
      expect(app.output).not_to match(/error: .*full/)
    end

    it "passes Rack::Lint" do
      expect(all_of(request("/lint"))).to end_with("hello")
    end

    it "allows the app to return anything afterwards" do
      expect(all_of(request("/nothing"))).to eq("")
    end

    it "sends no 500 if the app raises afterwards" do
      expect(all_of(request("/raise"))).to eq("mine")
      app.wait_for_line(/after the hijack/)
    end

    it "lets the app read and write" do
      client = http
      client.write(request("/echo"))
      ["one", "two", "x" * 300_000].each do |text|
        client.write(text)
        expect(client.connection.read_exactly(text.bytesize) == text).to be(true)
      end
      client.connection.finish_writing
      expect(client.connection.ending).to eq(:fin)
    end

    it "works after the request body was read" do
      client = http
      client.send_request("POST", "/input", body: "the body")
      expect(client.connection.read_exactly(8)).to eq("the body")
      client.write("more")
      expect(client.connection.read_exactly(4)).to eq("more")
    end

    it "works after the responses to earlier requests" do
      client = http
      client.write(request("/") + request("/") + request("/full?#{named}"))
      2.times { expect(client.read_response.body).to eq("plain") }
      expect(client.connection.read_to_end).to end_with("hello")
    end

    {
      "text" => "hello\n",
      "binary" => (0..255).map(&:chr).join.b,
      "bytes like a request" => "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
      "bytes like half a request" => "GET / HT",
      "a lot" => "0123456789" * 20_000
    }.each do |title, bytes|
      it "loses no bytes that come right after a request for an upgrade: #{title}" do
        client = http
        client.write(upgrading("/echo") + bytes)
        expect(client.connection.read_exactly(bytes.bytesize) == bytes.b).to be(true)
        client.write("more")
        expect(client.connection.read_exactly(4)).to eq("more")
        client.connection.finish_writing
        expect(client.connection.ending).to eq(:fin)
      end
    end

    it "loses no bytes that come right after another request" do
      client = http
      client.write("#{request("/echo")}hello\n")
      expect(client.connection.read_exactly(6)).to eq("hello\n")
    end

    it "sends what the app has written if the app closes without reading the bytes that came right after the request" do
      answers = Array.new(30) { all_of("#{request("/full?#{named}")}not read") }
      expect(answers.uniq).to eq(["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"])
    end

    it "ends the connection when the app closes it, also if bytes came right after the request and the client waits" do
      client = http
      client.write("#{request("/sysread")}0123456789")
      expect(client.connection.read_to_end).to eq("0123456789")
      eventually("the connection not to count any more") { app.ask("PushServer.stats[:open_connections]").zero? }
    end

    it "lets sysread read bytes that came before and after it" do
      client = http
      client.write("#{upgrading("/sysread")}01234")
      client.write("56789")
      expect(client.connection.read_to_end).to eq("0123456789")
    end

    it "takes precedence over rack.upgrade" do
      client = http
      client.send_request("GET", "/both", WebSocketClient.handshake)
      expect(client.connection.read_until("\r\n")).to eq("hijacked\r\n")
      client.write("mine")
      expect(client.connection.read_exactly(4)).to eq("mine")
      expect(app.events.all(event: "open")).to be_empty
    end

    it "raises IOError if the connection has ended" do
      client = http
      client.send_request("GET", "/gone?#{named}")
      told("call")
      port = client.connection.socket.local_address.ip_port
      client.connection.reset
      app.wait_for_line(/connection from 127\.0\.0\.1:#{port}: /)
      app.ask("GATE << true; nil")
      expect(told("result")).to include(error: "IOError")
    end

    it "raises IOError after the request was answered" do
      get("/keep")
      expect { app.ask("KEPT.pop.call") }.to raise_error(RemoteControl::Raised, /IOError/)
    end

    it "works with an event loop that implements WebSocket itself" do
      clients = Array.new(20) { WebSocketClient.new(app.address, "/cable") }
      ["one", "two", "x" * 20_000].each do |text|
        clients.each { |client| client.text(text) }
        clients.each { |client| expect(client.read_message).to eq("echo: #{text}") }
      end
      clients.each { |client| expect(client.finish(1000, "bye")).to eq([1000, "bye"]) }
    ensure
      clients&.each { |client| client.close unless client.closed? }
    end

    it "occupies no thread, and leaves no descriptor open" do
      skip "needs /proc" unless ProcessCost.available?
      expect_alive
      before = app.descriptors.size
      clients = Array.new(30) { http }
      clients.each { |client| client.write("#{upgrading("/echo")}hi") }
      clients.each { |client| expect(client.connection.read_exactly(2)).to eq("hi") }
      expect(threads).to eq(2)
      clients.each(&:close)
      eventually("the descriptors to be closed") { app.descriptors.size <= before + 2 }
    end
  end

  describe "after the response's head" do
    it "sends the head, and lets the app write the body up to the end of the connection" do
      client = http
      client.write(request("/partial?#{named}"))
      response = client.read_response
      expect(response).to have_attributes(status: 200, framing: :close, body: "written by hand")
      expect(response.headers.keys).to include("x-app", "content-type")
      expect(response.headers.keys).not_to include("rack.hijack")
      expect(response["connection"]).to eq("close")
      expect(told("partial")).to include(io: true)
      told("closed")
      expect(app.events.all(id: @name, event: "each")).to be_empty
    end

    it "lets the app read and write" do
      client = http
      client.write("#{upgrading("/partial-echo")}early")
      client.read_head
      expect(client.connection.read_exactly(5)).to eq("early")
      client.write("late")
      expect(client.connection.read_exactly(4)).to eq("late")
    end

    it "ends the connection if the app raises" do
      expect(all_of(request("/partial-raise"))).not_to include("failed")
      app.wait_for_line(/the hijacker failed/)
    end
  end

  describe "with rack.protocol" do
    before { skip "rack.protocol came with Rack 3.1" if Rack.release < "3.1" }

    it "has the protocols that the client asks for in the env" do
      expect(get("/protocols", { "connection" => "upgrade", "upgrade" => "a, b" }).body).to eq('["a", "b"]')
      expect(get("/protocols").body).to eq("nil")
    end

    it "switches to the protocol, and calls the body with the stream" do
      client = http
      client.write(upgrading("/protocol"))
      response = client.read_head
      expect(response.status).to eq(101)
      expect(response["upgrade"]).to eq("echo")
      expect(response["connection"]).to match(/\Aupgrade\z/i)
      expect(client.connection.read_until("\n")).to eq("ready\n")
      client.write("hello")
      expect(client.connection.read_exactly(5)).to eq("hello")
    end

    it "does not switch to a protocol that the client did not ask for" do
      expect(get("/protocol-of-ours")).to have_attributes(status: 200, body: "plain")
      expect(get("/protocol").status).to eq(500)
    end
  end
end
