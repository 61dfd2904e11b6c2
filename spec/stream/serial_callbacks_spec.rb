# frozen_string_literal: true

require "spec_helper"

RSpec.describe "Callbacks of many clients on many threads" do
  serve <<~'CONFIG', "--threads", "8"
    require "spec_app"

    # Counts callbacks that overlap. Those of one client must not, those of different clients should.
    class Watcher
      def initialize
        @mutex = Mutex.new
        @running = Hash.new(0)
        @overlaps = 0
        @parallel = 0
      end

      attr_reader :overlaps, :parallel

      def on_open(client) = watched(client) { client[:seen] = [] }

      def on_message(client, data)
        watched(client) do
          client[:seen] << data.to_i
          client.write("done #{client[:seen] == (0...200).to_a}") if data == "199"
          client.write("noted") if data.end_with?("0")
        end
      end

      def on_drained(client) = watched(client) { nil }
      def on_close(client) = watched(client) { SpecApp.report(:close, client, seen: client[:seen].size) }

      private

      def watched(client)
        @mutex.synchronize do
          @overlaps += 1 if (@running[client] += 1) > 1
          @parallel = [@parallel, @running.count { |_, count| count.positive? }].max
        end
        sleep(rand / 1000)
        yield
      ensure
        @mutex.synchronize { @running[client] -= 1 }
      end
    end

    WATCHER = Watcher.new
    run(lambda do |env|
      env["rack.upgrade"] = WATCHER
      [200, {}, []]
    end)
  CONFIG

  it "keep the order of each client's messages, overlap among clients, and never overlap within a client" do
    clients = Array.new(50) { websocket }
    messages = (0...200).map { |number| WebSocketFrame.encode(:text, number.to_s) }
    messages.each_slice(20) { |some| clients.each { |client| client.write(some.join) } }
    clients.each do |client|
      text = client.read_message until text&.start_with?("done")
      expect(text).to eq("done true")
    end
    clients.each(&:close)
    clients.each { |client| event("close", client, seen: 200) }
    expect(app.ask("WATCHER.overlaps")).to eq(0)
    expect(app.ask("WATCHER.parallel")).to be > 1
  end
end
