# frozen_string_literal: true

require "spec_helper"

# The streams live whatever the app's threads do.
RSpec.describe "While every thread of the app is busy" do
  config = <<~'CONFIG'
    require "spec_app"
    require "net/http"

    GATE = Queue.new

    # A power of big integers: one call of C code that neither gives up the GVL nor checks for interrupts. Sized at boot
    # to take about two seconds.
    module LongCall
      BASE = 7**2000
      MODULUS = 11**2000
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      BASE.pow(2**5000, MODULUS)
      EXPONENT = 2**(5000 * 2 / (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)).ceil

      def self.call = BASE.pow(EXPONENT, MODULUS)
    end

    # Serves as handler and as app of plain requests.
    busy = lambda do |how|
      SpecApp.report(:busy, how: how)
      LongCall.call if how == "compute"
      # In Ruby, which gives others their turns, if it likes.
      nil while how == "spin" && GATE.empty?
      GATE.pop unless how == "compute"
      SpecApp.report(:free, how: how)
    end
    handler = SpecApp::Recorder.new(message: ->(client, data) { busy.call(data) if data != "plain" })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/inner" then [200, { "content-type" => "text/plain" }, ["inner"]]
      when "/self"
        inner = Net::HTTP.get(URI("http://127.0.0.1:#{env["SERVER_PORT"]}/inner"))
        [200, { "content-type" => "text/plain" }, ["self: #{inner}"]]
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

  # Gives each thread of the app something to do.
  def blocking(how)
    Array.new(2) { opened(websocket) }.each { |client| client.text(how) }
  end

  # Everything the server does without Ruby. All of it must have been seen before a handler was done.
  def expect_streams_to_live(stream, socket)
    3.times { stream.read_comment }
    3.times { socket.pong(socket.read_until_frame(:ping).payload) }
    socket.ping("alive?")
    expect(socket.read_until_frame(:pong).payload).to eq("alive?")
    # A new connection is accepted, read and answered: 426 needs no app.
    expect(get("/", WebSocketClient.handshake.merge("sec-websocket-version" => "8")).status).to eq(426)
  end

  it "because all handlers sleep: heartbeats, pings, pongs, accepts and queued writes go on" do
    stream = opened(sse)
    socket = opened(websocket)
    blocking("sleep")
    2.times { app.events.take(event: "busy", how: "sleep") }
    expect_streams_to_live(stream, socket)
    ask(stream, 'client.write("from another thread")')
    expect(stream.read_event.data).to eq("from another thread")
    socket.text("plain")
    expect(app.events.all(event: "free", how: "sleep")).to be_empty
    2.times { app.ask("GATE << true; nil") }
    event(:message, socket, data: include(bytes: "plain".dump))
  end

  it "because all handlers compute in Ruby: the same, and a background thread reaches all clients" do
    stream = opened(sse)
    socket = opened(websocket)
    blocking("spin")
    2.times { app.events.take(event: "busy", how: "spin") }
    expect_streams_to_live(stream, socket)
    expect(app.ask("SpecApp.clients.count { |client| client.write('to all') }")).to be >= 4
    expect([stream.read_event.data, socket.read_message]).to eq(["to all", "to all"])
    expect(app.events.all(event: "free", how: "spin")).to be_empty
    2.times { app.ask("GATE << true; nil") }
    2.times { app.events.take(event: "free", how: "spin") }
  end

  it "because they hold the GVL in one long call: heartbeats, pings, pongs, accepts and queued writes go on" do
    stream = opened(sse)
    reader = opened(websocket("/", receive_buffer: 4096))
    socket = opened(websocket)
    # Queued before the GVL is taken, and more than the kernel holds.
    ask(reader, "100.times { client.write('x' * 65_536) }; nil")
    blocking("compute")
    app.events.take(event: "busy", how: "compute")
    expect(Array.new(100) { reader.read_message.bytesize }).to all(eq(65_536))
    expect_streams_to_live(stream, socket)
    expect(app.events.all(event: "free", how: "compute")).to be_empty
    2.times { app.events.take(event: "free", how: "compute", seconds: 60) }
  end

  it "with requests that sleep: the same" do
    stream = opened(sse)
    socket = opened(websocket)
    requests = Array.new(2) { http.send_request("GET", "/busy") }
    2.times { app.events.take(event: "busy", how: "request") }
    expect_streams_to_live(stream, socket)
    2.times { app.ask("GATE << true; nil") }
    expect(requests.map { |request| request.read_response.body }).to eq(["free at last"] * 2)
  end

  it "a request that calls the server itself is answered, also with another one pipelined behind it" do
    client = http
    host = "host: 127.0.0.1:#{app.port}"
    client.write("GET /self HTTP/1.1\r\n#{host}\r\n\r\nGET /inner HTTP/1.1\r\n#{host}\r\n\r\n")
    expect(Array.new(2) { client.read_response.body }).to eq(["self: inner", "inner"])
  end
end
