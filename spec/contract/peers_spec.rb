# frozen_string_literal: true

require "spec_helper"

# What this server does where the two that implemented the draft before (Iodine 0.7 and Agoo 2.15) get it wrong, row by
# row. Most rows are covered in depth by the specs of their subject.
RSpec.describe "What this server does" do
  serve <<~'CONFIG', "--threads", "4", "--close-timeout", "0.5", "--drain-timeout", "5"
    require "spec_app"

    GATE = Queue.new
    handler = SpecApp::Recorder.new(
      message: lambda do |client, data|
        GATE.pop if data == "wait"
        client.write(data) unless data == "quiet"
        SpecApp.report(:done, client)
      end
    )

    # The body of an accepted upgrade is not sent.
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/zero"
        env["rack.upgrade"] = handler
        [0, {}, []]
      when "/ordinary"
        [200, { "content-type" => "text/plain" }, ["ordinary"]]
      when "/arrays"
        [200, { "set-cookie" => ["a=1", "b=2"] }, []]
      else
        env["rack.upgrade"] = handler
        [200, { "set-cookie" => ["a=1", "b=2"], "connection" => "close", "upgrade" => "app", "x-app" => "yes" }, ["a body"]]
      end
    end)
  CONFIG

  describe "where Iodine does not:" do
    it "write returns false when closed, not nil" do
      client = opened(websocket)
      client.finish
      event(:close, client)
      expect(ask(client, 'client.write("late")')).to be(false)
    end

    it "Upgrade: h2c is ignored, not answered 400" do
      upgrade = { "connection" => "Upgrade, HTTP2-Settings", "upgrade" => "h2c", "http2-settings" => "AAMAAABkAAQAAP__" }
      expect(get("/ordinary", upgrade)).to have_attributes(status: 200, body: "ordinary")
    end

    it "SSE for any Accept that names it, not only for the exact one" do
      expect(sse("/", headers: { "accept" => "text/html;q=0.5, text/event-stream;charset=utf-8" })).to be_accepted
    end

    it "app headers do not stand beside the handshake's own" do
      response = websocket.response
      expect(response.all("connection").map(&:downcase)).to eq(["upgrade"])
      expect(response.all("upgrade").map(&:downcase)).to eq(["websocket"])
      expect(response["x-app"]).to eq("yes")
    end

    it "a Close frame is echoed, with its code" do
      client = opened(websocket)
      client.send_close(4001, "bye")
      expect(client.read_frame).to have_attributes(opcode: :close, close_code: 4001)
    end

    it "on_close and close have codes and reasons" do
      one = opened(websocket)
      one.finish(4001, "bye")
      event(:close, one, code: 4001, reason: "bye")
      two = opened(websocket)
      ask(two, 'client.close(4002, "enough")')
      expect(two.read_close).to eq([4002, "enough"])
    end

    it "text that is not UTF-8 is 1007" do
      client = opened(websocket)
      client.text("\xff")
      expect(client.read_close.first).to eq(1007)
      expect(story(client)).not_to include(:message)
    end

    it "on_drained is not called when nothing was written" do
      client = opened(websocket)
      client.text("quiet")
      event(:done, client)
      client.finish
      event(:close, client)
      expect(story(client)).to eq(%i[open message done close])
    end

    it "a bad key is 400, and no callback is called" do
      expect(get("/?bad-key", WebSocketClient.handshake("short")).status).to eq(400)
      opened(websocket)
      expect(app.events.all(id: "bad-key")).to be_empty
    end

    it "the encoding of a message decides between text and binary" do
      client = opened(websocket)
      ask(client, 'client.write("text"); client.write("bytes".b)')
      expect(Array.new(2) { client.read_frame.opcode }).to eq(%i[text binary])
    end
  end

  describe "where Agoo does not:" do
    it "[0, {}, []] accepts, and is no 500" do
      expect(websocket("/zero").response.status).to eq(101)
      expect(sse("/zero")).to be_accepted
    end

    it "without a handler the response is an ordinary one, not a 500" do
      expect(get("/ordinary", WebSocketClient.handshake)).to have_attributes(status: 200, body: "ordinary")
      expect(get("/ordinary", { "accept" => "text/event-stream" })).to have_attributes(status: 200, body: "ordinary")
    end

    it "the body is not sent behind the 101" do
      client = websocket
      client.text("hi")
      expect(client.read_frame).to have_attributes(opcode: :text, payload: "hi")
    end

    it "SSE has the app's headers and cookies" do
      response = sse.response
      expect(response.all("set-cookie")).to eq(%w[a=1 b=2])
      expect(response["x-app"]).to eq("yes")
    end

    it "newlines in SSE data are split into lines of data" do
      client = opened(sse)
      ask(client, 'client.write("a\nb")')
      expect(client.read_event).to have_attributes(data: "a\nb", lines: include("data: a", "data: b"))
    end

    it "retry is at least half a second, not 5 milliseconds" do
      expect(sse.read_retry).to be >= 500
    end

    it "fragmented messages are put together" do
      client = websocket
      client.send_frame(:text, "frag", fin: false)
      client.send_frame(:continuation, "ments")
      expect(client.read_message).to eq("fragments")
    end

    it "frames split over two reads arrive whole" do
      client = websocket
      bytes = WebSocketFrame.encode(:text, "in two parts")
      (1...bytes.bytesize).each do |at|
        client.write(bytes.byteslice(0, at))
        client.write(bytes.byteslice(at..))
        expect(client.read_message).to eq("in two parts")
      end
    end

    it "a queued pong stalls no writes" do
      client = opened(websocket)
      client.ping("x" * 100)
      ask(client, "3.times { |number| client.write(number.to_s) }; nil")
      client.ping("y" * 100)
      frames = Array.new(5) { client.read_frame }
      expect(frames.select { |frame| frame.opcode == :text }.map(&:payload)).to eq(%w[0 1 2])
      expect(frames.select { |frame| frame.opcode == :pong }.map(&:payload)).to eq(["x" * 100, "y" * 100])
    end

    it "text is delivered as UTF-8" do
      client = websocket
      client.text("é")
      expect_event(:message, client, data: include(encoding: "UTF-8"))
    end

    it "on_close is called once" do
      client = opened(websocket)
      ask(client, "client.close(4002)")
      client.finish(4002)
      client.close
      event(:close, client)
      # Later events of other clients leave a second one time to appear.
      opened(websocket).finish
      expect(story(client).count(:close)).to eq(1)
    end

    it "an SSE client's disconnect is seen without a write" do
      client = opened(sse)
      client.close
      expect_event(:close, client)
    end

    it "callbacks of one client run one after the other" do
      client = opened(websocket)
      client.text("wait")
      event(:message, client)
      client.text("second")
      client.ping
      client.read_until_frame(:pong)
      expect(story(client)).to eq(%i[open message])
      app.ask("GATE << true; nil")
      expect(Array.new(2) { client.read_message }).to eq(%w[wait second])
      event(:done, client)
      event(:done, client)
      expect(story(client) - [:drained]).to eq(%i[open message done message done])
    end

    it "array header values are several lines" do
      expect(get("/arrays").all("set-cookie")).to eq(%w[a=1 b=2])
    end
  end

  # Iodine sends a Pong instead of a Close at shutdown; Agoo never calls on_shutdown.
  describe "where neither does, at shutdown:" do
    it "on_shutdown is called and the streams are closed properly" do
      start_app(<<~'CONFIG')
        require "spec_app"

        handler = SpecApp::Recorder.new(shutdown: ->(client) { client.write("goodbye") })
        run(lambda do |env|
          env["rack.upgrade"] = handler
          [200, {}, []]
        end)
      CONFIG
      socket = opened(websocket)
      stream = opened(sse)
      app.signal("TERM")
      expect(socket.read_message).to eq("goodbye")
      expect(socket.read_frame).to have_attributes(opcode: :close, close_code: 1001)
      socket.send_close(1001)
      socket.close
      expect(stream.read_event.data).to eq("goodbye")
      expect(stream.ending).to eq(:fin)
      expect(app.wait).to be_success
      expect([story(socket), story(stream)]).to all(include(:shutdown).and(end_with(:close)))
    end
  end
end
