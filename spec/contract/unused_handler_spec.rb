# frozen_string_literal: true

require "spec_helper"

# The log says why a request with a handler was not upgraded.
RSpec.describe "A handler that is not used" do
  source = <<~'CONFIG'
    require "spec_app"

    # Middleware that gives the app a copy of env.
    class Copying
      def initialize(app) = @app = app
      def call(env) = @app.call(env["PATH_INFO"] == "/copied" ? env.dup : env)
    end

    use Copying
    run(lambda do |env|
      status = env["PATH_INFO"][%r{/(\d{3})\z}, 1]
      env["rack.upgrade"] = SpecApp::Recorder.new unless env["PATH_INFO"].start_with?("/plain")
      [(status || 200).to_i, {}, []]
    end)
  CONFIG

  websocket = WebSocketClient.handshake
  event_stream = { "accept" => "text/event-stream" }

  # The log lines about handlers so far. All that was logged before comes before the reply to `ask`.
  def logged
    app.ask("nil")
    app.lines.grep(/rack\.upgrade'\]/).map { |line| line.chomp.delete_prefix("[push_server] info: ") }
  end

  reasons = {
    "GET /status/403" => [websocket, /GET \/status\/403: .*not used, because the app answered 403: only a status below 300 accepts\z/],
    "GET /status/404" => [event_stream, /GET \/status\/404: .*not used, because the app answered 404. .*return \[200, {}, \[\]\]\z/],
    "GET /asked/for/nothing" => [{}, %r{GET /asked/for/nothing: .*did not ask for an upgrade: env\['rack.upgrade\?'\] is nil\z}],
    "POST /posted" => [{ "content-length" => "0" }, /POST \/posted: .*did not ask for an upgrade/],
    "GET /copied" => [event_stream, %r{GET /copied: the client asked for an upgrade .*middleware that copies env}]
  }

  def request(line, headers) = http.request(*line.split, headers)

  describe "at the level info" do
    # Each example needs its own app, because a line is not repeated within a minute.
    before { start_app(source) }

    reasons.each do |line, (headers, message)|
      it "is explained in the log: #{line}" do
        request(line, headers)
        expect(logged).to match([message])
      end
    end

    it "is explained at most once a minute for each reason" do
      3.times { |number| request("GET /status/#{401 + number}", websocket) }
      3.times { |number| request("GET /not/asked/#{number}", {}) }
      2.times { request("GET /copied", event_stream) }
      expect(logged).to match([%r{GET /status/401: }, %r{GET /not/asked/0: }, %r{GET /copied: }])
    end

    it "is not explained when there is no handler, or when it is used" do
      request("GET /plain", {})
      # 204 ends an EventSource. A page that posts may accept event streams and not expect one.
      %w[GET POST].product(%w[202 204 205]) { |method, status| request("#{method} /plain/#{status}", event_stream.merge("content-length" => "0")) }
      client = opened(websocket("/used"))
      client.finish
      sse("/used").close
      expect(logged).to be_empty
    end
  end

  describe "at the level debug" do
    serve source, "-v"

    it "is explained every time" do
      3.times { |number| request("GET /status/#{401 + number}", websocket) }
      2.times { request("GET /copied", event_stream) }
      expect(logged).to match([%r{GET /status/401: }, %r{GET /status/402: }, %r{GET /status/403: },
                               %r{GET /copied: }, %r{GET /copied: }])
    end
  end

  describe "at the level warn" do
    it "is not explained" do
      start_app(source)
      app.ask("PushServer.log_level = :warn; nil")
      request("GET /status/403", websocket)
      expect(logged).to be_empty
    end
  end
end
