# frozen_string_literal: true

require "spec_helper"

# All subscriptions in on_open are resumed together.
RSpec.describe "Subscriptions made in on_open" do
  include ChannelClients

  # The path lists the steps of on_open: subscribe to a channel (to), unsubscribe (leave), subscribe as a member (as), or
  # replace the handler (swap), whose on_open does the rest.
  serve <<~'CONFIG'
    require "spec_app"

    PushServer.channel "kept*", history: 100
    PushServer.channel "short*", history: 3
    PushServer.channel "room*", presence: true

    class Steps < SpecApp::Recorder
      def initialize(steps)
        @steps = steps
        super()
      end

      def on_open(client)
        while (step = @steps.shift)
          action, channel = step.split(":", 2)
          case action
          when "to" then client.subscribe(channel)
          when "leave" then client.unsubscribe(channel)
          when "as" then client.subscribe(channel, member: "ana")
          when "swap" then return client.handler = Steps.new(@steps)
          end
        end
        super
      end
    end

    run(lambda do |env|
      env["rack.upgrade"] = Steps.new(env["PATH_INFO"].delete_prefix("/").split(",")) if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  let(:name) { Serving.next_name }

  ChannelClients::KINDS.each do |transport, kind|
    context "over #{transport}" do
      it "are replayed together, also by several handlers" do
        kept, other, short = "kept-#{name}", "kept-#{name}-too", "short-#{name}"
        cursor = publish(kept, "0")
        publish(short, *"a".."e")
        (1..6).each { |number| publish(number.even? ? kept : other, number.to_s) }
        client = subscriber(kind, "to:#{kept},swap,to:#{other},swap,to:#{short}", since: cursor)
        expect(read_open(client)).to eq(recovered: false, gap: [short])
        blocks = Array.new(6) { client.read_event }
        expect(blocks.map(&:data)).to eq(%w[1 2 3 4 5 6])
        numbers = blocks.map { |block| Integer(block.id.to_s[/\d+\z/]) }
        expect(numbers).to eq(numbers.sort)
      end

      it "send push.open with the first subscription that is not ended at once" do
        client = subscriber(kind, "to:#{name},leave:#{name}")
        ask(client, "client.subscribe('kept-#{name}')")
        expect(read_open(client)).to eq(recovered: nil, gap: [])
        publish("kept-#{name}", "1")
        expect(client.read_event.data).to eq("1")
      end

      it "tell the members of each room once, and not those of a room that was left" do
        client = subscribed(kind, "as:room-#{name}-left,leave:room-#{name}-left,#{"as:room-#{name}," * 3}")
        publish("room-#{name}", "next")
        notice, message = client.read_event, client.read_event
        expect([notice.event, JSON.parse(notice.data)]).to eq(["push.here", { "channel" => "room-#{name}", "members" => { "ana" => nil } }])
        expect(message.data).to eq("next")
      end
    end
  end
end
