# frozen_string_literal: true

require "spec_helper"

# The clock of examples/clock in Chromium, over WebSocket and Server-Sent Events.
RSpec.describe "The clock in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  clock = File.join(AppProcess::ROOT, "examples/clock")

  def expect_ticking(cookies: "clock=seen")
    pages = Script.run("clock.js", "http://127.0.0.1:#{app.port}")
    expect(pages.keys).to eq(%i[websocket.html sse.html])
    expect(pages.values).to all(include(errors: [], status: "connected"))
    expect(pages.values.flat_map { |page| page[:messages] }).to all(match(/\A\d\d:\d\d:\d\d\z/))
    expect(pages.values.map { |page| page[:messages].uniq.size }).to all(eq(3))
    expect(pages.values).to all(include(cookies: include(*cookies)))
  end

  context "with the push_server command" do
    serve "config.ru", dir: clock

    it("ticks") { expect_ticking }
  end

  context "with plain rackup, which puts Rack::Lint in front in development" do
    serve "config.ru", dir: clock, via: :rackup, env: { "RACK_ENV" => "development" }

    it("ticks") { expect_ticking }
  end

  context "as a plain Ruby program" do
    serve "push.rb", dir: clock, via: :ruby, env: { "PORT" => "0" }

    it("ticks") { expect_ticking }
  end

  context "behind Lint, Deflater, ETag, ConditionalGet and Session" do
    serve <<~CONFIG
      require "rack"
      require "securerandom"
      require Rack.release >= "3" ? "rack/session" : "rack/session/cookie"

      use Rack::Lint
      use Rack::CommonLogger
      use Rack::ConditionalGet
      use Rack::ETag
      use Rack::Deflater
      use Rack::Session::Cookie, secret: SecureRandom.hex(64)
      use(Class.new do
        def initialize(app) = @app = app

        def call(env)
          env["rack.session"]["visited"] = true
          @app.call(env)
        end
      end)
      use Rack::Lint
      run Array(Rack::Builder.parse_file(#{File.join(clock, "config.ru").dump})).first
    CONFIG

    it("ticks") { expect_ticking(cookies: ["clock=seen", start_with("rack.session=")]) }
  end
end
