# frozen_string_literal: true

require "spec_helper"

# What the two servers that implemented the draft before (Iodine 0.7 and Agoo 2.15) do not do. The specs of each subject say
# more.
RSpec.describe "The server" do
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

  describe "does what Iodine 0.7 does not: it" do
    it "returns false from write on a closed client (Iodine: nil)" do
      client = opened(websocket)
      client.finish
      event(:close, client)
      expect(ask(client, 'client.write("late")')).to be(false)
    end

    it "ignores Upgrade: h2c (Iodine: answers 400)" do
      upgrade = { "connection" => "Upgrade, HTTP2-Settings", "upgrade" => "h2c", "http2-settings" => "AAMAAABkAAQAAP__" }
      expect(http1.get("/ordinary", upgrade)).to have_attributes(status: 200, body: "ordinary")
    end

    it "sends an event stream for any Accept that includes text/event-stream (Iodine: only for exactly that)" do
      expect(sse("/", headers: { "accept" => "text/html;q=0.5, text/event-stream;charset=utf-8" })).to be_accepted
    end

    it "sends the handshake's headers once" do
      response = websocket.response
      expect(response.all("connection").map(&:downcase)).to eq(["upgrade"])
      expect(response.all("upgrade").map(&:downcase)).to eq(["websocket"])
      expect(response["x-app"]).to eq("yes")
    end

    it "echoes a Close frame with its code" do
      client = opened(websocket)
      client.send_close(4001, "bye")
      expect(client.read_frame).to have_attributes(opcode: :close, close_code: 4001)
    end

    it "has codes and reasons in on_close and close" do
      one = opened(websocket)
      one.finish(4001, "bye")
      event(:close, one, code: 4001, reason: "bye")
      two = opened(websocket)
      ask(two, 'client.close(4002, "enough")')
      expect(two.read_close).to eq([4002, "enough"])
    end

    it "closes with 1007 for text that is not UTF-8" do
      client = opened(websocket)
      client.text("\xff")
      expect(client.read_close.first).to eq(1007)
      expect(story(client)).not_to include(:message)
    end

    it "calls on_drained only after a write" do
      client = opened(websocket)
      client.text("quiet")
      event(:done, client)
      client.finish
      event(:close, client)
      expect(story(client)).to eq(%i[open message done close])
    end

    it "answers 400 to a bad key and calls no callback" do
      expect(http1.get("/?bad-key", WebSocketClient.handshake("short")).status).to eq(400)
      opened(websocket)
      expect(app.events.all(id: "bad-key")).to be_empty
    end

    it "sends text or binary by the String's encoding" do
      client = opened(websocket)
      ask(client, 'client.write("text"); client.write("bytes".b)')
      expect(Array.new(2) { client.read_frame.opcode }).to eq(%i[text binary])
    end
  end

  describe "does what Agoo 2.15 does not: it" do
    it "accepts with the status 0 (Agoo: answers 500)" do
      expect(websocket("/zero").response.status).to eq(Transport.upgraded)
      expect(sse("/zero")).to be_accepted
    end

    it "sends the app's response when there is no handler (Agoo: answers 500)" do
      expect(get("/ordinary", WebSocketClient.handshake)).to have_attributes(status: Transport.refused(200), body: "ordinary")
      expect(get("/ordinary", { "accept" => "text/event-stream" })).to have_attributes(status: 200, body: "ordinary")
    end

    it "does not send the app's body after the 101" do
      client = websocket
      client.text("hi")
      expect(client.read_frame).to have_attributes(opcode: :text, payload: "hi")
    end

    it "sends the app's headers and cookies with an event stream" do
      response = sse.response
      expect(response.all("set-cookie")).to eq(%w[a=1 b=2])
      expect(response["x-app"]).to eq("yes")
    end

    it "splits newlines in an event's data into lines of data" do
      client = opened(sse)
      ask(client, 'client.write("a\nb")')
      expect(client.read_event).to have_attributes(data: "a\nb", lines: include("data: a", "data: b"))
    end

    it "tells event streams to retry after half a second or more (Agoo: 5 ms)" do
      expect(sse.read_retry).to be >= 500
    end

    it "joins fragmented messages" do
      client = websocket
      client.send_frame(:text, "frag", fin: false)
      client.send_frame(:continuation, "ments")
      expect(client.read_message).to eq("fragments")
    end

    it "reads frames that arrive in two parts" do
      client = websocket
      bytes = WebSocketFrame.encode(:text, "in two parts")
      (1...bytes.bytesize).each do |at|
        client.write(bytes.byteslice(0, at))
        client.write(bytes.byteslice(at..))
        expect(client.read_message).to eq("in two parts")
      end
    end

    it "goes on writing after a queued pong" do
      client = opened(websocket)
      client.ping("x" * 100)
      ask(client, "3.times { |number| client.write(number.to_s) }; nil")
      client.ping("y" * 100)
      frames = Array.new(5) { client.read_frame }
      expect(frames.select { |frame| frame.opcode == :text }.map(&:payload)).to eq(%w[0 1 2])
      expect(frames.select { |frame| frame.opcode == :pong }.map(&:payload)).to eq(["x" * 100, "y" * 100])
    end

    it "gives the app text as UTF-8" do
      client = websocket
      client.text("é")
      expect_event(:message, client, data: include(encoding: "UTF-8"))
    end

    it "calls on_close once" do
      client = opened(websocket)
      ask(client, "client.close(4002)")
      client.finish(4002)
      client.close
      event(:close, client)
      # A second one would come before the events of a later client.
      opened(websocket).finish
      expect(story(client).count(:close)).to eq(1)
    end

    it "notices without a write that the client of an event stream has disconnected" do
      client = opened(sse)
      client.close
      expect_event(:close, client)
    end

    it "runs the callbacks of a client one after the other" do
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

    it "sends the values of a header in an Array as several lines" do
      expect(get("/arrays").all("set-cookie")).to eq(%w[a=1 b=2])
    end
  end

  describe "does what neither does: it" do
    it "calls on_shutdown, then sends a Close frame or ends the body" do
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
