# frozen_string_literal: true

require "spec_helper"

# At INT and TERM the server accepts nothing new, closes streams after on_shutdown, and finishes the requests in flight.
RSpec.describe "Shutdown" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    handler = SpecApp::Recorder.new(
      message: ->(_client, data) { GATE.pop if data == "wait" },
      shutdown: ->(client) { client.write("goodbye") unless client.env["PATH_INFO"] == "/quiet" }
    )

    run(lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"])
      GATE.pop if env["PATH_INFO"] == "/wait"
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, ["finished"]]
    end)
  CONFIG

  before { |example| start_app(config, *example.metadata[:options]) }

  # Answers the server's Close frame, and expects the end.
  def answer_close(socket)
    socket.send_close(1001)
    expect(socket.ending).to eq(:fin)
    socket.close
  end

  def wait_until_refusing = eventually("connections to be refused") { !accepting_connections? }

  %w[INT TERM].each do |signal|
    it "by #{signal} calls on_shutdown, sends what it writes, closes every stream and exits with 0" do
      socket = opened(websocket)
      stream = opened(sse)
      app.signal(signal)
      expect(socket.read_message).to eq("goodbye")
      expect(socket.read_close.first).to eq(1001)
      answer_close(socket)
      expect(stream.read_event.data).to eq("goodbye")
      expect(stream.ending).to eq(:fin)
      expect(app.wait).to be_success
      [socket, stream].each { |client| expect(story(client) - [:drained]).to eq(%i[open shutdown close]) }
      expect(app.events.all(event: "close", id: socket.id).first).to include(code: 1001)
    end
  end

  it "calls on_shutdown after the running callback and before on_close" do
    socket = opened(websocket("/quiet"))
    socket.text("wait")
    event(:message, socket)
    app.signal("TERM")
    wait_until_refusing
    expect(story(socket)).to eq(%i[open message])
    app.ask("GATE << true; nil")
    expect(socket.read_close.first).to eq(1001)
    answer_close(socket)
    expect(app.wait).to be_success
    expect(story(socket)).to eq(%i[open message shutdown close])
  end

  it "finishes requests in flight, closes idle connections and accepts no more" do
    running = http.send_request("GET", "/wait")
    app.events.take(event: "call", path: "/wait")
    idle = http
    idle.get("/")
    app.signal("TERM")
    wait_until_refusing
    expect(idle.connection.ending).to eq(:fin)
    app.ask("GATE << true; nil")
    expect(running.read_response).to have_attributes(status: 200, body: "finished")
    expect(running.connection.ending).to eq(:fin)
    expect(app.wait).to be_success
  end

  it "waits for an answer to the Close frame no longer than the close timeout", options: %w[--close-timeout 0.3] do
    silent = opened(websocket)
    app.signal("TERM")
    expect(app.wait).to be_success
    expect(story(silent)).to end_with(:close)
  end

  it "of 1000 open streams calls on_shutdown and on_close for each, and spreads their reconnects", options: %w[--drain-timeout 25] do
    sockets = Array.new(500) { websocket }
    streams = Array.new(500) { sse }
    (sockets + streams).each { |client| event(:open, client) }
    app.signal("TERM")
    sockets.each do |client|
      expect(client.read_message).to eq("goodbye")
      expect(client.read_close.first).to eq(1001)
      answer_close(client)
    end
    pauses = streams.map do |client|
      expect(client.read_event.data).to eq("goodbye")
      pause = client.read_retry
      expect(client.ending).to eq(:fin)
      client.close
      pause
    end
    # A hundred a second. The usual range of three seconds would be too short.
    expect(pauses.minmax).to match([be_between(1000, 3000), be_between(8000, 13_000)])
    expect(app.wait).to be_success
    %w[shutdown close].each do |name|
      told = app.events.all(event: name).map { |event| event[:id] }
      expect(told).to match_array((sockets + streams).map(&:id))
    end
  end

  it "tells clients when to reconnect, after all else" do
    stream = opened(sse)
    plain = opened(websocket)
    framed = opened(websocket(headers: { "Sec-WebSocket-Protocol" => "push.v1" }))
    app.signal("TERM")
    expect(stream.read_event.data).to eq("goodbye")
    retry_after = stream.read_to_end[/\Aretry: (\d+)\n\z/, 1]
    expect(Integer(retry_after, 10)).to be_between(1000, 3030)
    expect(framed.read_message).to eq("event: msg\ndata: goodbye\n\n")
    expect(framed.read_message).to match(/\Aretry: [123]\d{3}\n\z/)
    expect(plain.read_message).to eq("goodbye")
    [framed, plain].each do |client|
      expect(client.read_close.first).to eq(1001)
      answer_close(client)
    end
    expect(stream.ending).to eq(:fin)
    expect(app.wait).to be_success
  end

  it "still opens a stream that the app accepts afterwards, by any method, and tells it when to reconnect" do
    asked = %w[GET POST].map { |method| http.send_request(method, "/wait", { "accept" => "text/event-stream" }, body: "x") }
    2.times { app.events.take(event: "call", path: "/wait") }
    app.signal("TERM")
    wait_until_refusing
    app.ask("2.times { GATE << true }; nil")
    asked.each do |client|
      expect(client.read_head.status).to eq(200)
      expect(client.connection.read_to_end).to match(/\Aretry: \d+\nevent: msg\ndata: goodbye\n\nretry: \d+\n\z/)
    end
    expect(app.wait).to be_success
  end

  it "closes what has not ended after the drain timeout", options: %w[--drain-timeout 0.5] do
    client = http.send_request("GET", "/wait")
    app.events.take(event: "call", path: "/wait")
    app.signal("TERM")
    expect { client.read_response }.to raise_error(RawConnection::Ended)
    expect(app.wait.exitstatus).to eq(0)
    expect(app.output).to include("the drain took longer than 0.5 s (drain_timeout): what was still open is cut")
  end

  %w[TERM INT].each do |second|
    it "ends at once at a second signal (#{second}), with 1", options: %w[--drain-timeout 3600] do
      client = http.send_request("GET", "/wait")
      app.events.take(event: "call", path: "/wait")
      app.signal("TERM")
      wait_until_refusing
      app.signal(second)
      expect { client.read_response }.to raise_error(RawConnection::Ended)
      expect(app.wait.exitstatus).to eq(1)
      expect(app.output).to end_with("* Stopped at once\n")
    end
  end
end
