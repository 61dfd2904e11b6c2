# frozen_string_literal: true

require "spec_helper"

# Restarts of workers whose clients speak HTTP/2, over TLS and without: nothing that a client was promised is lost.
RSpec.describe "A restart with clients of HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    PushServer.channel "news", history: 1000

    class Subscriber
      def on_open(client) = client.subscribe("news")
      def on_shutdown(client) = client.write("goodbye from #{Process.pid}", event: "goodbye")
    end

    class Echo
      def on_open(client) = client.write("open in #{Process.pid}")
      def on_message(client, data) = client.write(data)
      def on_shutdown(client) = client.write("goodbye")
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/news"
        env["rack.upgrade"] = Subscriber.new
        [200, {}, []]
      when "/echo"
        env["rack.upgrade"] = Echo.new
        [200, {}, []]
      when "/publish"
        PushServer.publish("news", env["QUERY_STRING"])
        [200, {}, []]
      when "/big" then [200, {}, ["x" * 200_000]]
      else [200, {}, [Process.pid.to_s]]
      end
    end)
  CONFIG

  # Reads the channel until its last message, and connects again as often as that is needed. Returns the messages, and how often
  # on_shutdown has said goodbye.
  def follow(address, first)
    seen, goodbyes, cursor, stream = [], 0, nil, first
    loop do
      block = stream.read_event(seconds: 60)
      cursor = block.id || cursor
      goodbyes += 1 if block.event == "goodbye"
      seen << block.data if block.data.match?(/\A(\d+|last)\z/)
      return [seen, goodbyes] if block.data == "last"
    rescue RawConnection::Ended
      stream.close
      stream = SseClient.new(address, "/news", headers: cursor ? { "last-event-id" => cursor } : {}, protocol: :h2)
    end
  ensure
    stream&.close
  end

  # The message with which a WebSocket ends, its close code, and the greeting of its next connection.
  def renew(address, socket)
    last = socket.read_message(seconds: 60)
    frame = socket.read_frame(seconds: 60)
    socket.send_close(frame.close_code).close
    renewed = WebSocketClient.new(address, "/echo", protocol: :h2)
    [last, frame.close_code, renewed.read_message]
  ensure
    renewed&.close
  end

  { tcp: "without TLS", tls: "over TLS" }.each do |transport, how|
    context how, transport: transport do
      %w[USR1 USR2].each do |signal|
        # Half of the pairs take long enough.
        it "by #{signal} loses no message, answers all requests, and tells each stream", full: (signal == "USR1") == (transport == :tcp) do
          start_app(config, "-w", "2")
          eventually("all workers to serve") { app.tree.workers.size == 2 }
          former = app.tree.workers.map(&:pid)
          address = transport == :tls ? app.address.with(alpn_protocols: %w[h2]) : app.address
          subscribers = Array.new(4) { SseClient.new(address, "/news", protocol: :h2).tap(&:read_retry) }
          sockets = Array.new(4) { closing(WebSocketClient.new(address, "/echo", protocol: :h2)).tap(&:read_message) }
          # They take the rest only when their worker drains.
          busy = Array.new(4) { closing(Http2Client.new(address, settings: { initial_window_size: 1000 })) }
          busy.each { |one| one.send_request("GET", "/big") }
          publish = ->(text) { HttpClient.new(app.address).tap { |one| expect(one.get("/publish?#{text}").status).to eq(200) }.close }

          publish.call("0")
          following = subscribers.map { |first| Thread.new { follow(address, first) } }
          renewing = sockets.map { |socket| Thread.new { renew(address, socket) } }
          answers = busy.map { |one| Thread.new { one.wait_for_type(:goaway, seconds: 60) && one.read_response(1).body.bytesize } }
          app.signal(signal)
          last = 0
          eventually("all workers to be replaced", seconds: 60) do
            publish.call((last += 1).to_s)
            app.tree.workers.size == 2 && (app.tree.workers.map(&:pid) & former).empty?
          end
          publish.call("last")
          expect(following.map(&:value)).to eq([[[*0..last].map(&:to_s) + ["last"], 1]] * 4)
          renewed = renewing.map(&:value)
          expect(renewed.map { |it| it.first(2) }).to eq([["goodbye", 1012]] * 4)
          expect(renewed.map { |it| it.last[/\d+/].to_i } & former).to eq([])
          expect(answers.map(&:value)).to eq([200_000] * 4)
          expect(app.stop).to be_success
        end
      end
    end
  end
end
