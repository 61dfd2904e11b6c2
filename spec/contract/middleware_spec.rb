# frozen_string_literal: true

require "spec_helper"

# Middleware sees the response [200, {}, []] instead of the stream. The upgrade and the middleware must not break each other.
RSpec.describe "Middleware in front of an upgrade" do
  serve <<~'CONFIG'
    require "spec_app"
    require "securerandom"

    if Rack.release >= "3"
      require "rack/session"
    else
      require "rack/session/cookie"
    end

    handler = SpecApp::Recorder.new(
      open: ->(client) { client.write("welcome") },
      message: ->(client, data) { client.write("echo: #{data}") }
    )
    app = lambda do |env|
      env["rack.session"]["visited"] = true if env["rack.session"]
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      body = env["HTTP_X_BODY"].to_s
      [200, body.empty? ? {} : { "content-type" => "text/plain" }, body.empty? ? [] : [body]]
    end

    stacks = {
      "lint" => [[Rack::Lint]],
      "common-logger" => [[Rack::CommonLogger]],
      "etag" => [[Rack::ETag]],
      "conditional-get" => [[Rack::ConditionalGet], [Rack::ETag]],
      "deflater" => [[Rack::Deflater]],
      "content-length" => [[Rack::ContentLength]],
      "session" => [[Rack::Session::Cookie, { secret: SecureRandom.hex(64) }]]
    }
    stacks["all"] = [*stacks.values.flatten(1).uniq, [Rack::Lint]]

    run(Rack::URLMap.new(stacks.to_h do |name, stack|
      ["/#{name}", Rack::Builder.app { stack.each { |middleware, options| use middleware, **options.to_h }; run app }]
    end))
  CONFIG

  # What a browser sends, and what would make the middleware act on a real body.
  browser = { "accept-encoding" => "gzip, deflate, br", "if-none-match" => '"x"', "x-body" => nil }

  stacks = %w[lint common-logger etag conditional-get deflater content-length session all]
  bodies = { "an empty body" => "", "a body, which is not sent" => Array.new(50, "What a long and compressible body!").join(" ") }
  stacks.product(bodies.to_a).each do |stack, (title, body)|
    it "does not change a WebSocket: #{stack}, #{title}" do
      client = websocket("/#{stack}", headers: browser.merge("x-body" => body))
      expect(client.read_message).to eq("welcome")
      client.text("hello")
      expect(client.read_message).to eq("echo: hello")
    end

    it "does not change an event stream: #{stack}, #{title}" do
      client = sse("/#{stack}", headers: browser.merge("x-body" => body))
      expect(client.read_event).to have_attributes(event: "msg", data: "welcome")
      expect(client.response.headers.keys).not_to include("content-encoding", "etag", "content-length")
    end
  end

  it "can set a session's cookie" do
    expect(websocket("/session").response["set-cookie"]).to start_with("rack.session=")
    expect(sse("/all").response["set-cookie"]).to start_with("rack.session=")
  end

  it "can log the upgrade: Rack::CommonLogger" do
    client = websocket("/common-logger")
    expect_line(%r{"GET /common-logger\?#{client.id} HTTP/#{Transport.http_version}" 200})
  end
end
