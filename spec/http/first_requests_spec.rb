# frozen_string_literal: true

require "spec_helper"

# What the server looks up once, it must not look up under a lock: Ruby may switch threads meanwhile, and the next thread would
# wait for that lock while it holds the GVL.
RSpec.describe "The first requests of a server" do
  config = <<~'CONFIG'
    require "spec_app"

    # Each require calls to_path, so that each can switch threads.
    THREAD_SWITCH = Object.new
    def THREAD_SWITCH.to_path
      10.times { Thread.pass }
      sleep 0.001
      "/nonexistent"
    end
    $LOAD_PATH.unshift(THREAD_SWITCH)

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
    it "can come all at once: #{path}" do
      clients = Array.new(20) { http }
      clients.each { |client| client.send_request("GET", path, path == "/push" ? { "accept" => "text/event-stream" } : {}) }
      expect(clients.map { |client| client.read_head.status }).to all(eq(status))
    end

    it "can come all at once with a body that is kept in a file: #{path}" do
      clients = Array.new(10) { http }
      clients.map { |client| Thread.new { client.send_request("POST", path, body: "x" * 150_000) } }.each(&:join)
      expect(clients.map { |client| client.read_head.status }).to all(eq(status))
    end
  end
end
