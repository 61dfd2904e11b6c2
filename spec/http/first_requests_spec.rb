# frozen_string_literal: true

require "spec_helper"

# What is looked up once must not be looked up under a lock: Ruby may switch threads meanwhile, and the next worker would
# wait for that lock with Ruby's own in its hands.
RSpec.describe "The first requests of a server" do
  config = <<~'CONFIG'
    require "spec_app"

    # Every require asks it, so that every one of them is an occasion to switch threads.
    Turnstile = Object.new
    def Turnstile.to_path
      10.times { Thread.pass }
      sleep 0.001
      "/nonexistent"
    end
    $LOAD_PATH.unshift(Turnstile)

    class Body
      def each = yield("answered")
      def close; end
    end

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nanswered")
        io.close
      when "/header" then next [200, { "x" => 1 }, Body.new]
      when "/push" then env["rack.upgrade"] = handler
      end
      [200, {}, Body.new]
    end)
  CONFIG

  before { start_app(config, "--threads", "5") }

  { "/" => 200, "/hijack" => 200, "/header" => 500, "/push" => 200 }.each do |path, status|
    it "may come all at once: #{path}" do
      clients = Array.new(20) { http }
      clients.each { |client| client.send_request("GET", path, path == "/push" ? { "accept" => "text/event-stream" } : {}) }
      expect(clients.map { |client| client.read_head.status }).to all(eq(status))
    end

    it "may come all at once with a body in a file: #{path}" do
      clients = Array.new(10) { http }
      clients.map { |client| Thread.new { client.send_request("POST", path, body: "x" * 150_000) } }.each(&:join)
      expect(clients.map { |client| client.read_head.status }).to all(eq(status))
    end
  end
end
