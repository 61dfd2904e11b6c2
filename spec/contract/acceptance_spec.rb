# frozen_string_literal: true

require "spec_helper"

# When an upgrade happens, what the client gets then, and what the server does with the app's response.
RSpec.describe "An upgrade" do
  # The path and the x-headers header of the request say what the app does. Under /bare it runs without Rack::Lint.
  serve <<~'CONFIG', "--log-level", "debug"
    require "spec_app"

    handler = SpecApp::Recorder.new(open: ->(client) { client.write("welcome") })

    GATE = Queue.new

    # A body that must be closed but not read.
    class Body
      def initialize(name)
        @name = name
      end

      def each
        SpecApp.report(:body_read, id: @name)
        yield "not to be sent"
      end

      def close
        SpecApp.report(:body_closed, id: @name)
      end
    end

    app = lambda do |env|
      headers = JSON.parse(env["HTTP_X_HEADERS"] || "{}")
      case env["PATH_INFO"]
      when %r{\A/accept(?:/(-?\d+))?}
        env["rack.upgrade"] = handler
        [($1 || 200).to_i, headers, []]
      when %r{\A/refuse/(\d+)}
        env["rack.upgrade"] = handler
        [$1.to_i, headers, ["the app's own answer"]]
      when "/ignore"
        [200, { "content-type" => "text/plain" }.merge(headers), ["what push?"]]
      when %r{\A/empty}
        [200, {}, []]
      when "/false"
        env["rack.upgrade"] = false
        [200, { "content-type" => "text/plain" }, ["no, thanks"]]
      when "/stream"
        [200, { "content-type" => "text/event-stream" }, %w[one two].lazy.map { |word| "data: #{word}\n\n" }]
      when "/body"
        name = env["QUERY_STRING"]
        finished = ->(_env, status, _headers, error) { SpecApp.report(:finished, id: name, status: status, error: error) }
        env["rack.response_finished"]&.push(finished)
        env["rack.upgrade"] = handler
        [200, { "content-type" => "text/plain" }, Body.new(name)]
      when "/gone"
        SpecApp.report(:call, id: env["QUERY_STRING"])
        GATE.pop
        env["rack.upgrade"] = handler
        [200, {}, []]
      when "/hijack"
        env["rack.upgrade"] = handler
        io = env["rack.hijack"].call
        io = env["rack.hijack_io"] || io
        io.write("HTTP/1.1 299 Mine\r\nconnection: close\r\n\r\nhijacked")
        io.close
        [-1, {}, []]
      end
    end

    run Rack::URLMap.new("/" => Rack::Lint.new(app), "/bare" => app)
  CONFIG

  def headers(fields) = { "x-headers" => JSON.generate(fields) }

  # A handler that was ignored must not be called later either. A later upgrade is the barrier.
  def expect_no_events(name) = expect_no_events_but(name)

  def expect_no_events_but(name, *expected)
    event(:open, websocket("/accept"))
    expect(app.events.all(id: name).map { |event| event[:event] }).to eq(expected)
  end

  { websocket: Transport.upgraded, sse: 200 }.each do |protocol, wire_status|
    describe "of #{protocol == :sse ? "an event stream" : "a WebSocket"}" do
      # Apps see a WebSocket as over HTTP/1.
      define_method(:seen_status) { protocol == :sse ? 200 : 101 }
      define_method(:refused) { |status| protocol == :sse ? status : Transport.refused(status) }
      define_method(:open_stream) { |path, **options| public_send(protocol, path, **options) }
      define_method(:first_message) { |stream| protocol == :sse ? stream.read_event.data : stream.read_message }
      define_method(:handshake) { protocol == :sse ? { "accept" => "text/event-stream" } : WebSocketClient.handshake }

      [0, -1, 101, 200, 204, 299].each do |status|
        it "happens when the app returns #{status}; the client gets #{wire_status}" do
          stream = open_stream("/bare/accept/#{status}")
          expect(stream.response.status).to eq(wire_status)
          expect(first_message(stream)).to eq("welcome")
        end
      end

      [101, 200].each do |status|
        it "happens when the app behind Rack::Lint returns #{status}" do
          expect(first_message(open_stream("/accept/#{status}"))).to eq("welcome")
        end
      end

      [300, 302, 401, 403, 404, 500, 503].each do |status|
        it "does not happen when the app returns #{status}; its response is sent unchanged" do
          name = "refused-#{protocol}-#{status}"
          answer = headers("content-type" => "text/plain", "x-reason" => "because", "location" => "/login")
          response = get("/refuse/#{status}?#{name}", handshake.merge(answer))
          expect(response).to have_attributes(status: status, body: "the app's own answer")
          expect(response["x-reason"]).to eq("because")
          expect(response["location"]).to eq("/login")
          expect_no_events(name)
        end
      end

      it "does not happen without a handler; the app's response is sent" do
        response = get("/ignore", handshake)
        expect(response).to have_attributes(status: refused(200), body: "what push?")
        expect(response["content-type"]).to eq("text/plain")
      end

      it "does not happen when the handler is false; the app's response is sent" do
        expect(get("/false", handshake)).to have_attributes(status: refused(200), body: "no, thanks")
      end

      it "keeps the connection open for the next request when it does not happen" do
        client = http
        expect(client.get("/ignore", handshake).body).to eq("what push?")
        expect(client.get("/ignore", handshake).body).to eq("what push?")
      end

      it "sends the app's headers, including cookies" do
        response = open_stream("/accept", headers: headers("set-cookie" => "seen=1; path=/", "x-app" => "yes")).response
        expect(response["set-cookie"]).to eq("seen=1; path=/")
        expect(response["x-app"]).to eq("yes")
      end

      it "sends several cookies as several header lines" do
        cookies = %w[a=1 b=2; c=3]
        fields = Rack.release >= "3" ? { "set-cookie" => cookies } : { "set-cookie" => cookies.join("\n") }
        expect(open_stream("/accept", headers: headers(fields)).response.all("set-cookie")).to eq(cookies)
      end

      it "takes several cookies as an Array (Rack 3) and as lines of a String (Rack 2)" do
        [%w[a=1 b=2], "a=1\nb=2"].each do |cookies|
          response = open_stream("/bare/accept", headers: headers("set-cookie" => cookies)).response
          expect(response.all("set-cookie")).to eq(%w[a=1 b=2])
        end
      end

      # Headers that describe the body, which is not sent, and headers that the server sets itself.
      dropped = %w[connection upgrade keep-alive sec-websocket-accept sec-websocket-extensions content-length
                   transfer-encoding trailer content-encoding content-range accept-ranges etag last-modified rack.custom]
      dropped << "content-type" if protocol == :sse
      dropped.each do |name|
        it "does not send the app's #{name}" do
          response = open_stream("/bare/accept", headers: headers(name => "of the app", "x-kept" => "yes")).response
          expect(response.all(name)).not_to include(a_string_including("of the app"))
          expect(response.all(name).size).to be <= 1
          expect(response["x-kept"]).to eq("yes")
        end
      end

      it "does not send these headers in another letter case either" do
        response = open_stream("/bare/accept", headers: headers("Content-Encoding" => "gzip", "ETAG" => "x")).response
        expect(response.headers.keys).not_to include("content-encoding", "etag")
      end

      it "closes the app's body unread, before on_open" do
        stream = open_stream("/body")
        expect(first_message(stream)).to eq("welcome")
        event(:open, stream)
        expect(story(stream) - %i[finished drained]).to eq(%i[body_closed open])
      end

      it "calls rack.response_finished with the status that was sent, after closing the body and before on_open" do
        skip "rack.response_finished came with Rack 3" if Rack.release < "3"
        stream = open_stream("/body")
        event(:open, stream)
        expect(story(stream) - [:drained]).to eq(%i[body_closed finished open])
        expect(app.events.all(event: "finished", id: stream.id)).to match([include(status: seen_status, error: nil)])
      end

      it "calls neither on_open nor on_close when the client disconnects before the app has answered" do
        name = "gone-#{protocol}"
        client = http.send_request("GET", "/gone?#{name}", handshake)
        app.events.take(event: "call", id: name)
        client.connection.reset
        # Served after the reset was sent, by the same reactor.
        event(:open, websocket("/accept"))
        app.ask("GATE << true; nil")
        expect_no_events_but(name, "call")
      end

      it "leaves the connection to an app that hijacked it" do
        name = "hijack-#{protocol}"
        response = get("/bare/hijack?#{name}", handshake)
        expect(response).to have_attributes(status: protocol == :websocket ? refused(299) : 299, body: "hijacked")
        expect_no_events(name)
      end

      it "is logged as missing, at debug level, when the response is empty and there is no handler" do
        get("/bare/empty/#{protocol}", handshake)
        expect_line(%r{(?=.*rack\.upgrade)(?=.*/empty/#{protocol})})
      end
    end
  end

  it "does not change a text/event-stream body of an app that sets no handler" do
    response = get("/stream", { "accept" => "text/event-stream" })
    expect(response["content-type"]).to eq("text/event-stream")
    expect(response.body).to eq("data: one\n\ndata: two\n\n")
  end

  it "does not happen for an ordinary request with a handler, which is logged at debug level" do
    response = get("/refuse/200?ordinary", headers("content-type" => "text/plain"))
    expect(response).to have_attributes(status: 200, body: "the app's own answer")
    app.wait_for_line(%r{(?=.*rack\.upgrade)(?=.*/refuse/200)})
    expect_no_events("ordinary")
  end

  describe "of an event stream" do
    { "cache-control" => "private", "x-accel-buffering" => "yes" }.each do |name, value|
      it "sends the app's #{name} instead of the server's" do
        expect(sse("/accept", headers: headers(name => value)).response.all(name)).to eq([value])
        expect(sse("/bare/accept", headers: headers(name.capitalize => value)).response.all(name)).to eq([value])
      end
    end
  end

  describe "of a WebSocket" do
    it "sends the app's sec-websocket-protocol when the client offered it" do
      offer = headers("sec-websocket-protocol" => "chat").merge("sec-websocket-protocol" => "superchat, chat")
      expect(websocket("/accept", headers: offer).response["sec-websocket-protocol"]).to eq("chat")
    end

    it "does not send a sec-websocket-protocol that the client did not offer" do
      answer = headers("sec-websocket-protocol" => "chat")
      expect(websocket("/accept", headers: answer).response["sec-websocket-protocol"]).to be_nil
      offer = answer.merge("sec-websocket-protocol" => "superchat")
      expect(websocket("/accept", headers: offer).response["sec-websocket-protocol"]).to be_nil
    end

    it "chooses no subprotocol by itself" do
      expect(websocket("/accept", headers: { "sec-websocket-protocol" => "chat" }).response["sec-websocket-protocol"]).to be_nil
    end

    it "accepts no extension" do
      offer = { "sec-websocket-extensions" => "permessage-deflate; client_max_window_bits" }
      expect(websocket("/accept", headers: offer).response["sec-websocket-extensions"]).to be_nil
    end
  end
end
