# frozen_string_literal: true

require "spec_helper"

# Clients of HTTP/2 that want to hold the server up: all streams stalled, heads that expand, bodies that are not wanted, and a server
# that is to stop meanwhile.
RSpec.describe "An attack over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    PUSH = SpecApp::Recorder.new(shutdown: ->(client) { client.write("x" * 100_000) })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/push"
        env["rack.upgrade"] = PUSH
        [200, {}, []]
      when "/big" then [200, {}, ["x" * 200_000]]
      when "/endless" then [200, {}, Enumerator.new { |body| loop { body << "x" * 10_000 } }]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  def client(**options) = closing(Http2Client.new(app.address, **options))

  def count(counter) = app.ask("PushServer.stats[#{counter.inspect}]")

  good = [%w[:method GET], %w[:scheme http], %w[:authority a], %w[:path /]]
  ends = Http2Client::END_HEADERS | Http2Client::END_STREAM

  context "with the usual limits" do
    serve config, "--threads", "2", "--max-streaming", "2", "--max-body-size", "1000"

    it "with all its streams stalled stops nobody else, also if the app still writes some" do
      one = client(settings: { initial_window_size: 0 })
      streams = Array.new(248) { one.send_request("GET", "/big") } + Array.new(2) { one.send_request("GET", "/endless") }
      streams.each { |stream| one.read_head(stream) }
      5.times { expect(client.get("/").body).to eq("hello") }
      refused = one.send_request("GET", "/")
      expect(one.read_of(refused)).to have_attributes(type: :rst_stream, error: :refused_stream)
      one.close
      expect(client.get("/big").body.bytesize).to eq(200_000)
    end

    # Each byte of the block stands for 4000.
    it "with heads that expand ends its connection, and costs little memory" do
      entry = "\x40#{Hpack.string("x-bomb")}#{Hpack.string("x" * 3900)}".b
      bomb = Hpack.encode(good) + ("\xbe".b * 16_000)
      explode = lambda do
        one = client
        one.read_settings
        one.frame(:headers, Hpack.encode(good) + entry, flags: ends, stream: 1)
        expect(one.read_response(1).status).to eq(200)
        one.frame(:headers, bomb, flags: ends, stream: 3)
        expect(one.read_end.error).to eq(:enhance_your_calm)
        one.close
      end
      20.times { explode.call }
      before = app.resident
      60.times { explode.call }
      expect(app.resident - before).to be < 4 * 1024
      expect(client.get("/").body).to eq("hello")
    end

    it "with bodies that are refused uses up no window of the connection" do
      start_app(config, "--max-body-size", "1000", "--max-streams", "16")
      one = client
      one.read_settings
      # More than the window of the connection, which is 1 MiB.
      100.times do
        stream = one.next_stream
        one.send_headers(stream, [%w[:method POST], %w[:scheme http], %w[:authority a], %w[:path /], %w[content-length 16384]])
        one.send_data(stream, "x" * 16_384, ends: true)
        expect(one.read_head(stream).status).to eq(413)
        one.forget
      end
      expect(one.get("/").body).to eq("hello")
    end

    it "by a WebSocket that has ended before it begins gets 400" do
      one = client
      stream = one.send_request("CONNECT", "/push", { "sec-websocket-version" => "13" }, protocol: "websocket")
      expect(one.read_response(stream).status).to eq(400)
      expect(one.get("/").body).to eq("hello")
      expect(count(:open_websockets)).to eq(0)
    end
  end

  # The client gives no window. What the server waits for then ends with drain_timeout.
  { "responses" => ["/big", {}], "bodies that the app still writes" => ["/endless", {}],
    "event streams" => ["/push", { "accept" => "text/event-stream" }] }.each do |what, (path, fields)|
    it "with a window that never opens does not keep the server from stopping: #{what}" do
      start_app(config, "--drain-timeout", "1")
      one = client(settings: { initial_window_size: 0 })
      10.times { one.read_head(one.send_request("GET", path, fields)) }
      silent = client(begins: false)
      silent.connection.write(Http2Client::PREFACE)
      app.signal("TERM")
      expect(app.wait).to be_success
    end
  end
end
