# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A client that does not read its channels" do
  include ChannelClients

  config = <<~CONFIG + ChannelClients::APP
    require "push_server"
    PushServer.channel "resume*", history: 1
    PushServer.channel "drop*", slow: :drop
    PushServer.channel "latest*", slow: :latest
    PushServer.channel "latest-room*", slow: :latest, presence: true
  CONFIG

  # 16 MiB are more than a socket's buffers and slow_bytes, but fit into the log.
  def flood(channel, mebibytes: 16)
    app.ask("#{mebibytes * 16}.times { |number| PushServer.publish(#{channel.inspect}, \"\#{number} \" + 'x' * 65_000) }; nil", seconds: 60)
  end

  def stalled(kind, channel) = subscribed(kind, channel, receive_buffer: 4096)

  def stat(name) = app.ask("PushServer.stats[#{name.inspect}]")

  # Expects another subscriber to get messages.
  def expect_served(channel)
    other = subscribed(SseClient, channel)
    publish(channel, "hello")
    expect(other.read_event.data).to eq("hello")
  end

  context "for --slow-timeout" do
    serve config, "--threads", "2", "--slow-timeout", "0.3", "--ping-interval", "3600"

    it "is closed (slow: :resume)" do
      client = stalled(SseClient, "resume-1")
      before = stat(:slow_clients)
      flood("resume-1")
      event(:close, client)
      expect(stat(:slow_clients)).to eq(before + 1)
      expect_served("resume-1")
    end

    it "is closed with 1013 if it is a WebSocket (slow: :resume)" do
      client = stalled(WebSocketClient, "resume-2")
      flood("resume-2")
      expect_event(:close, client, code: 1013)
    end

    it "skips messages, and is told how many (slow: :drop)" do
      client = stalled(PushV1Client, "drop-1")
      flood("drop-1")
      eventually("messages to be skipped") do
        publish("drop-1", "end")
        client.connection.anything? && stat(:readers).positive? && app.ask("PushServer.stats[:channel_bytes]") < 1 << 20
      end
      seen, dropped = [], 0
      loop do
        block = client.read_event
        break if block.data == "end"

        block.event == "push.drop" ? dropped += JSON.parse(block.data)["count"] : seen << block.data.to_i
      end
      expect(seen).to eq([*0...seen.size])
      expect(dropped).to be_positive
      expect(stat(:drops)).to eq(dropped)
      publish("drop-1", "live")
      nil until client.read_event.data == "live"
    end

    it "skips to the newest message without being told (slow: :latest)" do
      client = stalled(SseClient, "latest-1")
      flood("latest-1")
      publish("latest-1", "newest")
      blocks = [client.read_event]
      blocks << client.read_event until blocks.last.data == "newest"
      expect(blocks.size).to be < 200
      expect(blocks.map(&:event).uniq).to eq(["msg"])
      numbers = blocks[..-2].map { |block| block.data.to_i }
      expect(numbers).to eq(numbers.sort)
    end

    it "skips to the newest message, not to a later notice of presence (slow: :latest)" do
      client = stalled(SseClient, "latest-room")
      flood("latest-room")
      publish("latest-room", "newest")
      ask(subscriber(SseClient, ""), "client.subscribe('latest-room', member: 'ana')")
      blocks = [client.read_event]
      blocks << client.read_event until blocks.last.event == "push.join"
      expect(blocks.size).to be < 200
      expect(blocks[-2].data).to eq("newest")
    end

    it "stays open while little waits for it" do
      client = stalled(SseClient, "resume-3")
      publish("resume-3", *Array.new(8) { "x" * 65_536 })
      # A client that has stalled later is slow by now.
      slow = stalled(SseClient, "resume-4")
      flood("resume-4")
      event(:close, slow)
      expect(ask(client, "client.open?")).to be(true)
      publish("resume-3", "end")
      8.times { client.read_event }
      expect(client.read_event.data).to eq("end")
    end
  end

  context "while the memory of channels is full" do
    # The first callback of clients of "held" waits.
    held = <<~'CONFIG'
      GATE = Queue.new
      Subscriber.prepend(Module.new { define_method(:on_open) { |client| super(client).tap { GATE.pop if client.env["PATH_INFO"] == "/held" } } })
    CONFIG
    serve config + held, "--threads", "2", "--slow-timeout", "3600", "--ping-interval", "3600", "--channel-memory", "4MiB"

    it "is closed at once, and the memory stays bounded" do
      client = stalled(WebSocketClient, "resume-1")
      before = stat(:overruns)
      sizes = Array.new(6) do
        flood("resume-1", mebibytes: 16)
        stat(:channel_bytes)
      end
      expect(sizes.max).to be <= 4 << 20
      # Even though its socket takes nothing.
      event(:close, client, code: 1013)
      expect(stat(:overruns)).to eq(before + 1)
      expect_served("resume-1")
    end

    [WebSocketClient, PushV1Client, SseClient].each do |kind|
      it "is closed at once, even while its first callback runs (#{kind})" do
        client = subscriber(kind, "held")
        flood("held")
        expect_eventually("the client to be closed") { !ask(client, "client.open?") }
        app.ask("GATE << :open; nil")
        expect_event(:close, client)
      end
    end

    it "does not keep others from new messages (slow: :drop)" do
      client = stalled(SseClient, "drop-1")
      flood("drop-1", mebibytes: 16)
      told = 0
      # The server may skip several times during the flood.
      until told == 256
        block = client.read_event
        told += block.event == "push.drop" ? JSON.parse(block.data)["count"] : 1
      end
      publish("drop-1", "new")
      expect(client.read_event.data).to eq("new")
      expect_served("drop-1")
    end
  end
end
