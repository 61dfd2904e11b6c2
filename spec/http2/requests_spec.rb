# frozen_string_literal: true

require "spec_helper"
require "time"

# Requests and responses over HTTP/2 (RFC 9113) by prior knowledge.
RSpec.describe "Requests over HTTP/2" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    Each = Struct.new(:parts) do
      def each(&) = parts.each(&)
      def close = SpecApp.report(:closed)
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/env"
        shown = env.select { |_, value| [String, TrueClass, FalseClass].any? { |type| value.is_a?(type) } }
        [200, { "content-type" => "application/json" }, [JSON.generate(shown.merge("keys" => env.keys))]]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      when "/big" then [200, {}, ["x" * Integer(env["QUERY_STRING"])]]
      when "/each" then [200, {}, Each.new(%w[one two three])]
      when "/short" then [200, { "content-length" => "10" }, Each.new(%w[short])]
      when "/raise_midway" then [200, {}, Enumerator.new { |body| body << "a" * 10_000; raise "midway" }]
      when "/raise" then raise "at once"
      when "/call" then [200, {}, ->(stream) { stream << "called"; stream.close }]
      when "/status" then [Integer(env["QUERY_STRING"]), {}, []]
      when "/headers"
        [200, { "connection" => "close", "keep-alive" => "x", "transfer-encoding" => "chunked", "upgrade" => "x",
                "set-cookie" => ["a=1", "b=2"], "x-text" => "1" }, ["body"]]
      when "/hints"
        env["rack.early_hints"].call("link" => "</a.css>; rel=preload")
        [200, {}, ["behind"]]
      when "/endless" then [200, {}, Enumerator.new { |body| loop { body << "x" * 1000 } }]
      else [404, {}, ["nothing here"]]
      end
    end)
  CONFIG

  def client(**options) = closing(Http2Client.new(app.address, **options))

  # The env as the app sees it.
  def env(headers = {}, path: "/env", method: "GET", **options)
    JSON.parse(client.request(method, path, headers, **options).body)
  end

  describe "reach the app" do
    it "with the env of Rack" do
      seen = env([%w[x-one 1], %w[x-one 2], %w[cookie a=1], %w[cookie b=2]], path: "/env?a=b", authority: "example.com:81")
      expect(seen).to include("SERVER_PROTOCOL" => "HTTP/2", "REQUEST_METHOD" => "GET", "PATH_INFO" => "/env", "QUERY_STRING" => "a=b",
                              "HTTP_HOST" => "example.com:81", "SERVER_NAME" => "example.com", "SERVER_PORT" => "81",
                              "HTTP_X_ONE" => "1, 2", "HTTP_COOKIE" => "a=1; b=2", "rack.url_scheme" => "http")
    end

    it "with a body of any length, whose trailers are dropped" do
      body = Random.bytes(300_000)
      one = client
      expect(one.request("POST", "/echo", { "content-length" => body.bytesize }, body: body).body).to eq(body)
      expect(one.request("POST", "/echo", body: "").body).to eq("")
      stream = one.send_request("POST", "/echo", ends: false)
      one.send_data(stream, "body")
      one.send_headers(stream, [%w[x-trailer 1]], ends: true)
      expect(one.read_response(stream).body).to eq("body")
    end

    it "with an interim 100 if the client waits for that" do
      one = client
      stream = one.send_request("POST", "/echo", { "expect" => "100-continue" }, ends: false)
      expect(one.read_head(stream).status).to eq(100)
      one.send_data(stream, "body", ends: true)
      expect(one.read_response(stream).body).to eq("body")
    end

    it "at the same time, as many as the app has threads" do
      one = client
      streams = Array.new(50) { |index| one.send_request("POST", "/echo", body: index.to_s) }
      expect(streams.reverse.map { |stream| one.read_response(stream).body }.reverse).to eq((0...50).map(&:to_s))
    end
  end

  describe "get responses" do
    it "with a Date and a Content-Length, and without fields of a connection of HTTP/1" do
      response = client.get("/headers")
      expect(response["content-length"]).to eq("4")
      expect(Time.httpdate(response["date"])).to be_within(60).of(Time.now)
      expect(response.headers.keys).to contain_exactly("content-length", "date", "set-cookie", "x-text")
      expect(response.all("set-cookie")).to eq(%w[a=1 b=2])
    end

    { "/each" => "onetwothree", "/call" => "called" }.each do |path, body|
      it "that are written while they are sent: #{path}" do
        expect(client.get(path)).to have_attributes(status: 200, body: body)
      end
    end

    it "without a body to HEAD, with its length" do
      response = client.request("HEAD", "/big?5000")
      expect(response).to have_attributes(status: 200, body: "", framing: :none)
      expect(response["content-length"]).to eq("5000")
    end

    [204, 304].each do |status|
      it "without a body or a length if the status is #{status}" do
        response = client.get("/status?#{status}")
        expect(response).to have_attributes(status: status, body: "")
        expect(response["content-length"]).to be_nil
      end
    end

    it "after early hints" do
      one = client
      stream = one.send_request("GET", "/hints")
      expect(one.read_head(stream)).to have_attributes(status: 103, headers: { "link" => ["</a.css>; rel=preload"] })
      expect(one.read_response(stream)).to have_attributes(status: 200, body: "behind")
    end

    it "that say 500 if the app raises, and the connection goes on" do
      one = client
      expect(one.get("/raise").status).to eq(500)
      expect(one.get("/each").status).to eq(200)
    end

    it "that end with a reset if the body raises or is too short, and the connection goes on" do
      one = client
      %w[/raise_midway /short].each do |path|
        stream = one.send_request("GET", path)
        expect(one.read_head(stream).status).to eq(200)
        last = nil
        last = one.read_of(stream) until last&.type == :rst_stream
        expect(last.error).to eq(:internal_error)
      end
      expect(one.get("/each").status).to eq(200)
    end

    it "as fast as the client gives windows" do
      one = client(settings: { initial_window_size: 10 })
      stream = one.send_request("GET", "/big?25")
      one.read_head(stream)
      expect(one.read_of(stream).payload.bytesize).to eq(10)
      one.ping
      one.add_window(8, stream: stream)
      expect(one.read_of(stream).payload.bytesize).to eq(8)
      one.add_window(100, stream: stream)
      expect(one.read_of(stream)).to have_attributes(payload: "x" * 7, end_stream?: true)
    end

    it "of any length, in frames that the client allows" do
      one = client
      stream = one.send_request("GET", "/big?1000000")
      expect(one.read_response(stream).body.bytesize).to eq(1_000_000)
    end

    it "while another stream takes nothing" do
      one = client
      stalled = one.send_request("GET", "/big?1000000")
      one.read_head(stalled)
      expect(one.get("/big?100000").body.bytesize).to eq(100_000)
    end
  end

  describe "of a client that goes" do
    it "stop the body that is being written" do
      one = client
      stream = one.send_request("GET", "/endless")
      one.read_head(stream)
      one.reset(stream)
      expect(one.get("/each").body).to eq("onetwothree")
      # A worker that still wrote would keep the server from stopping.
      expect(Array.new(4) { one.get("/each").status }).to eq([200] * 4)
    end
  end

  describe "that must not reach the app" do
    {
      "CONNECT without a protocol, which is for proxies (RFC 9110 section 9.3.6)" =>
        [501, "CONNECT", nil, [], { scheme: nil, authority: "a:1" }],
      "a Host that differs from :authority (RFC 9113 section 8.3.1)" => [400, "GET", "/", [%w[host other]], {}],
      "no authority and no Host" => [400, "GET", "/", [], { authority: nil }],
      "a user in the authority (RFC 9113 section 8.3.1)" => [400, "GET", "/", [], { authority: "user@a" }],
      "a path without a slash (RFC 9113 section 8.3.1)" => [400, "GET", "*", [], {}],
      "a long path (max_uri_size)" => [414, "GET", "/#{"x" * 16_384}", [], {}],
      "many fields (max_headers)" => [431, "GET", "/", [%w[x 1]] * 101, {}],
      "large fields (max_head_size)" => [431, "GET", "/", Array.new(9) { |index| ["x-#{index}", "x" * 7500] }, {}],
      "another protocol (RFC 9220 section 3)" => [501, "CONNECT", "/", [], { protocol: "connect-udp" }]
    }.each do |what, (status, method, path, fields, pseudo)|
      it "are answered with #{status}: #{what}" do
        one = client
        one.read_settings
        stream = one.next_stream
        block = { ":method" => method, ":scheme" => "http", ":authority" => "a", ":path" => path }
                .merge(pseudo.transform_keys { |name| ":#{name}" }).compact
        parts = Hpack.encode(block.to_a + fields).scan(/.{1,16384}/mn)
        one.frame(:headers, parts.shift, flags: Http2Client::END_STREAM | (parts.empty? ? Http2Client::END_HEADERS : 0), stream: stream)
        parts.each_with_index do |part, index|
          one.frame(:continuation, part, flags: index == parts.size - 1 ? Http2Client::END_HEADERS : 0, stream: stream)
        end
        expect(one.read_response(stream).status).to eq(status)
        expect(one.get("/each").status).to eq(200)
      end
    end
  end

  it "can be switched off, and get what another server of HTTP/1 answers" do
    start_app("run ->(_) { [200, {}, []] }", "--no-http2")
    one = closing(RawConnection.new(app.address)).write(Http2Client::PREFACE)
    expect(one.read_to_end).to start_with("HTTP/1.1 505 ")
  end

  it "are logged" do
    start_app('run ->(_) { [200, {}, ["hello"]] }', "--access-log", "common")
    client.get("/path")
    expect_line(%r{"GET /path HTTP/2.0" 200 5})
  end
end
