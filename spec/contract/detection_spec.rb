# frozen_string_literal: true

require "spec_helper"

# What env["rack.upgrade?"] tells the app about a request, and which requests the app never gets.
RSpec.describe "env['rack.upgrade?']" do
  serve <<~'CONFIG'
    require "spec_app"

    use Rack::Lint
    use Rack::Head
    run(lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"])
      answer = { present: env.key?("rack.upgrade?"), kind: env["rack.upgrade?"].inspect, handler: env.key?("rack.upgrade") }
      [200, { "content-type" => "application/json" }, [JSON.generate(answer)]]
    end)
  CONFIG

  key = "dGhlIHNhbXBsZSBub25jZQ=="
  handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: #{key}"].freeze
  # The handshake with one header replaced, or left out.
  with = ->(name, *lines) { handshake.reject { |line| line.start_with?("#{name}:") } + lines }

  # A client that can send this: HTTP/2 has no such headers.
  def client_for(headers, version: "1.1", **)
    version == "1.0" || headers.any? { |line| line.match?(/\A(?:connection|upgrade):/i) } ? http1 : http
  end

  def told(method, headers, **how)
    response = client_for(headers, **how).request(method, "/", headers, **how)
    expect(response.status).to eq(200)
    JSON.parse(response.body)
  end

  websocket = {
    "the handshake of RFC 6455" => handshake,
    "header names and tokens in another letter case" =>
      ["CONNECTION: UPGRADE", "UPGRADE: WebSocket", "SEC-WEBSOCKET-VERSION: 13", "SEC-WEBSOCKET-KEY: #{key}"],
    "upgrade among other connection options" => with["Connection", "Connection: keep-alive, Upgrade"],
    "upgrade in a second Connection line" => with["Connection", "Connection: keep-alive", "Connection: upgrade"],
    "websocket among other protocols" => with["Upgrade", "Upgrade: h2c, websocket"],
    "websocket in a second Upgrade line" => with["Upgrade", "Upgrade: h2c", "Upgrade: websocket"],
    "a request that also accepts an event stream" => handshake + ["Accept: text/event-stream"]
  }
  websocket.each do |title, headers|
    it "is :websocket for #{title}" do
      expect(told("GET", headers)).to eq("present" => true, "kind" => ":websocket", "handler" => false)
    end
  end

  sse = {
    "the media type alone" => ["Accept: text/event-stream"],
    "the media type in another letter case" => ["accept: Text/Event-Stream"],
    "a parameter" => ["Accept: text/event-stream;charset=utf-8"],
    "a weight above zero" => ["Accept: text/event-stream; q=0.5"],
    "the smallest weight above zero" => ["Accept: text/event-stream;q=0.001"],
    "other types before it" => ["Accept: text/html, text/event-stream"],
    "other types after it" => ["Accept: text/event-stream;q=0.1,application/json;q=0.9, */*;q=0.2"],
    "a second Accept line" => ["Accept: text/html", "Accept: text/event-stream"],
    "an Upgrade to something else" =>
      ["Accept: text/event-stream", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
  }
  sse.each do |title, headers|
    it "is :sse for an Accept with #{title}" do
      expect(told("GET", headers)).to eq("present" => true, "kind" => ":sse", "handler" => false)
    end
  end

  # Datastar, MCP's Streamable HTTP and pages that stream an answer by fetch ask with a body.
  %w[POST PUT PATCH DELETE QUERY].each do |method|
    it "is :sse for a #{method} that accepts an event stream, with and without a body" do
      accept = "Accept: application/json, text/event-stream;q=0.5"
      expect(told(method, [accept, "Content-Length: 0"])).to eq("present" => true, "kind" => ":sse", "handler" => false)
      expect(told(method, [accept], body: "x")).to include("kind" => ":sse")
      expect(told(method, [accept, "Content-Length: 0"], version: "1.0")).to include("kind" => ":sse")
    end
  end

  it "is :sse over HTTP/1.0, too" do
    expect(told("GET", ["Accept: text/event-stream"], version: "1.0")).to include("kind" => ":sse")
  end

  ordinary = {
    "no Accept" => ["GET", []],
    "Accept: */*" => ["GET", ["Accept: */*"]],
    "Accept: text/*" => ["GET", ["Accept: text/*"]],
    "a weight of 0" => ["GET", ["Accept: text/event-stream;q=0"]],
    "a weight of 0.000, written with spaces and a capital" => ["GET", ["Accept: text/html, text/event-stream ; Q=0.000"]],
    "a type that begins with text/event-stream" => ["GET", ["Accept: text/event-stream-x"]],
    "a type that ends with text/event-stream" => ["GET", ["Accept: x-text/event-stream"]],
    "the media type as a parameter's value" => ["GET", ['Accept: text/html;profile="text/event-stream"']],
    "POST and Accept: */*" => ["POST", ["Accept: */*", "Content-Length: 0"]],
    "POST and a weight of 0" => ["POST", ["Accept: application/json, text/event-stream;q=0", "Content-Length: 0"]],
    "OPTIONS and Accept: text/event-stream" => ["OPTIONS", ["Accept: text/event-stream", "Content-Length: 0"]],
    "an extension method and Accept: text/event-stream" => ["PROPFIND", ["Accept: text/event-stream", "Content-Length: 0"]],
    "POST and a WebSocket handshake" => ["POST", handshake + ["Content-Length: 0"]],
    "an Upgrade to h2c" => ["GET", ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]],
    "an Upgrade to another protocol" => ["GET", ["Connection: Upgrade", "Upgrade: IRC/6.9"]],
    "an Upgrade to a protocol that begins with websocket" => ["GET", with["Upgrade", "Upgrade: websockets"]]
  }
  ordinary.each do |title, (method, headers)|
    it "is nil for a request with #{title}" do
      expect(told(method, headers)).to eq("present" => true, "kind" => "nil", "handler" => false)
    end
  end

  it "is nil for an Upgrade over HTTP/1.0" do
    expect(told("GET", handshake, version: "1.0")).to include("kind" => "nil")
    expect(told("GET", ["Connection: Upgrade", "Upgrade: websocket"], version: "1.0")).to include("kind" => "nil")
  end

  it "is nil for HEAD" do
    response = http.request("HEAD", "/head", ["Accept: text/event-stream"])
    expect(response.status).to eq(200)
    expect(response["content-type"]).to eq("application/json")
  end

  describe "when the server refuses the handshake" do
    refused = {
      "version 8" => [with["Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"], 426],
      "no version" => [with["Sec-WebSocket-Version"], 426],
      "no key" => [with["Sec-WebSocket-Key"], 400],
      "an empty key" => [with["Sec-WebSocket-Key", "Sec-WebSocket-Key:"], 400],
      "a key of 15 bytes" => [with["Sec-WebSocket-Key", "Sec-WebSocket-Key: #{["x" * 15].pack("m0")}"], 400],
      "a key of 17 bytes" => [with["Sec-WebSocket-Key", "Sec-WebSocket-Key: #{["x" * 17].pack("m0")}"], 400],
      "a key that is not Base64" => [with["Sec-WebSocket-Key", "Sec-WebSocket-Key: *GhlIHNhbXBsZSBub25jZQ=="], 400],
      "two keys" => [handshake + ["Sec-WebSocket-Key: #{key}"], 400],
      "no Connection header" => [with["Connection"], 400],
      "a Connection header without upgrade" => [with["Connection", "Connection: keep-alive"], 400]
    }
    refused.each do |title, (headers, status)|
      it "does not reach the app; the client gets #{status} for #{title}" do
        path = "/#{title.tr(" ", "-")}"
        response = http1.get(path, headers)
        expect(response.status).to eq(status)
        expect(response["sec-websocket-version"]).to eq("13") if status == 426
        get("/after")
        app.events.take(event: "call", path: "/after")
        expect(app.events.all(path: path)).to be_empty
      end
    end

    # RFC 9110 section 15.5.22.
    it "does not reach the app; a 426 names the protocol websocket" do
      expect(http1.get("/", with["Sec-WebSocket-Version"])["upgrade"]).to eq("websocket")
    end
  end
end
