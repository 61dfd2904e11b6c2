# frozen_string_literal: true

require "spec_helper"

# Streams stay alive even if all of the app's threads are busy.
RSpec.describe "While all threads of the app are busy" do
  config = <<~'CONFIG'
    require "spec_app"
    require "net/http"

    GATE = Queue.new

    # A power of big integers: one call of C code that neither releases the GVL nor checks for interrupts. The exponent is
    # chosen at boot so that the call takes about two seconds.
    module LongCall
      BASE = 7**2000
      MODULUS = 11**2000
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      BASE.pow(2**5000, MODULUS)
      EXPONENT = 2**(5000 * 2 / (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)).ceil

      def self.call = BASE.pow(EXPONENT, MODULUS)
    end

    # For the handler and for plain requests.
    busy = lambda do |how|
      SpecApp.report(:busy, how: how)
      LongCall.call if how == "compute"
      # In Ruby, which switches threads in between.
      nil while how == "spin" && GATE.empty?
      GATE.pop unless how == "compute"
      SpecApp.report(:free, how: how)
    end
    handler = SpecApp::Recorder.new(message: ->(client, data) { busy.call(data) if data != "plain" })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/inner" then [200, { "content-type" => "text/plain" }, ["inner"]]
      when "/self"
        encrypted = { use_ssl: env["rack.url_scheme"] == "https", verify_mode: OpenSSL::SSL::VERIFY_NONE }
        inner = Net::HTTP.start("127.0.0.1", env["SERVER_PORT"], **encrypted) { |http| http.get("/inner") }
        [200, { "content-type" => "text/plain" }, ["self: #{inner.body}"]]
      when "/busy"
        busy.call("request")
        [200, { "content-type" => "text/plain" }, ["free at last"]]
      else
        env["rack.upgrade"] = handler if env["rack.upgrade?"]
        [200, { "content-type" => "text/plain" }, ["ordinary"]]
      end
    end)
  CONFIG

  serve config, "--threads", "2", "--sse-heartbeat", "0.1", "--ping-interval", "0.1"

  # Occupies both threads of the app.
  def blocking(how)
    Array.new(2) { opened(websocket) }.each { |client| client.text(how) }
  end

  # Expects all that the server does without Ruby, before a handler has returned.
  def expect_streams_alive(stream, socket)
    3.times { stream.read_comment }
    3.times { socket.pong(socket.read_until_frame(:ping).payload) }
    socket.ping("alive?")
    expect(socket.read_until_frame(:pong).payload).to eq("alive?")
    # A new connection is accepted, read and answered: 426 needs no app.
    expect(get("/", WebSocketClient.handshake.merge("sec-websocket-version" => "8")).status).to eq(426)
  end

  it "with handlers that sleep, the server still sends heartbeats, pings, pongs and writes, and accepts connections" do
    stream = opened(sse)
    socket = opened(websocket)
    blocking("sleep")
    2.times { app.events.take(event: "busy", how: "sleep") }
    expect_streams_alive(stream, socket)
    ask(stream, 'client.write("from another thread")')
    expect(stream.read_event.data).to eq("from another thread")
    socket.text("plain")
    expect(app.events.all(event: "free", how: "sleep")).to be_empty
    2.times { app.ask("GATE << true; nil") }
    event(:message, socket, data: include(bytes: "plain".dump))
  end

  it "with handlers that compute in Ruby, it does the same, and another thread can write to all clients" do
    stream = opened(sse)
    socket = opened(websocket)
    blocking("spin")
    2.times { app.events.take(event: "busy", how: "spin") }
    expect_streams_alive(stream, socket)
    expect(app.ask("SpecApp.clients.count { |client| client.write('to all') }")).to be >= 4
    expect([stream.read_event.data, socket.read_message]).to eq(["to all", "to all"])
    expect(app.events.all(event: "free", how: "spin")).to be_empty
    2.times { app.ask("GATE << true; nil") }
    2.times { app.events.take(event: "free", how: "spin") }
  end

  it "with handlers that hold the GVL in one long call, it does the same" do
    stream = opened(sse)
    reader = opened(websocket("/", receive_buffer: 4096))
    socket = opened(websocket)
    # Queued before the GVL is taken, and more than the kernel holds.
    ask(reader, "100.times { client.write('x' * 65_536) }; nil")
    blocking("compute")
    app.events.take(event: "busy", how: "compute")
    expect(Array.new(100) { reader.read_message.bytesize }).to all(eq(65_536))
    expect_streams_alive(stream, socket)
    expect(app.events.all(event: "free", how: "compute")).to be_empty
    2.times { app.events.take(event: "free", how: "compute", seconds: 60) }
  end

  it "with requests that sleep, it does the same" do
    stream = opened(sse)
    socket = opened(websocket)
    requests = Array.new(2) { http.send_request("GET", "/busy") }
    2.times { app.events.take(event: "busy", how: "request") }
    expect_streams_alive(stream, socket)
    2.times { app.ask("GATE << true; nil") }
    expect(requests.map { |request| request.read_response.body }).to eq(["free at last"] * 2)
  end

  it "a request is answered that sends a request to the same server, and so is a request pipelined behind it" do
    client = http1
    host = "host: 127.0.0.1:#{app.port}"
    client.write("GET /self HTTP/1.1\r\n#{host}\r\n\r\nGET /inner HTTP/1.1\r\n#{host}\r\n\r\n")
    expect(Array.new(2) { client.read_response.body }).to eq(["self: inner", "inner"])
  end
end
