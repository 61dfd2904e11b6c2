# frozen_string_literal: true

require "spec_helper"

# What is published before a client is closed is sent before the end, whether the app or the server closes it.
RSpec.describe "The last messages before a close" do
  include ChannelClients

  # A message on `end-…` calls the client's block, which publishes that many messages and closes the client.
  config = <<~'CONFIG'
    require "spec_app"

    class Brief < SpecApp::Recorder
      def on_open(client)
        channel = client.env["PATH_INFO"].delete_prefix("/")
        client.subscribe(channel)
        client.subscribe("end-#{channel}") { |_, count| close_after(client, channel, count) }
        super
        close_after(client, channel, 5) if channel.start_with?("brief")
      end

      # A poll is answered with the first message, and a server that stops accepts no further poll.
      def on_shutdown(client)
        polls = client.env["QUERY_STRING"].start_with?("push_wait")
        publish(client.env["PATH_INFO"].delete_prefix("/"), 1..(polls ? 1 : 5))
      end

      private

      def close_after(client, channel, count)
        publish(channel, 1..count.to_i)
        client.close
      end

      # 1 KiB each. Some hundreds are more than one read takes out of the log, and more than the answer to a poll holds.
      def publish(channel, numbers) = numbers.each { |number| PushServer.publish(channel, "#{number} ".ljust(1024, "x")) }
    end

    run(lambda do |env|
      SpecApp.report(:call, id: env["QUERY_STRING"])
      env["rack.upgrade"] = Brief.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  def self.kinds = { "SSE" => SseClient, "push.v1" => PushV1Client, "a raw WebSocket" => WebSocketClient, "polls" => PollClient }

  # A client whose on_open has been called, and whose poll waits.
  def waiting(kind, channel) = opened(kind == PollClient ? poller("/#{channel}").ask : unopened(kind, channel))

  # The numbers that a client gets before its end.
  def numbers_until_end(client)
    case client
    when SseClient then client.read_to_end.scan(/^data: (\d+)/).flatten
    when PollClient then data_until_end(client).grep(/\A\d/)
    else messages_until_close(client).filter_map { |message| message[/^(?:data: )?(\d+) x/, 1] }
    end.map(&:to_i)
  end

  # The IDs of a session's last answer do not name the session.
  def data_until_end(client)
    answers = [client.answer]
    while client.cursor.include?(".")
      answers << client.poll
      raise "it ended without a last answer" if answers.last.events.first&.event == "push.open"
    end
    answers.flat_map(&:data)
  end

  def messages_until_close(client)
    messages = []
    while (frame = client.read_frame).opcode != :close
      messages << frame.payload
    end
    client.send_close(frame.close_code)
    messages
  end

  context "by a callback" do
    serve config, "--threads", "2"

    kinds.each do |name, kind|
      [1, 5, 3000].each do |count|
        it "arrive over #{name}: #{count}" do
          client = waiting(kind, channel = Serving.next_name)
          publish("end-#{channel}", count.to_s)
          expect(numbers_until_end(client)).to eq([*1..count])
          event(:close, client)
        end
      end

      it "arrive over #{name} if on_open publishes them" do
        client = kind == PollClient ? poller("/brief-poll").ask : unopened(kind, "brief-#{name}".tr(" ", "-"))
        expect(numbers_until_end(client)).to eq([*1..5])
        event(:close, client)
      end
    end
  end

  # 16 MiB are more than the buffers of a socket, and less than the memory of channels.
  context "for a client that does not read" do
    serve config, "--threads", "2", "--close-timeout", "0.3"

    [SseClient, WebSocketClient].each do |kind|
      it "do not keep the connection open (#{kind})" do
        client = subscriber(kind, channel = Serving.next_name, receive_buffer: 4096)
        publish("end-#{channel}", (16 * 1024).to_s)
        event(:close, client)
        expect_eventually("its place in the log to be given up") { app.ask("PushServer.stats.values_at(:readers, :channels)") == [0, 0] }
      end
    end
  end

  context "for a client that begins to read late" do
    serve config, "--threads", "2", "--channel-memory", "50MiB"

    it "arrive if the log has kept them" do
      client = subscriber(WebSocketClient, channel = Serving.next_name, receive_buffer: 4096)
      publish("end-#{channel}", (16 * 1024).to_s)
      eventually("the client to be closing") { !ask(client, "client.open?") }
      expect(numbers_until_end(client)).to eq([*1..16 * 1024])
      event(:close, client, code: 1000)
    end

    it "are followed by 1013 instead of 1000 if the log could not keep all" do
      client = subscriber(WebSocketClient, channel = Serving.next_name, receive_buffer: 4096)
      publish("end-#{channel}", (64 * 1024).to_s)
      eventually("the client to be closing") { !ask(client, "client.open?") }
      expect(numbers_until_end(client).size).to be < 64 * 1024
      event(:close, client, code: 1013)
    end
  end

  context "by a shutdown" do
    # With one thread, earlier callbacks have returned before on_shutdown.
    before { start_app(config, "--threads", "1") }

    (kinds.keys - ["polls"]).each do |name|
      it "arrive over #{name} if on_shutdown publishes them" do
        client = waiting(self.class.kinds[name], Serving.next_name)
        app.signal("TERM")
        expect(numbers_until_end(client)).to eq([*1..5])
        client.close
        expect(app.wait).to be_success
      end
    end

    it "arrive over a waiting poll if on_shutdown publishes them" do
      client = waiting(PollClient, Serving.next_name)
      expect(client.answer.events.map(&:event)).to eq(["push.open"])
      client.ask
      2.times { app.events.take(event: "call", id: client.id) }
      app.signal("TERM")
      expect(client.answer.data.grep(/\A1 x/).size).to eq(1)
      client.close
      expect(app.wait).to be_success
    end
  end
end
