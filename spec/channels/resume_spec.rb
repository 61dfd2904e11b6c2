# frozen_string_literal: true

require "spec_helper"

# A client that reconnects gets exactly what it has missed, or is told that there is a gap.
RSpec.describe "Resuming a channel" do
  include ChannelClients

  config = "require 'push_server'\nPushServer.channel 'kept*', history: 100\nPushServer.channel 'short*', history: 3\n" +
           ChannelClients::APP

  serve config, "--threads", "2"

  ChannelClients::KINDS.each do |name, kind|
    context "over #{name}" do
      let(:channel) { "kept-#{Serving.next_name}" }
      let(:short) { "short-#{Serving.next_name}" }

      it "brings exactly what was missed, then new messages" do
        client = subscriber(kind, channel)
        expect(read_open(client)).to eq(recovered: nil, gap: [])
        publish(channel, *"1".."5")
        seen = Array.new(5) { client.read_event }
        expect(seen.map(&:data)).to eq(%w[1 2 3 4 5])
        client.reset
        event(:close, client)
        publish(channel, *"6".."9")

        client = subscriber(kind, channel, since: seen.last.id)
        expect(read_open(client)).to eq(recovered: true, gap: [])
        expect(ask(client, "client.recovered?")).to be(true)
        missed = Array.new(4) { client.read_event }
        expect(missed.map(&:data)).to eq(%w[6 7 8 9])
        expect(missed.map { |block| Integer(block.id[/\d+\z/]) }).to eq((1..4).map { |more| Integer(seen.last.id[/\d+\z/]) + more })
        publish(channel, "10")
        expect(client.read_event.data).to eq("10")
      end

      it "announces a gap, calls on_gap and brings no old message when some are lost" do
        cursor = publish(short, "0")
        publish(short, *"1".."5")
        client = subscriber(kind, "#{short},#{channel}", since: cursor)
        expect(read_open(client)).to eq(recovered: false, gap: [short])
        expect(ask(client, "client.recovered?")).to be(false)
        event(:gap, client, channel: short)
        publish(short, "6")
        expect(client.read_event.data).to eq("6")
        expect(app.events.all(event: "gap", id: client.id).size).to eq(1)
      end

      it "announces a gap once, also to a client that reconnects before the next message" do
        cursor = publish(short, "0")
        publish(short, *"1".."5")
        client = subscriber(kind, short, since: cursor)
        opening = client.read_event
        expect(JSON.parse(opening.data)).to eq("recovered" => false, "gap" => [short])
        client = subscriber(kind, short, since: opening.id)
        expect(read_open(client)).to eq(recovered: true, gap: [])
        publish(short, "6")
        expect(client.read_event.data).to eq("6")
      end

      it "is complete if the history has exactly what was missed" do
        cursor = publish(short, "0")
        publish(short, *"1".."3")
        client = subscriber(kind, short, since: cursor)
        expect(read_open(client)).to eq(recovered: true, gap: [])
        expect(read_data(client, 3)).to eq(%w[1 2 3])
      end

      it "announces a gap for an ID of another log, one that is ahead, or an invalid one" do
        current = publish(channel, "1")
        epoch, seq = current.split("-")
        ["123-#{seq}", "#{epoch}-#{Integer(seq) + 1_000_000}", "nonsense", "\u00e4-1", "#{epoch}-", "-1"].each do |cursor|
          client = subscriber(kind, channel, since: cursor)
          expect(read_open(client)).to eq({ recovered: false, gap: [channel] }), cursor
          event(:gap, client, channel: channel)
          client.close
        end
      end

      it "does not bring what was published with except: this client, and does not count it as missed" do
        client = subscribed(kind, "#{channel},#{short}")
        ask(client, "[*1..5].each { |number| client.publish(#{short.inspect}, number, except: client) }")
        cursor = ask(client, "client.publish(#{channel.inspect}, 'own', except: client)")
        blocks = Array.new(6) { kind == SseClient ? client.read_block : client.read_event }
        expect(blocks.map(&:data).compact).to eq([])
        expect(blocks.last.id).to eq(cursor)
        client.reset
        event(:close, client)
        client = subscriber(kind, "#{channel},#{short}", since: cursor)
        expect(read_open(client)).to eq(recovered: true, gap: [])
        publish(channel, "next")
        expect(client.read_event.data).to eq("next")
      end

      it "brings what was missed in several channels in the order of publication" do
        other, cursor = "kept-#{Serving.next_name}", publish(channel, "0")
        (1..6).each { |number| publish(number.even? ? channel : other, number.to_s) }
        client = subscriber(kind, "#{channel},#{other}", since: cursor)
        expect(read_open(client)[:recovered]).to be(true)
        blocks = Array.new(6) { client.read_event }
        expect(blocks.map(&:data)).to eq(%w[1 2 3 4 5 6])
        numbers = blocks.map { |block| Integer(block.id[/\d+\z/]) }
        expect(numbers).to eq(numbers.sort)
      end

      it "can begin at an ID in the query: ?last_event_id=" do
        cursor = app.ask("PushServer.cursor")
        publish(channel, "A", "B")
        client = subscriber(kind, channel, query: "last_event_id=#{cursor}")
        expect(read_open(client)).to eq(recovered: true, gap: [])
        expect(read_data(client, 2)).to eq(%w[A B])
      end

      it "prefers the Last-Event-ID header to the query, which a browser repeats" do
        old = publish(channel, "A")
        new = publish(channel, "B")
        publish(channel, "C")
        client = subscriber(kind, channel, since: new, query: "last_event_id=#{old}")
        expect(ask(client, "client.last_event_id")).to eq(new)
        read_open(client)
        expect(client.read_event.data).to eq("C")
      end

      it "is possible in a later subscription with since:, whose old messages have no ID" do
        cursor = publish(channel, "1")
        publish(channel, "2", "3")
        client = subscribed(kind, short)
        position = publish(short, "here")
        expect(client.read_event.id).to eq(position)
        expect(ask(client, "client.subscribe(#{channel.inspect}, since: #{cursor.inspect})")).to be(true)
        old = Array.new(2) { client.read_event }
        expect(old.map(&:data)).to eq(%w[2 3])
        expect(old.map(&:id)).to eq([nil, nil])
        expect(publish(channel, "4")).to eq(client.read_event.id)
      end

      it "brings all since: in a later subscription, even what a pattern has already brought" do
        client = subscribed(kind, short)
        expect(ask(client, "client.subscribe(to: '#{channel[..-2]}?', match: :redis)")).to be(true)
        cursor = publish(channel, "1")
        expect(client.read_event.id).to eq(cursor)
        before = cursor.sub(/\d+\z/) { |seq| (Integer(seq) - 1).to_s }
        expect(ask(client, "client.subscribe(#{channel.inspect}, since: #{before.inspect})")).to be(true)
        expect(client.read_event).to have_attributes(data: "1", id: nil)
      end
    end
  end

  it "announces a gap after the server was restarted" do
    cursor = publish("kept-restart", "1")
    other = start_app(config)
    client = closing(SseClient.new(other.address, "/kept-restart?x", id: "x", headers: { "last-event-id" => cursor }))
    expect(read_open(client)).to eq(recovered: false, gap: ["kept-restart"])
    other.events.take(event: "gap", id: "x", channel: "kept-restart")
    client.close
    expect(other.stop).to be_success
  end

  it "brings messages without IDs and push.open over a plain WebSocket" do
    channel = "kept-#{Serving.next_name}"
    cursor = publish(channel, "1")
    publish(channel, "2", "3")
    client = unopened(WebSocketClient, channel, query: "last_event_id=#{cursor}")
    expect(Array.new(2) { client.read_message }).to eq(%w[2 3])
    client = unopened(WebSocketClient, channel, query: "last_event_id=nonsense")
    event(:gap, client, channel: channel)
  end

  it "has a counterpart for pages: PushServer.history returns what is kept" do
    channel = "short-#{Serving.next_name}"
    first = publish(channel, "0")
    publish(channel, "1", { a: 1 }, "3", event: "said")
    publish(channel, "not kept", store: false)
    data = ->(call) { app.ask("#{call}.map { |it| [it.event, it.data] }") }
    expect(data["PushServer.history(#{channel.inspect})"]).to eq([%w[said 1], ["said", '{"a":1}'], %w[said 3]])
    expect(data["PushServer.history(#{channel.inspect}, limit: 1)"]).to eq([%w[said 3]])
    expect(data["PushServer.history(#{channel.inspect}, since: #{first.inspect}, limit: 1)"]).to eq([%w[said 1]])
    expect(app.ask("PushServer.history(#{channel.inspect}).last.id")).to match(/\A\h+-\d+\z/)
  end

  it "has a counterpart for pages: PushServer.history(since:) tells whether it is complete" do
    channel = "short-#{Serving.next_name}"
    first, second = Array.new(2) { |number| publish(channel, number.to_s) }
    publish(channel, "2", "3", "4")
    history = lambda do |since|
      app.ask("history = PushServer.history(#{channel.inspect}, since: #{since.inspect}); [history.complete?, history.map(&:data)]")
    end
    expect(history[nil]).to eq([true, %w[2 3 4]])
    expect(history[second]).to eq([true, %w[2 3 4]])
    [first, "nonsense", second.sub(/\d+\z/) { |seq| (seq.to_i + 1000).to_s }].each do |since|
      expect(history[since]).to eq([false, %w[2 3 4]])
    end
  end
end
