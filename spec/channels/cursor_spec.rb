# frozen_string_literal: true

require "spec_helper"
require "push_server"
require "erb"
require "uri"

RSpec.describe PushServer::Cursor do
  # The process of the specs has no server.
  around do |example|
    ENV["PUSH_SERVER_HUB"] = "self"
    example.run
  ensure
    ENV.delete("PUSH_SERVER_HUB")
  end

  subject(:cursor) { PushServer.publish("cursor_spec", "1") }

  let(:text) { cursor.to_s }

  it "is what publish and cursor return, as text" do
    expect([cursor, PushServer.cursor]).to all(be_a(described_class).and(be_frozen))
    expect(text).to match(/\A\h+-\d+\z/)
    expect(PushServer.cursor.to_s).to eq(text)
    expect(cursor.inspect).to eq("#<PushServer::Cursor #{text}>")
  end

  it "goes into pages, URLs, JSON and other Strings" do
    expect("#{cursor}!").to eq("#{text}!")
    expect("a" + cursor).to eq("a#{text}")
    expect(ERB::Util.h(cursor)).to eq(text)
    expect(URI.encode_www_form(last_event_id: cursor)).to eq("last_event_id=#{text}")
    expect(JSON.generate("id" => cursor)).to eq(%({"id":"#{text}"}))
    expect([cursor.to_json, cursor.as_json(only: :id)]).to eq([%("#{text}"), text])
  end

  it "is the same as its text and as another cursor of the same place" do
    same = Marshal.load(Marshal.dump(cursor))
    expect([same, text]).to all(eq(cursor))
    expect(text).to eq(cursor)
    expect({ cursor => 1 }[same]).to eq(1)
    expect([cursor.eql?(same), cursor.eql?(text), cursor == PushServer.publish("cursor_spec", "2")]).to eq([true, false, false])
    expect([cursor == nil, cursor == 7]).to eq([false, false]) # rubocop:disable Style/NilComparison
  end

  it "can be shared with other Ractors" do
    expect(Ractor.shareable?(cursor)).to be(true)
  end

  it "is taken where a cursor is wanted" do
    PushServer.channel "cursor_spec", history: 10
    start = PushServer.cursor
    PushServer.publish("cursor_spec", "next")
    [start, start.to_s].each do |since|
      past = PushServer.history("cursor_spec", since: since)
      expect([past.map(&:data), past.complete?]).to eq([["next"], true])
    end
    expect(PushServer.history("cursor_spec", since: start).first.id).to eq(PushServer.cursor)
  end

  it "can neither be made nor read from anything else" do
    expect { described_class.new }.to raise_error(NoMethodError)
    expect { described_class.allocate }.to raise_error(TypeError)
    expect { PushServer.history("cursor_spec", since: Object.new) }.to raise_error(TypeError, /since: must be a String or nil/)
    expect { described_class._load("7") }.to raise_error(ArgumentError, "not a cursor")
  end

  describe "from a client" do
    include ChannelClients

    serve <<~RUBY
      class Handler
        def on_open(client)
          client.subscribe "c"
          cursor = client.publish("c", "hi")
          client.write({ cursor: cursor, class: cursor.class.name }.to_json)
        end
      end
      run ->(env) { env["rack.upgrade"] = Handler.new; [200, {}, []] }
    RUBY

    it "is the id of the message" do
      client = closing(PushV1Client.new(app.address, "/"))
      events = Array.new(3) { client.read_event }
      written = JSON.parse(events.find { |event| event.id.nil? && event.data.start_with?("{") }.data)
      expect(written).to eq("cursor" => events.find { |event| event.data == "hi" }.id, "class" => "PushServer::Cursor")
    end
  end
end
