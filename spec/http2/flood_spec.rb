# frozen_string_literal: true

require "spec_helper"

# Frames that cost a client little and a server much (RFC 9113 section 10.5). The connection that sends too many of them is ended.
RSpec.describe "A flood over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait"
        SpecApp.report(:waits, id: env["QUERY_STRING"])
        GATE.pop
        [200, {}, ["waited"]]
      when "/hold"
        SpecApp.report(:holds, id: env["QUERY_STRING"])
        $hold.pop
        [200, {}, ["held"]]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      when "/push"
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })
        [200, {}, []]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  frame = Http2Client.method(:encode)
  request = Hpack.encode({ ":method" => "GET", ":scheme" => "http", ":authority" => "a", ":path" => "/" }.to_a)
  upload = Hpack.encode({ ":method" => "POST", ":scheme" => "http", ":authority" => "a", ":path" => "/echo" }.to_a)
  event_stream = Hpack.encode([%w[:method GET], %w[:scheme http], %w[:authority a], %w[:path /push], %w[accept text/event-stream]])
  websocket = Hpack.encode([%w[:method CONNECT], %w[:protocol websocket], %w[:scheme http], %w[:authority a], %w[:path /push],
                            %w[sec-websocket-version 13]])
  head = ->(stream, block, flags) { frame.call(:headers, block, flags: flags, stream: stream) }
  ends = Http2Client::END_HEADERS | Http2Client::END_STREAM

  # What is sent: `start`, then `nth` with the numbers from 0. counter: what counts the end.
  kind = Struct.new(:start, :nth, :counter, keyword_init: true) do
    def bytes(range) = range.map(&nth).join
  end
  floods = {
    "requests that are reset at once (CVE-2023-44487)" => kind.new(
      start: "", counter: :h2_reset_floods,
      nth: ->(index) { head.call((index * 2) + 1, request, ends) + frame.call(:rst_stream, [8].pack("N"), stream: (index * 2) + 1) }
    ),
    "event streams that are reset at once" => kind.new(
      start: "", counter: :h2_reset_floods,
      nth: ->(index) { head.call((index * 2) + 1, event_stream, ends) + frame.call(:rst_stream, [8].pack("N"), stream: (index * 2) + 1) }
    ),
    "WebSockets that are reset at once" => kind.new(
      start: "", counter: :h2_reset_floods, nth: lambda do |index|
        head.call((index * 2) + 1, websocket, Http2Client::END_HEADERS) + frame.call(:rst_stream, [8].pack("N"), stream: (index * 2) + 1)
      end
    ),
    "SETTINGS (CVE-2019-9515)" => kind.new(start: "", counter: :h2_control_floods, nth: ->(_) { frame.call(:settings) }),
    "PING (CVE-2019-9512)" => kind.new(start: "", counter: :h2_control_floods, nth: ->(_) { frame.call(:ping, "12345678") }),
    "PRIORITY (CVE-2019-9513)" => kind.new(
      start: "", counter: :h2_control_floods, nth: ->(index) { frame.call(:priority, [0, 1].pack("NC"), stream: (index * 2) + 1) }
    ),
    "WINDOW_UPDATE of the connection" => kind.new(
      start: "", counter: :h2_control_floods, nth: ->(_) { frame.call(:window_update, [1].pack("N")) }
    ),
    "WINDOW_UPDATE of a stream" => kind.new(
      start: head.call(1, upload, Http2Client::END_HEADERS), counter: :h2_control_floods,
      nth: ->(_) { frame.call(:window_update, [1].pack("N"), stream: 1) }
    ),
    "frames of unknown types" => kind.new(start: "", counter: :h2_control_floods, nth: ->(_) { frame.call(0xfe, "", stream: 1) }),
    "empty DATA (CVE-2019-9518)" => kind.new(
      start: head.call(1, upload, Http2Client::END_HEADERS), counter: :h2_control_floods, nth: ->(_) { frame.call(:data, "", stream: 1) }
    ),
    "DATA of nothing but padding" => kind.new(
      start: head.call(1, upload, Http2Client::END_HEADERS), counter: :h2_control_floods,
      nth: ->(_) { frame.call(:data, "\x01\0", flags: Http2Client::PADDED, stream: 1) }
    ),
    "empty CONTINUATION (CVE-2024-27316)" => kind.new(
      start: head.call(1, request, Http2Client::END_STREAM), counter: :h2_control_floods,
      nth: ->(_) { frame.call(:continuation, "", stream: 1) }
    ),
    "CONTINUATION with new fields (CVE-2024-27316)" => kind.new(
      start: head.call(1, request, Http2Client::END_STREAM), counter: :h2_control_floods,
      nth: ->(index) { frame.call(:continuation, Hpack.encode([["x-#{index}", "x" * 100]]), stream: 1) }
    )
  }

  holding = Hpack.encode([%w[:method GET], %w[:scheme http], %w[:authority a], %w[:path /hold]])
  # Streams that the client has the server reset ("MadeYouReset", CVE-2025-8671): the same work for the app, and no RST_STREAM frame.
  made_resets = {
    "a WINDOW_UPDATE of 0" => ->(stream) { head.call(stream, holding, ends) + frame.call(:window_update, [0].pack("N"), stream: stream) },
    "a window beyond 2^31-1" => lambda do |stream|
      head.call(stream, holding, ends) + (frame.call(:window_update, [(1 << 31) - 1].pack("N"), stream: stream) * 2)
    end,
    "DATA behind the end" => ->(stream) { head.call(stream, holding, ends) + frame.call(:data, "x", stream: stream) },
    "HEADERS behind the end" => ->(stream) { head.call(stream, holding, ends) * 2 },
    "PRIORITY on itself" => lambda do |stream|
      head.call(stream, holding, ends) + frame.call(:priority, [stream, 16].pack("NC"), stream: stream)
    end,
    "trailers without an end" => ->(stream) { head.call(stream, upload, Http2Client::END_HEADERS) * 2 },
    "more DATA than the Content-Length" => lambda do |stream|
      head.call(stream, upload + Hpack.encode("content-length" => "0"), Http2Client::END_HEADERS) + frame.call(:data, "x", stream: stream)
    end,
    "a malformed head" => ->(stream) { head.call(stream, request + Hpack.encode("connection" => "close"), ends) }
  }

  def client(**options) = closing(Http2Client.new(app.address, **options))

  def count(counter) = app.ask("PushServer.stats[#{counter.inspect}]")

  # Sends until the server ends the connection.
  def flood_until_end(flood)
    one = client
    one.read_settings
    one.connection.write(flood.start)
    (0..).step(200) do |sent|
      one.connection.offer(flood.bytes(sent...sent + 200))
      break if one.connection.take_from_kernel(65_536) == :ended
    end
  end

  context "with low limits" do
    serve config, "--max-h2-resets", "100", "--max-h2-control-frames", "100"

    floods.each do |name, flood|
      it "ends its connection with ENHANCE_YOUR_CALM, while others are served: #{name}" do
        other = client
        expect(other.get("/").body).to eq("hello")
        attacker = client
        attacker.read_settings
        before = count(flood.counter)
        attacker.connection.offer(flood.start + flood.bytes(0...400))
        expect(attacker.read_end.error).to eq(:enhance_your_calm)
        expect_eventually("the end to be counted") { count(flood.counter) == before + 1 }
        expect(other.get("/").body).to eq("hello")
      end
    end
  end

  context "with the usual limits" do
    serve config, "--threads", "2"

    # What a client of an event stream may send back: a WINDOW_UPDATE for each byte would be a flood.
    it "is none if a slow client gives back windows one after the other" do
      before = count(:h2_control_floods)
      socket = opened(websocket("/push", protocol: :h2))
      ask(socket, "3000.times { |number| client.write('x' * 100) }; nil")
      3000.times { expect(socket.read_message.bytesize).to eq(100) }
      expect(count(:h2_control_floods)).to eq(before)
    end

    it "is none if a page that is left resets all its streams" do
      one = client
      one.read_settings
      bytes = Array.new(250) { |index| head.call((index * 2) + 1, request, ends) }
      bytes += Array.new(250) { |index| frame.call(:rst_stream, [8].pack("N"), stream: (index * 2) + 1) }
      one.connection.write(bytes.join)
      expect(one.get("/", stream: 501).body).to eq("hello")
    end

    it "of requests that are reset cannot occupy the app's queue beyond the places of one connection" do
      names = Array.new(2) { Serving.next_name }
      busy = names.map { |name| client.tap { |one| one.send_request("GET", "/wait?#{name}") } }
      names.each { |name| app.events.take(event: "waits", id: name) }
      before = count(:h2_refused_streams)
      one = client
      one.read_settings
      800.times do |index|
        one.connection.write(floods.fetch("requests that are reset at once (CVE-2023-44487)").nth.call(index))
        one.ping if index % 100 == 99
      end
      expect(count(:h2_refused_streams) - before).to eq(300)
      waiting = client.tap { |other| other.send_request("GET", "/") }
      app.ask("2.times { GATE << true }; nil")
      expect(waiting.read_response(1).body).to eq("hello")
      expect(busy.map { |other| other.read_response(1).body }).to eq(%w[waited waited])
    end

    made_resets.each do |name, play|
      it "ends its connection if it makes the server reset streams, and cannot occupy the app's queue: #{name}" do
        app.ask("$hold = Queue.new; nil")
        client.send_request("GET", "/hold?#{busy = Serving.next_name}")
        app.events.take(event: "holds", id: busy)
        before = app.ask("PushServer.stats")
        attacker = client
        attacker.read_settings
        (0...1100).each_slice(20) do |slice|
          attacker.connection.offer(slice.map { |index| play.call((index * 2) + 1) }.join)
          break if attacker.connection.take_from_kernel(65_536) == :ended
        end
        expect(%i[enhance_your_calm protocol_error stream_closed]).to include(attacker.read_end.error)
        grown = app.ask("PushServer.stats").to_h { |counter, value| [counter, value - before[counter]] }
        expect(grown.values_at(:h2_control_floods, :h2_protocol_errors).sum).to eq(1)
        # The app has no more of them than a connection may ask for.
        waiting = client.tap { |other| other.send_request("GET", "/") }
        app.ask("$hold.close; nil")
        expect(waiting.read_response(1).body).to eq("hello")
        expect(app.ask("PushServer.stats[:jobs]") - before[:jobs]).to be <= 510
      ensure
        app.ask("$hold.close; nil")
      end
    end

    it "needs no more memory, however many frames come and go" do
      other = client
      run = lambda do
        attackers = floods.values.map { |flood| Thread.new { 3.times { flood_until_end(flood) } } }
        20.times { expect(other.get("/").body).to eq("hello") }
        attackers.each(&:join)
      end
      run.call
      before = app.resident
      3.times { run.call }
      expect(app.resident - before).to be < 8 * 1024
      expect_eventually("the connections to end") { count(:open_h2_connections) == 1 }
    end
  end
end
