# frozen_string_literal: true

require "spec_helper"

# Clients that disconnect right after they have requested a stream. The server can find out at any moment between the app's
# acceptance and the first byte. Nothing of these clients may remain, and no shutdown may wait for them.
RSpec.describe "Clients that disconnect at once" do
  config = <<~'CONFIG'
    require "spec_app"

    class Counter
      COUNTS = Hash.new(0)
      MUTEX = Mutex.new

      def on_open(_client) = MUTEX.synchronize { COUNTS[:open] += 1 }
      def on_close(_client) = MUTEX.synchronize { COUNTS[:close] += 1 }
    end

    CALLS = Queue.new
    handler = Counter.new
    run(lambda do |env|
      CALLS << true if env["rack.upgrade?"]
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  before { start_app(config, "--threads", "3", "--drain-timeout", "3600", "--body-memory", "10") }

  sse = { "accept" => "text/event-stream" }
  # The server keeps a body of this length in a file.
  requests = { "sse" => ["GET", sse, nil], "sse in answer to a POST" => ["POST", sse, "x" * 100],
               "websocket" => ["GET", WebSocketClient.handshake, nil] }

  # Clients that send a request and disconnect: at once, after all have sent it, or after one has been answered. Some reset the
  # connection.
  def come_and_go(method, headers, body, rounds:, crowd: 50)
    random = Random.new(RSpec.configuration.seed)
    leave = ->(client) { random.rand(3).zero? ? client.reset : client.close }
    rounds.times do |round|
      clients = Array.new(crowd) { Transport.requests.new(app.address) }
      ask = ->(client) { client.send_request(method, "/", headers, body: body) }
      case round % 3
      when 0 then clients.each { |client| leave[ask[client].connection] }
      when 1 then clients.each(&ask)
      when 2 then clients.each(&ask)[random.rand(crowd)].read_head
      end
      clients.each { |client| leave[client.connection] unless client.closed? }
    end
  end

  requests.each do |protocol, request|
    it "leave no client, descriptor or pending shutdown behind (#{protocol})" do
      before = app.descriptors.size
      come_and_go(*request, rounds: 180)
      # Later requests on each thread have been answered, so all earlier ones are over.
      6.times { get("/") }
      close_clients
      eventually("on_close of all that were opened") { app.ask("Counter::COUNTS.values_at(:open, :close).uniq.size") == 1 }
      # The collector may still find a few on the stacks of threads.
      eventually("the clients to be collected") { app.ask("GC.start; ObjectSpace.each_object(PushServer::Client).count") < 10 }
      expect(app.ask("CALLS.size")).to be > 100
      eventually("no more descriptors than before") { app.descriptors.size <= before + 1 }
      # A drain that waited for such a client would take an hour.
      expect(app.stop).to be_success
    end
  end
end
