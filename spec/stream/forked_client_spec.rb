# frozen_string_literal: true

require "spec_helper"

# The parent's clients in a child. A lock that was held at the time of the fork is held for ever in the child. What a child
# must not disturb is in fork_spec.rb.
RSpec.describe "In a forked child," do
  config = <<~'CONFIG'
    require "spec_app"
    require "forked_child"

    Second = SpecApp::Recorder.new
    FLOOD = []

    # Calls all methods of the client in a child. Its value is what they return.
    def SpecApp.call_in_child(client)
      ForkedChild.new do
        { open: client.open?, pending: client.pending, write: client.write("x"), code: client.close_code,
          reason: client.close_reason, close: client.close, text: client.inspect, protocol: client.protocol,
          pubsub: client.pubsub?, timeout: (client.timeout; true), id: client.env["QUERY_STRING"],
          storage: (client[:a] = client[:a].to_s), handler: (client.handler = Second; true),
          interval: (client.timeout = 5; true) }
      end
    end

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = handler
        [200, {}, []]
      elsif env["PATH_INFO"] == "/fork"
        # Without a block, so the child returns from here, too.
        CHILDREN << fork
        [200, { "content-type" => "text/plain" }, ["from #{Process.pid}"]]
      else
        [200, {}, []]
      end
    end)
    CHILDREN = []
  CONFIG

  calm = { "open" => false, "pending" => -1, "write" => false, "code" => nil, "reason" => nil, "close" => nil,
           "pubsub" => true, "timeout" => true, "storage" => "", "handler" => true, "interval" => true }

  describe "a client" do
    serve config, "--threads", "2", "--ping-interval", "3600"

    before { skip "this Ruby does not fork" unless Process.respond_to?(:fork) }

    %i[websocket sse].each do |protocol|
      it "is closed, and all its methods return; the parent's is still open (#{protocol})" do
        client = opened(public_send(protocol))
        told = ask(client, "SpecApp.call_in_child(client).value").transform_keys(&:to_s)
        expect(told).to include(calm.merge("protocol" => protocol.to_s, "id" => client.id, "text" => /\A#<PushServer::Client #{protocol} .*closed>\z/))
        expect(ask(client, 'client.open? && client.write("still here")')).to be(true)
        expect(protocol == :sse ? client.read_event.data : client.read_message).to eq("still here")
      end
    end

    it "never blocks, even if the parent's threads and reactor write during the fork" do
      clients = Array.new(4) { websocket }
      clients.each { |client| event(:open, client) }
      readers = clients.map do |client|
        Thread.new do
          IO.copy_stream(client.connection.socket, File::NULL)
        rescue Errno::ECONNRESET
          # At the end below, the server still had something to send.
        end
      end
      app.ask(<<~'CODE')
        FLOODED = SpecApp.clients.select(&:open?)
        2.times do
          FLOOD << Thread.new { loop { FLOODED.each { |client| client.write("x" * 500) if client.pending < 500 } and sleep 0.0005 } }
        end
        nil
      CODE
      answers = app.ask(<<~'CODE', seconds: 60)
        Array.new(30) { FLOODED.map { |client| SpecApp.call_in_child(client) }.map(&:value) }
             .flatten.map { |answer| answer == "blocked" ? answer : answer["open"] }.tally
      CODE
      expect(answers).to eq(false: 120)
    ensure
      app.ask("FLOOD.each(&:kill); nil")
      clients.each { |client| client.connection.socket.shutdown }
      readers.each(&:join)
    end
  end

  # After a fork without a block the child returns from the app into the server, which is its parent's.
  describe "the server" do
    before do
      skip "this Ruby does not fork" unless Process.respond_to?(:fork)
      start_app(config, "--threads", "2")
    end

    it "answers nothing and ends the child; the parent's port is free when the parent stops" do
      client = http
      5.times { expect(client.get("/fork").body).to eq("from #{app.pid}") }
      children = app.ask("CHILDREN.compact.map { |pid| Process.wait2(pid).last.pid }")
      expect(children.size).to eq(5)
      expect(client.get("/fork").body).to eq("from #{app.pid}")
      expect(app.stop).to be_success
      expect(accepting_connections?).to be(false)
      TCPServer.new("127.0.0.1", app.port).close
    end
  end
end
