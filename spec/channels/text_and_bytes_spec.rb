# frozen_string_literal: true

require "spec_helper"

# What each kind of client gets for a String that is written or published: the table "Text and bytes" of docs/push.md.
RSpec.describe "A String" do
  include ChannelClients

  config = "require 'push_server'\nPushServer.channel '*', history: true\n" +
           ChannelClients::APP + <<~CONFIG
             Subscriber.prepend(Module.new do
               def on_message(client, data)
                 PushServer.publish(client.env["PATH_INFO"].delete_prefix("/"), data)
                 super
               end
             end)
           CONFIG

  serve config, "--threads", "2"

  let(:channel) { Serving.next_name }

  # Strings as Ruby code; what a WebSocket gets; and what an event stream gets.
  strings = {
    "UTF-8" => ["'ä'", [:text, "ä"], ["msg", "ä"]],
    "US-ASCII" => ["'a'.encode('US-ASCII')", [:text, "a"], %w[msg a]],
    "ASCII-8BIT that is valid UTF-8" => ["'ä'.b", [:binary, "ä".b], ["msg", "ä"]],
    "ASCII-8BIT that is not valid UTF-8" => ["[0, 255].pack('C*')", [:binary, "\x00\xFF".b], ["push.binary", "AP8="]]
  }
  refused = { "UTF-8 that is not valid" => '"\\xff"', "UTF-16" => "'a'.encode('UTF-16LE')" }
  streams = { "SSE" => SseClient, "push.v1" => PushV1Client, "polls" => PollClient }

  def subscribed(kind) = super(kind, channel)

  def read_one(client)
    case client
    when PollClient then client.poll.events.first.to_h.values_at(:event, :data)
    when PushV1Client, SseClient then client.read_event.to_h.values_at(:event, :data)
    else
      frame = client.read_frame
      [frame.opcode, frame.opcode == :text ? frame.payload.dup.force_encoding(Encoding::UTF_8) : frame.payload]
    end
  end

  def refusal = raise_in_app("ArgumentError")

  strings.each do |name, (code, message, event)|
    { "WebSocket" => WebSocketClient, **streams }.each do |form, kind|
      expected = kind == WebSocketClient ? message : event

      it "that is published in #{name} is #{expected.inspect} over #{form}, live and replayed" do
        client = subscribed(kind)
        before = app.ask("PushServer.cursor")
        app.ask("PushServer.publish(#{channel.inspect}, #{code})")
        expect(read_one(client)).to eq(expected)
        expect(app.ask("PushServer.history(#{channel.inspect}).map { |it| it.data == #{code} && it.data.encoding.name }"))
          .to eq([name[/\A(UTF-8|ASCII-8BIT)/] || "UTF-8"])
        next if kind == PollClient

        back = unopened(kind, channel, since: before)
        read_open(back) unless kind == WebSocketClient
        expect(read_one(back)).to eq(expected)
      end

      it "that is written in #{name} is the same over #{form}, or is refused" do
        client = subscribed(kind)
        if event.first == "push.binary" && [SseClient, PollClient].include?(kind)
          expect { ask(client, "client.write(#{code})") }.to refusal
        else
          ask(client, "client.write(#{code})")
          expect(read_one(client)).to eq(expected)
        end
      end
    end
  end

  refused.each do |name, code|
    it "in #{name} is refused when it is written or published" do
      [WebSocketClient, *streams.values].each { |kind| expect { ask(subscribed(kind), "client.write(#{code})") }.to refusal }
      expect { app.ask("PushServer.publish(#{channel.inspect}, #{code})") }.to refusal
    end
  end

  { "text" => [:text, "ä", :text, %w[msg ä]], "binary, and valid UTF-8" => [:binary, "ä", :binary, %w[msg ä]],
    "binary, and not" => [:binary, "\xFF\xFE", :binary, ["push.binary", "//4="]] }.each do |name, (sent, bytes, opcode, event)|
    it "from a client that on_message publishes stays text or binary: #{name}" do
      readers = [WebSocketClient, *streams.values].map { |kind| subscribed(kind) }
      sender = readers.first
      sender.send_frame(sent, bytes.b)
      expect(readers.map { |reader| read_one(reader) })
        .to eq([[opcode, opcode == :text ? bytes : bytes.b], event, event, event])
    end
  end

  it "is text or binary as publish's as: says" do
    raw, sse, push = subscribed(WebSocketClient), subscribed(SseClient), subscribed(PushV1Client)
    app.ask("PushServer.publish(#{channel.inspect}, 'ä'.b, as: :text); PushServer.publish(#{channel.inspect}, 'ä', as: :binary)")
    expect(Array.new(2) { read_one(raw) }).to eq([[:text, "ä"], [:binary, "ä".b]])
    [sse, push].each { |client| expect(Array.new(2) { read_one(client) }).to eq([%w[msg ä], ["push.binary", "w6Q="]]) }
    expect { app.ask("PushServer.publish(#{channel.inspect}, [255].pack('C'), as: :text)") }.to refusal
    expect { app.ask("PushServer.publish(#{channel.inspect}, 'a'.encode('UTF-16LE'), as: :text)") }.to refusal
    expect { app.ask("PushServer.publish(#{channel.inspect}, 'a', as: :json)") }.to refusal
  end

  it "is sent in the frames that subscribe's as: asks for" do
    client = subscribed(WebSocketClient)
    ask(client, "client.unsubscribe(#{channel.inspect}); client.subscribe(#{channel.inspect}, as: :text)")
    app.ask("PushServer.publish(#{channel.inspect}, 'ä'.b); PushServer.publish(#{channel.inspect}, [255].pack('C'))")
    expect(Array.new(2) { read_one(client) }).to eq([[:text, "ä"], [:binary, "\xFF".b]])
  end

  it "is the same name of a channel, event or member in either encoding" do
    client = subscriber(SseClient, "")
    ask(client, "client.subscribe('raum-ä#{channel}'.b)")
    read_open(client)
    app.ask("PushServer.publish('raum-ä#{channel}', 'x', event: 'gesagt-ä'.b); PushServer.publish('raum-ä#{channel}'.b, 'y', event: 'ä')")
    expect(Array.new(2) { read_one(client) }).to eq([%w[gesagt-ä x], %w[ä y]])
    expect(app.ask("[PushServer.history('raum-ä#{channel}'.b).size, PushServer.channels.count('raum-ä#{channel}')]")).to eq([2, 1])
    app.ask("PushServer.channel('saal*', presence: true)")
    ask(client, "client.subscribe('saal-#{channel}', member: 'Björn'.b)")
    expect(app.ask("PushServer.present('saal-#{channel}').keys")).to eq(["Björn"])
    expect(app.ask("PushServer.disconnect(member: 'Björn')")).to eq(1)
  end
end
