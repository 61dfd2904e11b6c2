# frozen_string_literal: true

require "spec_helper"

# What the server does with each frame that is not as it should be, by section of RFC 9113 (HTTP/2), RFC 7541 (HPACK) and RFC 8441
# (WebSockets). The cases are those of h2spec, and more. Most are decided by the crate h2; `server` says which are not.
RSpec.describe "Frames of HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait" then [200, {}, [GATE.pop]]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      when "/big" then [200, {}, ["x" * 100_000]]
      when "/field" then [200, {}, [env["HTTP_X_FIELD"].to_s]]
      when "/push"
        env["rack.upgrade"] = SpecApp::Recorder.new
        [200, {}, []]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  # section: of the RFC. what: happens on the wire. outcome: what the server does: see `expect_outcome`. server: it is the server that
  # decides, not the crate: its own code, or the scanner in front of the crate. play: sends the frames, and returns the number of the
  # stream that is answered, if it is not 1.
  rows = []
  define = lambda do |section, what, outcome, server: false, &play|
    rows << [section, what, outcome, server, play]
  end

  good = { ":method" => "GET", ":scheme" => "http", ":authority" => "a", ":path" => "/" }
  upload = good.merge(":method" => "POST", ":path" => "/echo")
  headers = Http2Client::END_HEADERS
  all = headers | Http2Client::END_STREAM
  # A request for which the server waits.
  open = ->(client, number = 1) { client.frame(:headers, Hpack.encode(upload), flags: headers, stream: number) }
  # A request that the app has answered.
  answered = lambda do |client|
    client.get("/", stream: 1)
    client
  end
  request = ->(fields) { ->(client) { client.frame(:headers, Hpack.encode(fields), flags: all, stream: 1) } }
  block = ->(bytes) { ->(client) { client.frame(:headers, Hpack.encode(good) + bytes.b, flags: all, stream: 1) } }

  # Section 4: frames.
  define.call("4.1", "an unknown type is ignored", :goes_on) { |it| it.frame(0x16, "x" * 100, stream: 3) }
  define.call("4.1", "unknown flags are ignored", :pong) { |it| it.frame(:ping, "unasked!", flags: 0xf6) }
  define.call("4.1", "the reserved bit of the stream is ignored", :pong) { |it| it.frame(:ping, "unasked!", stream: 1 << 31) }
  define.call("4.2", "a DATA frame beyond SETTINGS_MAX_FRAME_SIZE", %i[connection frame_size_error]) do |it|
    open.call(it)
    it.connection.offer(Http2Client.encode(:data, "x" * 16_385, stream: 1))
  end
  define.call("4.2", "a HEADERS frame beyond SETTINGS_MAX_FRAME_SIZE", %i[connection frame_size_error]) do |it|
    it.connection.offer(Http2Client.encode(:headers, Hpack.encode(good.merge("x" => "x" * 16_385)), flags: all, stream: 1))
  end
  { "PING" => [:ping, "12345678", 0], "DATA of the same stream" => [:data, "x", 1], "HEADERS of another stream" => [:headers, "", 3],
    "CONTINUATION of another stream" => [:continuation, "", 3], "an unknown frame" => [0x16, "x", 1] }.each do |what, (type, payload, stream)|
    define.call("4.3", "#{what} within a header block", %i[connection protocol_error]) do |it|
      it.frame(:headers, Hpack.encode(good), stream: 1).frame(type, payload, stream: stream)
    end
  end

  # Section 5: streams.
  { data: "x", rst_stream: [8].pack("N"), window_update: [1].pack("N"), continuation: "" }.each do |type, payload|
    define.call("5.1", "#{type.to_s.upcase} on an idle stream", %i[connection protocol_error]) { |it| it.frame(type, payload, stream: 1) }
  end
  define.call("5.1", "PRIORITY on an idle stream is ignored", :goes_on) { |it| it.frame(:priority, [0, 16].pack("NC"), stream: 1) }
  # Where the RFC wants STREAM_CLOSED or COMPRESSION_ERROR, the crate may say PROTOCOL_ERROR.
  closed = %i[either stream_closed protocol_error]
  define.call("5.1", "DATA behind the end of a request", closed) do |it|
    it.send_request("GET", "/wait", stream: 1)
    it.frame(:data, "x", stream: 1)
  end
  define.call("5.1", "HEADERS behind the end of a request", closed) do |it|
    it.send_request("GET", "/wait", stream: 1)
    it.frame(:headers, Hpack.encode(good), flags: all, stream: 1)
  end
  define.call("5.1", "DATA behind a reset by the client", closed) do |it|
    open.call(it)
    it.reset(1).frame(:data, "x", stream: 1)
  end
  define.call("5.1", "HEADERS behind a reset by the client", closed) do |it|
    open.call(it)
    it.reset(1).frame(:headers, Hpack.encode(good), flags: all, stream: 1)
  end
  define.call("5.1", "WINDOW_UPDATE and RST_STREAM behind the end of both sides are ignored", :goes_on) do |it|
    answered.call(it).add_window(1, stream: 1).reset(1)
  end
  define.call("5.1.1", "an even stream", %i[connection protocol_error]) { |it| it.frame(:headers, Hpack.encode(good), flags: all, stream: 2) }
  define.call("5.1.1", "a stream below one that was opened", %i[connection protocol_error]) do |it|
    it.get("/", stream: 5)
    it.frame(:headers, Hpack.encode(good), flags: all, stream: 3)
  end
  define.call("5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS", %i[last refused_stream]) do |it|
    251.times { |index| open.call(it, (index * 2) + 1) }
  end

  # Section 6: types of frames.
  define.call("6.1", "DATA of the connection", %i[connection protocol_error]) { |it| it.frame(:data, "x") }
  define.call("6.1", "DATA with more padding than payload", %i[connection protocol_error]) do |it|
    open.call(it)
    it.frame(:data, "\x06hello", flags: Http2Client::PADDED, stream: 1)
  end
  define.call("6.1", "DATA with padding", [:answers, 200, "hello"]) do |it|
    open.call(it)
    it.frame(:data, "\x03hello\0\0\0", flags: Http2Client::PADDED | Http2Client::END_STREAM, stream: 1)
  end
  define.call("6.2", "HEADERS of the connection", %i[connection protocol_error]) { |it| it.frame(:headers, Hpack.encode(good), flags: all) }
  define.call("6.2", "HEADERS with more padding than payload", %i[connection protocol_error]) do |it|
    it.frame(:headers, "\xff".b + Hpack.encode(good), flags: all | Http2Client::PADDED, stream: 1)
  end
  define.call("6.2", "HEADERS with padding and priority", [:answers, 200, "hello"]) do |it|
    payload = [2, 0, 16].pack("CNC") + Hpack.encode(good) + "\0\0"
    it.frame(:headers, payload, flags: all | Http2Client::PADDED | Http2Client::PRIORITY, stream: 1)
  end
  define.call("6.3", "PRIORITY of the connection", %i[connection protocol_error]) { |it| it.frame(:priority, [1, 16].pack("NC")) }
  define.call("6.3", "PRIORITY with another length", %i[connection frame_size_error], server: true) { |it| it.frame(:priority, "1234", stream: 1) }
  define.call("6.4", "RST_STREAM of the connection", %i[connection protocol_error]) { |it| it.frame(:rst_stream, [8].pack("N")) }
  define.call("6.4", "RST_STREAM with another length", %i[connection frame_size_error], server: true) do |it|
    open.call(it)
    it.frame(:rst_stream, "123", stream: 1)
  end
  define.call("6.5", "SETTINGS of a stream", %i[connection protocol_error]) { |it| it.frame(:settings, "", stream: 1) }
  define.call("6.5", "SETTINGS with ACK and a payload", %i[connection frame_size_error], server: true) { |it| it.frame(:settings, "123456", flags: 1) }
  define.call("6.5", "SETTINGS with another length", %i[connection frame_size_error], server: true) { |it| it.frame(:settings, "12345") }
  { "SETTINGS_ENABLE_PUSH of 2" => [{ enable_push: 2 }, :protocol_error],
    "SETTINGS_INITIAL_WINDOW_SIZE of 2^31" => [{ initial_window_size: 1 << 31 }, :flow_control_error, :protocol_error],
    "SETTINGS_MAX_FRAME_SIZE of 16383" => [{ max_frame_size: 16_383 }, :protocol_error],
    "SETTINGS_MAX_FRAME_SIZE of 2^24" => [{ max_frame_size: 1 << 24 }, :protocol_error] }.each do |what, (settings, *errors)|
    define.call("6.5.2", what, [:connection, *errors]) { |it| it.send_settings(settings) }
  end
  define.call("6.5.2", "an unknown setting is ignored", :goes_on) { |it| it.send_settings({ 0xff => 1 }) }
  define.call("6.5.3", "SETTINGS are acknowledged", :acknowledged) { |it| it.send_settings({ initial_window_size: 100 }) }
  define.call("6.6", "PUSH_PROMISE", %i[connection protocol_error]) do |it|
    open.call(it)
    it.frame(:push_promise, [2].pack("N") + Hpack.encode(good), flags: headers, stream: 1)
  end
  define.call("6.7", "PING is answered with the same bytes", :pong) { |it| it.frame(:ping, "unasked!") }
  define.call("6.7", "an answer to no PING is ignored", :goes_on) { |it| it.frame(:ping, "unasked!", flags: Http2Client::ACK) }
  define.call("6.7", "PING of a stream", %i[connection protocol_error]) { |it| it.frame(:ping, "12345678", stream: 1) }
  define.call("6.7", "PING with another length", %i[connection frame_size_error], server: true) { |it| it.frame(:ping, "1234567") }
  define.call("6.8", "GOAWAY of a stream", %i[connection protocol_error]) { |it| it.frame(:goaway, [0, 0].pack("NN"), stream: 1) }
  define.call("6.8", "GOAWAY; what was asked before is answered", [:answers, 200, "hello"]) do |it|
    open.call(it)
    it.frame(:goaway, [0, 0].pack("NN"))
    it.frame(:data, "hello", flags: Http2Client::END_STREAM, stream: 1)
  end
  define.call("6.9", "WINDOW_UPDATE of 0 of the connection", %i[connection protocol_error]) { |it| it.add_window(0) }
  define.call("6.9", "WINDOW_UPDATE of 0 of a stream", %i[either protocol_error]) do |it|
    open.call(it)
    it.add_window(0, stream: 1)
  end
  define.call("6.9", "WINDOW_UPDATE with another length", %i[connection frame_size_error], server: true) { |it| it.frame(:window_update, "123") }
  define.call("6.9", "DATA beyond the window", %i[either flow_control_error]) do |it|
    it.frame(:headers, Hpack.encode(good.merge(":method" => "CONNECT", ":protocol" => "websocket", ":path" => "/wait",
                                               "sec-websocket-version" => "13")), flags: headers, stream: 1)
    5.times { it.frame(:data, "x" * 16_384, stream: 1) }
  end
  define.call("6.9.1", "a window of the connection beyond 2^31-1", %i[connection flow_control_error]) { |it| it.add_window((1 << 31) - 1) }
  define.call("6.9.1", "a window of a stream beyond 2^31-1", %i[either flow_control_error]) do |it|
    open.call(it)
    it.add_window((1 << 31) - 1, stream: 1)
  end
  define.call("6.9.2", "a window that settings make negative, and then positive again", [:answers, 200, "x" * 100_000]) do |it|
    it.send_request("GET", "/big", stream: 1)
    it.ping
    it.send_settings({ initial_window_size: 0 })
    it.ping
    it.send_settings({ initial_window_size: 200_000 })
  end
  define.call("6.10", "CONTINUATION behind a whole header block", %i[connection protocol_error]) do |it|
    open.call(it)
    it.frame(:continuation, "", flags: headers, stream: 1)
  end
  define.call("6.10", "CONTINUATION of the connection", %i[connection protocol_error]) { |it| it.frame(:continuation, "", flags: headers) }
  define.call("6.10", "a header block in many CONTINUATION frames", [:answers, 200, "hello"]) do |it|
    parts = Hpack.encode(good).scan(/.{1,10}/mn)
    it.frame(:headers, parts.shift, flags: Http2Client::END_STREAM, stream: 1)
    last = parts.pop
    parts.each { |part| it.frame(:continuation, part, stream: 1) }
    it.frame(:continuation, last, flags: headers, stream: 1)
  end

  # Section 8: HTTP.
  define.call("8.1", "trailers without an end", %i[either protocol_error]) do |it|
    open.call(it)
    it.frame(:headers, Hpack.encode("x" => "1"), flags: headers, stream: 1)
  end
  # The RFC wants a reset. The crate drops the field, and the server all trailers.
  define.call("8.1", "a pseudo-header field in trailers", [:answers, 200, "x"]) do |it|
    open.call(it)
    it.frame(:data, "x", stream: 1)
    it.frame(:headers, Hpack.encode(":path" => "/"), flags: all, stream: 1)
  end
  define.call("8.1.1", "more DATA than the Content-Length", %i[either protocol_error]) do |it|
    it.frame(:headers, Hpack.encode(upload.merge("content-length" => "1")), flags: headers, stream: 1)
    it.frame(:data, "xx", flags: Http2Client::END_STREAM, stream: 1)
  end
  define.call("8.1.1", "less DATA than the Content-Length", %i[either protocol_error]) do |it|
    it.frame(:headers, Hpack.encode(upload.merge("content-length" => "3")), flags: headers, stream: 1)
    it.frame(:data, "xx", flags: Http2Client::END_STREAM, stream: 1)
  end
  define.call("8.1.1", "a Content-Length and no DATA", %i[either protocol_error], &request.call(upload.merge("content-length" => "3")))
  { "8.2" => { "an upper-case letter in a name" => { "X-Field" => "1" }, "an empty name" => { "" => "1" },
               "a space in a name" => { "x field" => "1" }, "a colon in a name" => { "x:field" => "1" } },
    "8.2.1" => { "a NUL in a value" => { "x-field" => "a\0b" }, "a line feed in a value" => { "x-field" => "a\nb" },
                 "a carriage return in a value" => { "x-field" => "a\rb" } },
    "8.2.2" => { "Connection" => { "connection" => "keep-alive" }, "Keep-Alive" => { "keep-alive" => "1" },
                 "Proxy-Connection" => { "proxy-connection" => "x" }, "Transfer-Encoding" => { "transfer-encoding" => "chunked" },
                 "Upgrade" => { "upgrade" => "h2c" }, "TE other than trailers" => { "te" => "gzip" } } }.each do |section, cases|
    cases.each { |what, fields| define.call(section, what, %i[either protocol_error], &request.call(good.merge(fields))) }
  end
  define.call("8.2.1", "bytes above 127 in a value", [:answers, 200, "gr\u00fc\u00df".b],
              &request.call(good.merge(":path" => "/field", "x-field" => "gr\u00fc\u00df")))
  { "a space at the start of a value" => " x", "a tab at the end of a value" => "x\t" }.each do |what, value|
    define.call("8.2.1", what, [:answers, 400], server: true, &request.call(good.merge("x-field" => value)))
  end
  { "empty" => "", "there twice" => %w[0 0] }.each do |what, value|
    define.call("8.1.1", "a Content-Length that is #{what}", [:answers, 400], server: true,
                                                                               &request.call(good.merge("content-length" => value)))
  end
  define.call("8.2.2", "TE: trailers", [:answers, 200, "hello"], &request.call(good.merge("te" => "trailers")))
  define.call("8.2.3", "cookies in several fields", [:answers, 200, "hello"], &request.call(good.merge("cookie" => %w[a=1 b=2])))
  define.call("8.3", "a pseudo-header field behind another field", %i[either protocol_error],
              &request.call({ ":method" => "GET", "x-field" => "1", ":scheme" => "http", ":path" => "/" }))
  define.call("8.3", "an unknown pseudo-header field", %i[either protocol_error], &request.call({ ":test" => "1" }.merge(good)))
  define.call("8.3", "a pseudo-header field of responses", %i[either protocol_error], &request.call({ ":status" => "200" }.merge(good)))
  %w[:method :scheme :path :authority].each do |name|
    define.call("8.3", "#{name} twice", %i[either protocol_error], &request.call(good.merge(name => [good[name]] * 2)))
  end
  %w[:method :scheme :path].each do |name|
    define.call("8.3.1", "no #{name}", %i[either protocol_error], &request.call(good.reject { |key, _| key == name }))
  end
  define.call("8.3.1", "an empty :path", %i[either protocol_error], &request.call(good.merge(":path" => "")))
  define.call("8.3.1", "no :authority, but a Host", [:answers, 200, "hello"],
              &request.call(good.reject { |key, _| key == ":authority" }.merge("host" => "a")))
  define.call("8.3.1", "neither :authority nor a Host", [:answers, 400], server: true,
                                                                         &request.call(good.reject { |key, _| key == ":authority" }))
  define.call("8.5", "CONNECT without :protocol, to a proxy", [:answers, 501], server: true,
                                                                               &request.call({ ":method" => "CONNECT", ":authority" => "a:1" }))

  # HPACK.
  hpack = %i[connection compression_error protocol_error]
  define.call("RFC 7541 2.3.3", "the index 0", hpack, &block.call("\x80"))
  define.call("RFC 7541 2.3.3", "an index behind both tables", hpack, &block.call("\xff\x80\x01"))
  define.call("RFC 7541 4.2", "a table larger than the settings allow", hpack) do |it|
    it.frame(:headers, Hpack.integer(4097, 5, 0x20) + Hpack.encode(good), flags: all, stream: 1)
  end
  define.call("RFC 7541 4.2", "a new size of the table behind a field", hpack, &block.call("\x20"))
  define.call("RFC 7541 5.1", "an integer without an end", hpack, &block.call("\x7f".b + ("\xff".b * 10) + "\x01".b))
  define.call("RFC 7541 5.2", "a string longer than the block", hpack, &block.call("\x00\x7fx"))
  define.call("RFC 7541 5.2", "more than 7 bits of padding", hpack, &block.call("\x00\x82\x1f\xff\x01x"))
  define.call("RFC 7541 5.2", "padding of zeros", hpack, &block.call("\x00\x81\x18\x01x"))
  define.call("RFC 7541 5.2", "the code of the end within a string", hpack, &block.call("\x00\x84\xff\xff\xff\xff\x01x"))
  define.call("RFC 7541 6.1", "fields of the static table", [:answers, 200, "hello"]) do |it|
    it.frame(:headers, "\x82\x86\x84\x01\x01a".b, flags: all, stream: 1)
  end
  define.call("RFC 7541 6.2.1", "a field of the dynamic table", [:answers, 200, "kept"]) do |it|
    field = "\x40#{Hpack.string("x-field")}#{Hpack.string("kept")}".b
    it.frame(:headers, Hpack.encode(good) + field, flags: all, stream: 1)
    it.frame(:headers, Hpack.encode(good.merge(":path" => "/field")) + "\xbe".b, flags: all, stream: 3)
    3
  end
  define.call("RFC 7541 6.2.3", "a field that is never indexed", [:answers, 200, "secret"]) do |it|
    field = "\x10#{Hpack.string("x-field")}#{Hpack.string("secret")}".b
    it.frame(:headers, Hpack.encode(good.merge(":path" => "/field")) + field, flags: all, stream: 1)
  end

  # WebSockets.
  connect = good.merge(":method" => "CONNECT", ":protocol" => "websocket", ":path" => "/push", "sec-websocket-version" => "13")
  define.call("RFC 8441 4", ":protocol with another method", %i[either protocol_error], &request.call({ ":protocol" => "websocket" }.merge(good)))
  %w[:scheme :path].each do |name|
    define.call("RFC 8441 4", "CONNECT with :protocol and without #{name}", %i[either protocol_error],
                &request.call({ ":method" => "CONNECT", ":protocol" => "websocket" }.merge(connect).reject { |key, _| key == name }))
  end
  define.call("RFC 8441 5", "another version of WebSocket", [:answers, 426], server: true) do |it|
    it.frame(:headers, Hpack.encode({ ":method" => "CONNECT", ":protocol" => "websocket" }.merge(connect, "sec-websocket-version" => "8")),
             flags: headers, stream: 1)
  end
  define.call("RFC 9220 3", "an unknown protocol", [:answers, 501], server: true) do |it|
    it.frame(:headers, Hpack.encode({ ":method" => "CONNECT", ":protocol" => "connect-udp" }.merge(connect.except(":protocol"))),
             flags: headers, stream: 1)
  end

  serve config, "--threads", "4"

  # The connection still serves requests.
  def expect_to_go_on(client, stream)
    expect(client.get("/", stream: stream).body).to eq("hello")
  end

  def expect_goaway(client, errors)
    frame = client.wait_for("GOAWAY") { |it| it.type == :goaway && it.error != :no_error }
    expect(errors).to include(frame.error)
    client.connection.ending
  end

  # One frame of the stream says that it has ended, or one of the connection that this has: RFC 9113 section 5.4.1 allows that.
  def expect_reset(client, stream, errors)
    frame = client.wait_for("a reset") { |it| it.type == :goaway || (it.type == :rst_stream && it.stream == stream) }
    expect(errors).to include(frame.error)
    frame.type == :goaway ? client.connection.ending : client.ping
  end

  def expect_answer(client, stream, status, body = nil)
    response = client.read_response(stream)
    expect(response.status).to eq(status)
    expect(response.body).to eq(body) if body
  end

  def expect_outcome(client, played, outcome)
    kind, *details = outcome
    stream = played.is_a?(Integer) ? played : 1
    case kind
    when :goes_on then expect_to_go_on(client, 101)
    when :pong then client.wait_for("a pong") { |frame| frame.type == :ping && frame.flag?(1) && frame.payload == "unasked!" }
    when :acknowledged then 2.times { client.wait_for("ACK") { |frame| frame.type == :settings && frame.flag?(1) } }
    when :connection then expect_goaway(client, details)
    when :either then expect_reset(client, 1, details)
    when :last then expect_reset(client, 501, details)
    when :answers then expect_answer(client, stream, *details)
    end
  end

  rows.each do |section, what, outcome, server, play|
    kind, *errors = outcome
    result = { connection: "is an error of the connection", either: "is an error of the stream", last: "is an error of the stream",
               answers: "is answered with #{errors.first}" }[kind]
    it "#{section}: #{what}#{" #{result}" if result}#{" (server)" if server}" do
      client = closing(Http2Client.new(app.address))
      client.read_settings
      expect_outcome(client, play.call(client), outcome)
      # What nobody waits for must not let the next example's request through.
      app.ask("(GATE << 'x') while GATE.num_waiting > 0; GATE.clear; nil")
      expect(closing(Http2Client.new(app.address)).get("/").status).to eq(200)
    end
  end
end
