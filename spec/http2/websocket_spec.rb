# frozen_string_literal: true

require "spec_helper"

# WebSockets in a connection of HTTP/2 (RFC 8441). What apps and clients see otherwise is in spec/contract, with SPEC_PROTOCOL=h2.
RSpec.describe "A WebSocket over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    ECHO = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })

    # As libraries for hijacked sockets do: the handshake of HTTP/1.1, and then bytes in both directions.
    def hijack(env, head)
      io = env["rack.hijack"].call
      Thread.new do
        io.write(head)
        while (line = io.gets)
          io.write("you said #{line}")
        end
        io.write("goodbye")
        io.close
      end
      [-1, {}, []]
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/env"
        SpecApp.report(:env, env: env.select { |_, value| [String, Symbol, true, false].any? { |type| type === value } })
        env["rack.upgrade"] = ECHO
        [200, { "x-app" => "yes" }, []]
      when "/hijack" then hijack(env, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-App: yes\r\n\r\n")
      when "/hijack_refused" then hijack(env, "HTTP/1.1 403 Forbidden\r\nX-App: no\r\n\r\n")
      when "/hijack_broken" then hijack(env, "this is no head\r\n\r\n")
      when "/partial" then [200, { "rack.hijack" => ->(io) { io.write("partial") && io.close } }, []]
      when "/protocol" then [200, { "rack.protocol" => env["rack.protocol"].first }, ->(stream) { stream.write("ready") && stream.close }]
      when "/page" then [200, { "x-app" => "page" }, ["a page"]]
      when "/empty" then [204, {}, []]
      when "/refused" then [403, { "x-app" => "no" }, ["go away"]]
      when "/raise" then raise "no"
      else
        env["rack.upgrade"] = ECHO
        [200, {}, []]
      end
    end)
  CONFIG

  serve config, "--allow-origin", "https://friend.example"

  def client(**options) = closing(Http2Client.new(app.address, **options))

  # Returns the response's head, and the number of the stream.
  def connect(one, path, fields = {})
    stream = one.send_request("CONNECT", path, { "sec-websocket-version" => "13" }.merge(fields), ends: false, protocol: "websocket")
    [one.read_head(stream), stream]
  end

  def read_until(one, stream, text)
    seen = "".b
    seen << one.read_of(stream).payload until seen.include?(text)
    seen
  end

  it "is announced by the server's settings (section 3)" do
    expect(client.read_settings).to include(enable_connect_protocol: 1)
  end

  it "is a GET with a handshake to the app" do
    head, = connect(client, "/env?a=b", { "origin" => "https://friend.example", "sec-websocket-protocol" => "chat" })
    expect(head).to have_attributes(status: 200)
    expect(head["x-app"]).to eq("yes")
    seen = app.events.take(event: "env")[:env].transform_keys(&:to_s)
    expect(seen).to include("REQUEST_METHOD" => "GET", "push_server.method" => "CONNECT", "PATH_INFO" => "/env", "QUERY_STRING" => "a=b",
                            "HTTP_UPGRADE" => "websocket", "HTTP_CONNECTION" => "Upgrade", "HTTP_SEC_WEBSOCKET_VERSION" => "13",
                            "HTTP_SEC_WEBSOCKET_PROTOCOL" => "chat", "rack.upgrade?" => "websocket", "rack.hijack?" => true,
                            "SERVER_PROTOCOL" => "HTTP/2")
    expect(seen["HTTP_SEC_WEBSOCKET_KEY"].unpack1("m").bytesize).to eq(16)
  end

  it "has a response without the fields of a handshake of HTTP/1.1 (section 5)" do
    head, = connect(client, "/")
    expect(head.headers.keys & %w[connection upgrade sec-websocket-accept transfer-encoding content-length]).to eq([])
  end

  it "shares the connection with requests and other WebSockets" do
    one = client
    streams = Array.new(20) { connect(one, "/?#{Serving.next_name}").last }
    streams.each { |stream| one.send_data(stream, WebSocketFrame.encode(:text, "hello #{stream}")) }
    streams.reverse_each { |stream| read_until(one, stream, "hello #{stream}") }
    expect(one.get("/").status).to eq(200)
  end

  { "/refused" => 403, "/raise" => 500 }.each do |path, status|
    it "is refused with what the app answers: #{path}" do
      one = client
      head, stream = connect(one, path)
      expect(head.status).to eq(status)
      one.wait_for("the end") { |frame| frame.stream == stream && frame.end_stream? }
      expect(one.get("/").status).to eq(200)
    end
  end

  # Any 2xx accepts it, RFC 8441 section 5. A browser would take the page for frames.
  { "/page" => "a page", "/empty" => "" }.each do |path, body|
    it "is refused with 405 if the app answers with a page, or with nothing: #{path}" do
      one = client
      head, stream = connect(one, path)
      expect(head).to have_attributes(status: 405)
      expect(head["allow"]).to eq("GET")
      read_until(one, stream, body)
      expect(one.get(path)).to have_attributes(status: be_between(200, 204), body: body)
    end
  end

  it "is accepted if the app answers with rack.protocol" do
    skip "rack.protocol came with Rack 3.1" if Rack.release < "3.1"
    head, stream = connect(one = client, "/protocol")
    expect(head.status).to eq(200)
    read_until(one, stream, "ready")
  end

  it "is refused to a page of another origin" do
    one = client
    expect(connect(one, "/", { "origin" => "https://foe.example" }).first.status).to eq(403)
    expect(connect(one, "/", { "origin" => "https://friend.example" }).first.status).to eq(200)
  end

  it "ends with END_STREAM, as a connection does with a FIN (section 5)" do
    one = client
    _, stream = connect(one, "/?#{name = Serving.next_name}")
    one.send_data(stream, WebSocketFrame.encode(:close, WebSocketFrame.close_payload(1000)))
    one.wait_for("the end") { |frame| frame.stream == stream && frame.end_stream? }
    expect(app.events.take(event: "close", id: name)).to include(code: 1000)
    _, stream = connect(one, "/?#{name = Serving.next_name}")
    one.send_data(stream, "", ends: true)
    expect(app.events.take(event: "close", id: name)).to include(code: 1006)
    expect(one.get("/").status).to eq(200)
  end

  it "ends with RST_STREAM, as a connection does with a reset (section 5)" do
    one = client
    _, stream = connect(one, "/?#{name = Serving.next_name}")
    app.events.take(event: "open", id: name)
    one.reset(stream)
    expect(app.events.take(event: "close", id: name)).to include(code: 1006)
    expect(one.get("/").status).to eq(200)
  end

  it "ends with its connection" do
    one = client
    names = Array.new(3) { Serving.next_name.tap { |name| connect(one, "/?#{name}") } }
    names.each { |name| app.events.take(event: "open", id: name) }
    one.connection.reset
    names.each { |name| expect(app.events.take(event: "close", id: name)).to include(code: 1006) }
  end

  describe "that the app hijacks" do
    it "gets the app's head with 200 instead of 101, and then bytes in both directions" do
      one = client
      head, stream = connect(one, "/hijack")
      expect(head).to have_attributes(status: 200, headers: include("x-app" => ["yes"]))
      expect(head.headers.keys & %w[connection upgrade]).to eq([])
      one.send_data(stream, "hello\n")
      read_until(one, stream, "you said hello\n")
      long = "#{"x" * 200_000}\n"
      one.send_data(stream, long)
      received = 0
      while received < long.bytesize + 9
        frame = one.read_of(stream)
        received += frame.payload.bytesize
        one.add_window(frame.payload.bytesize, stream: stream)
      end
      one.send_data(stream, "", ends: true)
      read_until(one, stream, "goodbye")
      expect(one.get("/").status).to eq(200)
    end

    it "gets another status as it is" do
      expect(connect(client, "/hijack_refused").first).to have_attributes(status: 403, headers: include("x-app" => ["no"]))
    end

    it "is reset if the app writes something else than a head" do
      one = client
      stream = one.send_request("CONNECT", "/hijack_broken", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
      expect(one.read_of(stream)).to have_attributes(type: :rst_stream, error: :internal_error)
      expect(one.get("/").status).to eq(200)
    end

    it "is refused if the app hijacks it partly, as an ordinary response" do
      head, stream = connect(one = client, "/partial")
      expect(head.status).to eq(405)
      read_until(one, stream, "partial")
      expect(one.get("/partial").body).to eq("partial")
    end
  end

  it "is not announced with --no-http2-websocket, and refused" do
    start_app(config, "--no-http2-websocket")
    one = client
    expect(one.read_settings).not_to include(enable_connect_protocol: 1)
    stream = one.send_request("CONNECT", "/", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
    expect(one.read_of(stream)).to have_attributes(type: :rst_stream, error: :protocol_error)
    expect(one.get("/").status).to eq(200)
  end

  it "is compressed with --websocket-compression, if the client offers it" do
    start_app(config, "--websocket-compression")
    head, = connect(client, "/", { "sec-websocket-extensions" => "permessage-deflate" })
    expect(head["sec-websocket-extensions"]).to eq("permessage-deflate; server_no_context_takeover")
  end
end
