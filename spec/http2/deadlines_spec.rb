# frozen_string_literal: true

require "spec_helper"

# Clients of HTTP/2 that are slow or silent. What is late ends: a stream, if it is the stream's fault, else the connection.
RSpec.describe "Deadlines over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    PUSH = SpecApp::Recorder.new

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/push"
        env["rack.upgrade"] = PUSH
        [200, {}, []]
      when "/size"
        SpecApp.report(:asked, id: env["HTTP_X_NAME"])
        [200, {}, ["x" * Integer(env["QUERY_STRING"])]]
      when "/endless" then [200, {}, Enumerator.new { |body| loop { body << "x" * 10_000 } }]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  def client(**options) = closing(Http2Client.new(app.address, **options))

  def count(counter) = app.ask("PushServer.stats[#{counter.inspect}]")

  # An event stream, so that the connection is not idle.
  def subscribe(one)
    stream = one.send_request("GET", "/push?#{name = Serving.next_name}", { "accept" => "text/event-stream" })
    one.read_head(stream)
    app.events.take(event: "open", id: name)
    # The greeting. From here on, nothing comes for which the client would give a window back.
    one.read_of(stream)
    stream
  end

  # Runs the block, and expects that this counter has grown by 1 after it.
  def expect_counted(counter)
    before = count(counter)
    yield
    expect_eventually("#{counter} to count it") { count(counter) == before + 1 }
  end

  request = Hpack.encode({ ":method" => "GET", ":scheme" => "http", ":authority" => "a", ":path" => "/" })
  ends = Http2Client::END_HEADERS | Http2Client::END_STREAM

  context "with --head-timeout" do
    serve config, "--head-timeout", "0.3"

    preface = Http2Client::PREFACE
    [preface.index("\n") + 1, preface.bytesize - 1].each do |come|
      it "end a connection whose preface has come in part (#{come} bytes)" do
        expect_counted(:head_timeouts) do
          one = client(begins: false)
          one.connection.write(preface.byteslice(0, come))
          one.connection.ending
        end
      end
    end

    { "in several frames" => [Http2Client.encode(:headers, request, flags: Http2Client::END_STREAM, stream: 3)],
      "in one frame, of which a part has come" => [Http2Client.encode(:headers, request, flags: ends, stream: 3)[0..-2]],
      "in one frame, of which the head has come" => [Http2Client.encode(:headers, request, flags: ends, stream: 3).byteslice(0, 9)],
      "in several frames, of which the last one has come in part" =>
        [Http2Client.encode(:headers, request.byteslice(0, 9), flags: Http2Client::END_STREAM, stream: 3),
         Http2Client.encode(:continuation, request.byteslice(9..), flags: Http2Client::END_HEADERS, stream: 3)[0..-2]] }
      .each do |what, frames|
      it "end a connection whose header block does not end: #{what}" do
        one = client
        subscribe(one)
        expect_counted(:head_timeouts) do
          one.connection.write(frames.join)
          expect(one.read_end.error).to eq(:enhance_your_calm)
        end
      end
    end
  end

  context "with --keep-alive-timeout" do
    serve config, "--keep-alive-timeout", "0.3", "--max-h2-control-frames", "1000000"

    it "end a connection without streams, also one that sends no SETTINGS or goes on with PINGs" do
      before = count(:idle_timeouts)
      silent = client(begins: false)
      silent.connection.write(Http2Client::PREFACE)
      pings, idle = client, client
      idle.get("/")
      pinging = Thread.new { pings.ping until pings.closed? }
      pinging.report_on_exception = false
      expect(idle.read_end.error).to eq(:no_error)
      expect(silent.read_end.error).to eq(:no_error)
      expect { pinging.value }.to raise_error(StandardError)
      expect_eventually("all of them to be counted") { count(:idle_timeouts) == before + 3 }
    end

    it "leave a connection with a stream alone" do
      one = client
      subscribe(one)
      client.read_end
      expect(one.get("/").body).to eq("hello")
    end
  end

  context "with --ping-interval" do
    serve config, "--ping-interval", "0.2", "--pong-timeout", "0.3", "--threads", "2"

    it "end a connection that answers no PING, and its streams" do
      one = client
      one.send_request("GET", "/push?#{name = Serving.next_name}", { "accept" => "text/event-stream" })
      app.events.take(event: "open", id: name)
      expect_counted(:pong_timeouts) { app.events.take(event: "close", id: name) }
    end

    it "leave a connection alone that answers" do
      one = client
      subscribe(one)
      3.times { one.wait_for("a PING") { |frame| frame.type == :ping && !frame.flag?(Http2Client::ACK) } }
      expect(one.get("/").body).to eq("hello")
    end
  end

  context "with --body-timeout" do
    serve config, "--body-timeout", "0.3"

    it "answer a request with 408 whose body does not come, while the connection goes on" do
      one = client
      events = subscribe(one)
      expect_counted(:body_timeouts) do
        stream = one.send_request("POST", "/", ends: false)
        one.send_data(stream, "x" * 100)
        expect(one.read_response(stream).status).to eq(408)
      end
      expect(one.get("/").body).to eq("hello")
      app.ask("SpecApp.clients.last.write('on'); nil")
      expect(one.read_of(events).payload).to include("data: on")
    end
  end

  context "with --write-timeout" do
    serve config, "--write-timeout", "0.5", "--threads", "2", "--max-streaming", "2"

    it "end a connection that takes nothing" do
      one = client(settings: { initial_window_size: 1 << 30 }, receive_buffer: 4096, segment: 1000)
      one.add_window(1 << 30)
      subscribe(one)
      expect_counted(:write_timeouts) { one.send_request("GET", "/size?20000000") }
      expect_eventually("it to end") { count(:open_h2_connections).zero? }
    end

    %w[/size?200000 /endless].each do |path|
      it "reset a stream that gets no window, while the connection goes on: #{path}" do
        one = client
        events = subscribe(one)
        stream = nil
        expect_counted(:write_timeouts) { stream = one.send_request("GET", path) }
        reset = one.wait_for("a reset") { |frame| frame.type == :rst_stream }
        expect(reset).to have_attributes(stream: stream, error: :internal_error)
        app.ask("SpecApp.clients.last.write('on'); nil")
        expect(one.read_of(events).payload).to include("data: on")
        expect(one.get("/").body).to eq("hello")
      end
    end
  end

  context "with a longer --write-timeout" do
    serve config, "--write-timeout", "3", "--threads", "2"

    # The app has given the whole response then, and the response had room in the window.
    it "reset a stream whose window the client takes back, while the connection goes on" do
      one = client(settings: { initial_window_size: 1 << 30 }, receive_buffer: 4096, segment: 1000)
      one.add_window(1 << 30)
      large = one.send_request("GET", "/size?20000000")
      one.read_head(large)
      sent = []
      eventually("the system to take nothing more") { sent.push(count(:bytes_out)).last(10).then { |last| last.size == 10 && last.uniq.one? } }
      small = one.send_request("GET", "/size?5000", { "x-name" => name = Serving.next_name })
      app.events.take(event: "asked", id: name)
      3.times { expect(client.get("/").body).to eq("hello") }
      one.send_settings({ initial_window_size: 0 })
      resets = Array.new(2) { one.wait_for("a reset") { |frame| frame.type == :rst_stream } }
      expect(resets.map(&:stream)).to contain_exactly(large, small)
      expect(resets.map(&:error).uniq).to eq([:internal_error])
      expect(count(:write_timeouts)).to eq(2)
      one.send_settings({ initial_window_size: 65_535 })
      expect(one.get("/").body).to eq("hello")
    end
  end
end
