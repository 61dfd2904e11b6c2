# frozen_string_literal: true

require "spec_helper"

# What subscribers get of what is published.
RSpec.describe "A published message" do
  include ChannelClients

  serve ChannelClients::APP, "--threads", "2"

  let(:channel) { Serving.next_name }

  def subscribed(kind) = super(kind, channel)

  describe "for a subscriber" do
    it "is an event with an ID over SSE" do
      client = subscribed(SseClient)
      cursor = publish(channel, "a\nb")
      expect(client.read_event.lines).to eq(["id: #{cursor}", "event: msg", "data: a", "data: b"])
    end

    it "is the same in a text message over push.v1" do
      client = subscribed(PushV1Client)
      cursor = publish(channel, "a\nb")
      expect(client.read_frame.to_h).to include(opcode: :text, fin: true, payload: "id: #{cursor}\nevent: msg\ndata: a\ndata: b\n\n")
    end

    it "is the data alone over another WebSocket" do
      client = subscribed(WebSocketClient)
      publish(channel, "a\nb")
      expect(client.read_frame.to_h).to include(opcode: :text, payload: "a\nb")
    end

    it "has the event's name, or none" do
      client = subscribed(SseClient)
      publish(channel, "1", event: "said")
      publish(channel, "2", event: nil)
      expect(Array.new(2) { client.read_event.event }).to eq(["said", nil])
    end

    it "is JSON unless it is a String" do
      client = subscribed(WebSocketClient)
      publish(channel, { "a" => [1, nil] }, 5)
      expect(Array.new(2) { client.read_message }).to eq(['{"a":[1,null]}', "5"])
    end

    it "that is binary is a binary message or a push.binary event in base64" do
      raw, sse, push = subscribed(WebSocketClient), subscribed(SseClient), subscribed(PushV1Client)
      app.ask("PushServer.publish(#{channel.inspect}, [0, 255, 10].pack('C*'))")
      expect(raw.read_frame.to_h).to include(opcode: :binary, payload: "\x00\xFF\n".b)
      [sse, push].each do |client|
        expect(client.read_event.to_h).to include(event: "push.binary", data: "AP8K")
      end
    end

    it "is complete at any size" do
      clients = [SseClient, PushV1Client, WebSocketClient].map { |kind| subscribed(kind) }
      app.ask("PushServer.publish(#{channel.inspect}, 'x' * 300_000)")
      sizes = clients.map { |client| client.is_a?(WebSocketClient) && !client.is_a?(PushV1Client) ? client.read_message.size : client.read_event.data.size }
      expect(sizes).to eq([300_000] * 3)
    end

    it "arrives if it was published before the client was closed" do
      clients = [subscribed(SseClient), subscribed(WebSocketClient)]
      app.ask("PushServer.publish(#{channel.inspect}, 'bye'); SpecApp.clients.each(&:close); nil")
      expect(clients.first.read_event.data).to eq("bye")
      expect(clients.last.read_message).to eq("bye")
      expect(clients.last.read_close).to eq([1000, ""])
      expect(clients.first.ending).to eq(:fin)
    end

    it "does not go to the client that except: names" do
      clients = Array.new(2) { subscribed(SseClient) }
      ask(clients.first, "PushServer.publish(#{channel.inspect}, '1', except: client)")
      ask(clients.first, "client.publish(#{channel.inspect}, '2')")
      expect(read_data(clients.last, 2)).to eq(%w[1 2])
      expect(clients.first.read_event.data).to eq("2")
    end

    it "does not arrive after unsubscribe" do
      client = subscribed(SseClient)
      expect(ask(client, "[client.unsubscribe(#{channel.inspect}), client.unsubscribe(#{channel.inspect})]")).to eq([true, false])
      publish(channel, "1")
      ask(client, "client.write('written')")
      expect(client.read_event.data).to eq("written")
    end
  end

  it "comes in order with other messages and writes, and is not counted as pending" do
    client = subscribed(SseClient)
    ask(client, "client.write('w1')")
    expect(client.read_event.data).to eq("w1")
    event(:drained, client)
    publish(channel, *"1".."50")
    expect(read_data(client, 50)).to eq([*"1".."50"])
    expect(ask(client, "client.pending")).to eq(0)
    expect(story(client)).to eq(%i[open drained])
  end

  it "has the form that a write has over push.v1, too" do
    client = subscribed(PushV1Client)
    expect(client.response["sec-websocket-protocol"]).to eq("push.v1")
    ask(client, "client.write('a', event: 'tick'); client.write([255].pack('C'))")
    expect(client.read_message).to eq("event: tick\ndata: a\n\n")
    expect(client.read_message).to eq("event: push.binary\ndata: /w==\n\n")
  end

  it "is delivered without a call of Ruby" do
    clients = Array.new(10) { subscribed(SseClient) } + Array.new(10) { subscribed(WebSocketClient) }
    jobs = -> { app.ask("PushServer.stats.values_at(:jobs, :delivered)") }
    before = jobs.call
    publish(channel, *"1".."200")
    clients.first(10).each { |client| expect(read_data(client, 200)).to eq([*"1".."200"]) }
    clients.last(10).each { |client| expect(Array.new(200) { client.read_message }).to eq([*"1".."200"]) }
    after = jobs.call
    expect(after.zip(before).map { |now, then_| now - then_ }).to eq([0, 4000])
    expect(clients.flat_map { |client| story(client) }.uniq).to eq([:open])
  end

  it "reaches 200 readers in a burst of 10,000 messages" do
    clients = Array.new(200) { subscribed(SseClient) }
    readers = clients.map do |client|
      Thread.new { client.connection.read_until("data: 10000\n\n", seconds: 60).scan(/^data: (\d+)$/).flatten }
    end
    app.ask("1.upto(10_000) { |number| PushServer.publish(#{channel.inspect}, number.to_s) }; nil", seconds: 60)
    expected = (1..10_000).map(&:to_s)
    expect(readers.map { |reader| reader.value == expected }).to all(be(true))
    stats = app.ask("PushServer.stats")
    expect(stats.slice(:slow_clients, :overruns)).to eq(slow_clients: 0, overruns: 0)
  end

  it "does not keep its channel when no client uses it" do
    app.ask("100_000.times { |number| PushServer.publish(\"once-\#{number}\", 'x') }; nil", seconds: 60)
    channels = eventually("the channels to be forgotten") do
      names = app.ask("PushServer.channels")
      names if names.none? { |name| name.start_with?("once") }
    end
    expect(channels.grep(/once/)).to eq([])
    subscribed(SseClient)
    expect(app.ask("PushServer.channels")).to include(channel)
  end
end
