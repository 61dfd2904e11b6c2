# frozen_string_literal: true

require "spec_helper"

# The streams of a connection share it, and none of them can keep it from the others (RFC 9113 section 5.2).
RSpec.describe "Flow control over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.subscribe("news")
        super
      end
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/news"
        env["rack.upgrade"] = Subscriber.new
        [200, {}, []]
      when "/gate"
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(_, _) { GATE.pop })
        [200, {}, []]
      when "/echo"
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })
        [200, {}, []]
      when "/upload" then [200, {}, [env["rack.input"].read.bytesize.to_s]]
      else [200, {}, ["x" * 200_000]]
      end
    end)
  CONFIG

  # A connection of which the spec gives each stream's window back by itself.
  def client(**options) = closing(Http2Client.new(app.address, **options))

  def subscribe(client, name)
    stream = client.send_request("GET", "/news?#{name}", { "accept" => "text/event-stream" })
    expect(client.read_head(stream).status).to eq(200)
    app.events.take(event: "open", id: name)
    stream
  end

  def open_websocket(client, path, name)
    stream = client.send_request("CONNECT", "#{path}?#{name}", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
    expect(client.read_head(stream).status).to eq(200)
    app.events.take(event: "open", id: name)
    stream
  end

  def message(text) = WebSocketFrame.encode(:text, text)

  # Reads DATA of a stream until the text has come, and gives its window back.
  def read_until(client, stream, text)
    seen = "".b
    until seen.include?(text)
      frame = client.read_of(stream)
      raise "the stream ended: #{frame}" unless frame.type == :data && !frame.end_stream?

      seen << frame.payload
      client.add_window(frame.payload.bytesize, stream: stream)
    end
    seen
  end

  context "with the usual limits" do
    serve config, "--threads", "2"

    it "lets the other event streams flow while one is not read" do
      one = client
      names = Array.new(11) { Serving.next_name }
      stalled, *others = names.map { |name| subscribe(one, name) }
      # More than the window of the stalled stream, which is 64 KiB.
      20.times do |number|
        app.ask("PushServer.publish('news', 'message #{number} ' + 'x' * 8000); nil")
        others.each { |stream| read_until(one, stream, "message #{number} ") }
      end
      expect(app.ask("SpecApp.client(#{names.first.inspect}).open?")).to be(true)
      # It catches up when it is read again.
      one.add_window(1_000_000, stream: stalled)
      expect(read_until(one, stalled, "message 19 ")).to include("message 0 ", "message 10 ")
    end

    it "lets responses and WebSockets flow while a response is not read" do
      one = client
      stalled = one.send_request("GET", "/")
      socket = open_websocket(one, "/echo", Serving.next_name)
      5.times do |number|
        one.send_data(socket, message("hello #{number}"))
        read_until(one, socket, "hello #{number}")
        expect(one.get("/").body.bytesize).to eq(200_000)
      end
      expect(one.read_response(stalled).body.bytesize).to eq(200_000)
    end

    it "lets requests and WebSockets flow while the app does not read one WebSocket" do
      one = client
      names = Array.new(2) { Serving.next_name }
      stalled = open_websocket(one, "/gate", names.first)
      # The callback of the first message waits; the server stops reading when its mailbox is full, and then the window is used up.
      one.send_data(stalled, message("x" * 1000)) while one.window(stalled) > 2000 && one.ping
      socket = open_websocket(one, "/echo", names.last)
      one.send_data(socket, message("hello"))
      read_until(one, socket, "hello")
      expect(one.request("POST", "/upload", body: "x" * 300_000).body).to eq("300000")
      one.reset(stalled)
      app.ask("GATE.close; nil")
      app.events.take(event: "close", id: names.first)
    end
  end

  context "with --slow-timeout" do
    serve config, "--slow-bytes", "1000", "--slow-timeout", "0.3", "--channel-memory", "64KiB"

    it "closes a stream that is not read; its connection and its other streams go on" do
      one = client
      names = Array.new(2) { Serving.next_name }
      stalled, other = names.map { |name| subscribe(one, name) }
      closed = false
      100.times do |number|
        app.ask("PushServer.publish('news', 'message #{number} ' + 'x' * 8000); nil")
        read_until(one, other, "message #{number} ")
        break if (closed = app.events.all(event: "close", id: names.first).any?)
      end
      app.events.take(event: "close", id: names.first) unless closed
      one.wait_for("the end of the stream") { |frame| frame.stream == stalled && (frame.type == :rst_stream || frame.end_stream?) }
      app.ask("PushServer.publish('news', 'last'); nil")
      read_until(one, other, "last")
      expect(one.get("/").status).to eq(200)
    end
  end

  context "with --max-h2-received" do
    serve config, "--threads", "1", "--max-h2-received", "64KiB", "--mailbox-bytes", "1KiB", "--mailbox-messages", "1"

    it "resets the stream that keeps most of what was received and not read, and counts it" do
      small, large = client, client
      # A stream whose mailbox is full keeps a frame of 16 KiB itself, which no longer counts. So 38 KB of each larger one count.
      names = Array.new(5) { Serving.next_name }
      kept = open_websocket(small, "/gate", names.first)
      larger = names.drop(1).map { |name| open_websocket(large, "/gate", name) }
      small.send_data(kept, message("x" * 600) * 30)
      small.ping
      larger.each { |stream| large.send_data(stream, message("x" * 600) * 90) }
      reset = large.wait_for("a reset") { |frame| frame.type == :rst_stream }
      expect(larger).to include(reset.stream)
      expect(app.ask("PushServer.stats[:h2_crowded_out]")).to be_positive
      small.ping
      expect(app.ask("SpecApp.client(#{names.first.inspect}).open?")).to be(true)
      app.ask("GATE.close; nil")
    end
  end
end
