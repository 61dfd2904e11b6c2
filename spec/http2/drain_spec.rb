# frozen_string_literal: true

require "spec_helper"

# A server that stops or restarts tells clients of HTTP/2 to open no more streams (GOAWAY, RFC 9113 section 6.8), and finishes those
# that are open.
RSpec.describe "The end of a server with clients of HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    ECHO = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }, shutdown: ->(client) { client.write("goodbye") })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait"
        SpecApp.report(:waits, id: env["QUERY_STRING"])
        [200, {}, [GATE.pop]]
      when "/big" then [200, {}, ["x" * 200_000]]
      when "/push"
        env["rack.upgrade"] = ECHO
        [200, {}, []]
      else [200, {}, [Process.pid.to_s]]
      end
    end)
  CONFIG

  def client(**options) = closing(Http2Client.new(app.address, **options))

  # A request that the app has, and does not answer yet.
  def wait_in_app(one)
    name = Serving.next_name
    stream = one.send_request("GET", "/wait?#{name}")
    app.events.take(event: "waits", id: name)
    stream
  end

  def goaway(one, **deadline) = one.wait_for_type(:goaway, **deadline)

  %w[INT TERM].each do |signal|
    it "by #{signal} ends idle connections, and answers the requests in flight" do
      start_app(config)
      idle, busy = client, client
      idle.get("/")
      stream = wait_in_app(busy)
      app.signal(signal)
      expect(goaway(idle).error).to eq(:no_error)
      expect(idle.connection.ending).to eq(:fin)
      expect(goaway(busy).error).to eq(:no_error)
      app.ask("GATE << 'answered'; nil")
      expect(busy.read_response(stream).body).to eq("answered")
      expect(busy.connection.ending).to eq(:fin)
      expect(app.wait).to be_success
    end
  end

  it "sends what a client has not taken yet, as long as the client takes something" do
    start_app(config)
    one = client(settings: { initial_window_size: 1000 })
    stream = one.send_request("GET", "/big")
    one.read_head(stream)
    app.signal("TERM")
    expect(goaway(one).error).to eq(:no_error)
    received = 0
    while received < 200_000
      frame = one.read_of(stream)
      received += frame.payload.bytesize
      one.add_window(frame.payload.bytesize, stream: stream) unless frame.end_stream?
    end
    expect(one.connection.ending).to eq(:fin)
    expect(app.wait).to be_success
  end

  it "refuses streams that are opened after the second GOAWAY; a client may send them elsewhere" do
    start_app(config)
    one = client
    stream = wait_in_app(one)
    app.signal("TERM")
    last = goaway(one)
    last = goaway(one) until last.payload.unpack1("N") == stream
    one.frame(:headers, Hpack.encode(":method" => "GET", ":scheme" => "http", ":authority" => "a", ":path" => "/"),
              flags: Http2Client::END_HEADERS | Http2Client::END_STREAM, stream: stream + 2)
    app.ask("GATE << 'answered'; nil")
    expect(one.read_response(stream).body).to eq("answered")
    one.connection.ending
    expect(app.wait).to be_success
  end

  it "tells WebSockets and event streams, and ends each with what on_shutdown writes" do
    start_app(config)
    one = client
    names = Array.new(2) { Serving.next_name }
    events = one.send_request("GET", "/push?#{names.first}", { "accept" => "text/event-stream" })
    socket = one.send_request("CONNECT", "/push?#{names.last}", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
    names.each { |name| app.events.take(event: "open", id: name) }
    app.signal("TERM")
    expect(one.read_response(events).body).to include("data: goodbye")
    one.read_head(socket)
    seen = "".b
    seen << one.read_of(socket).payload until seen.include?("goodbye") && seen.include?("\x88".b)
    one.send_data(socket, WebSocketFrame.encode(:close, WebSocketFrame.close_payload(1001)), ends: true)
    expect(goaway(one).error).to eq(:no_error)
    one.connection.ending
    names.each { |name| app.events.take(event: "close", id: name) }
    expect(app.wait).to be_success
  end

  it "does not wait for a client that answers neither PING nor GOAWAY" do
    start_app(config, "--drain-timeout", "1")
    one = client
    one.get("/")
    stream = wait_in_app(one)
    silent = client
    silent.frame(:headers, Hpack.encode(":method" => "POST", ":scheme" => "http", ":authority" => "a", ":path" => "/"),
                 flags: Http2Client::END_HEADERS, stream: 1)
    app.signal("TERM")
    goaway(one)
    app.ask("GATE << 'answered'; nil")
    expect(one.read_response(stream).body).to eq("answered")
    expect(app.wait).to be_success
  end

  %w[USR1 USR2].each do |signal|
    it "by #{signal} in workers: requests in flight are answered, and clients go on with the new workers" do
      start_app(config, "-w", "2")
      eventually("all workers to serve") { app.tree.workers.size == 2 }
      former = app.tree.workers.map(&:pid)
      idle = Array.new(4) { client.tap { |one| one.get("/") } }
      # They take the rest only when their worker drains.
      busy = Array.new(4) { client(settings: { initial_window_size: 1000 }).tap { |one| one.send_request("GET", "/big") } }
      app.signal(signal)
      answers = busy.map { |one| Thread.new { goaway(one, seconds: 60) && one.read_response(1).body.bytesize } }
      idle.each { |one| expect(goaway(one, seconds: 60).error).to eq(:no_error) }
      expect(answers.map(&:value)).to eq([200_000] * 4)
      eventually("all workers to be replaced", seconds: 60) { (app.tree.workers.map(&:pid) & former).empty? }
      served = Array.new(4) { client.get("/").body.to_i }
      expect(served & former).to eq([])
      expect(app.stop).to be_success
    end
  end
end
