# frozen_string_literal: true

require "spec_helper"

# client.subscribe, but for resuming (resume_spec.rb).
RSpec.describe "A subscription" do
  include ChannelClients

  serve "require 'push_server'\nPushServer.channel 'kept*', history: true\n" + ChannelClients::APP, "--threads", "3",
        "--max-subscriptions", "4"

  let(:channel) { Serving.next_name }
  let(:client) { subscriber(WebSocketClient, "") }

  # Runs code in which REPORT stands for a callable that reports its calls.
  def calls(code, client = self.client)
    report = "->(channel, data) { SpecApp.report(:call, client, channel: channel, data: data, encoding: data.encoding.name) }"
    ask(client, code.sub("REPORT", report))
  end

  def take_call(client = self.client) = event(:call, client).slice(:channel, :data, :encoding).values

  describe "with a block or handler" do
    it "calls it with the channel and the data, and sends nothing" do
      calls("client.subscribe(#{channel.inspect}, &REPORT)")
      publish(channel, "ä")
      expect(take_call).to eq([channel, "ä", "UTF-8"])
      app.ask("PushServer.publish(#{channel.inspect}, 'b'.b)")
      expect(take_call).to eq([channel, "b", "ASCII-8BIT"])
      ask(client, "client.write('written')")
      expect(client.read_message).to eq("written")
    end

    it "accepts the keywords of Iodine" do
      calls("client.subscribe(to: '#{channel}.*', match: :redis, as: :binary, handler: REPORT)")
      publish("#{channel}.a", "1")
      expect(take_call).to eq(["#{channel}.a", "1", "ASCII-8BIT"])
      expect(calls("client.unsubscribe(to: '#{channel}.*', match: :redis)")).to be(true)
      publish("#{channel}.a", "2")
      calls("client.subscribe(#{channel.inspect}, &REPORT)")
      publish(channel, "3")
      expect(take_call).to eq([channel, "3", "UTF-8"])
    end

    it "calls it in order with the client's other callbacks" do
      ask(client, "client.subscribe(#{channel.inspect}) { |_, data| SpecApp.report(:call, client, data: data); client.close if data == '300' }")
      publish(channel, *"1".."300")
      expect(Array.new(300) { event(:call, client)[:data] }).to eq([*"1".."300"])
      client.read_close
      event(:close, client)
    end

    it "does not call it any more after it has closed the client" do
      cursor = publish("kept-#{channel}", "0")
      publish("kept-#{channel}", *"1".."50")
      ask(client, "client.subscribe('kept-#{channel}', since: #{cursor.inspect}) { |_, data| " \
                  "SpecApp.report(:call, client, data: data); client.close if data == '3' }")
      client.read_close
      event(:close, client)
      expect(app.events.all(event: "call", id: client.id).map { |call| call[:data] }).to eq(%w[1 2 3])
    end

    it "goes on after an exception in it, and can be ended by it" do
      ask(client, "client.subscribe(#{channel.inspect}) { |_, data| client.unsubscribe(#{channel.inspect}) if data == '3'; " \
                  "SpecApp.report(:call, client, data: data); raise 'oops' if data == '1' }")
      publish(channel, "1", "2", "3", "4", "5")
      expect(Array.new(3) { event(:call, client)[:data] }).to eq(%w[1 2 3])
      app.wait_for_line(/oops/)
      ask(client, "client.write('end')")
      expect(client.read_message).to eq("end")
      expect(app.events.all(event: "call", id: client.id).size).to eq(3)
    end

    it "replays old messages to it" do
      cursor = publish("kept-#{channel}", "1")
      publish("kept-#{channel}", "2")
      calls("client.subscribe('kept-#{channel}', since: #{cursor.inspect}, &REPORT)")
      expect(take_call).to eq(["kept-#{channel}", "2", "UTF-8"])
    end
  end

  it "sends text or binary messages, as as: says" do
    ask(client, "client.subscribe('#{channel}-b', as: :binary); client.subscribe('#{channel}-t', as: :text)")
    publish("#{channel}-b", "1", "x" * 70_000)
    app.ask("PushServer.publish('#{channel}-t', '3'.b); PushServer.publish('#{channel}-t', [255].pack('C'))")
    messages = Array.new(4) { client.read_message }
    expect(messages).to eq(["1", "x" * 70_000, "3", "\xFF".b])
    expect(messages.map(&:encoding)).to eq([Encoding::BINARY, Encoding::BINARY, Encoding::UTF_8, Encoding::BINARY])
  end

  it "can be to a pattern; a message that several match is sent once" do
    client = subscribed(SseClient, "#{channel}.a")
    expect(ask(client, "client.subscribe('#{channel}.[ab]', match: :redis)")).to be(true)
    publish("#{channel}.c", "c")
    publish("#{channel}.a", "a")
    publish("#{channel}.b", "b")
    publish("#{channel}.a", "a2")
    expect(read_data(client, 3)).to eq(%w[a b a2])
  end

  it "can be made after on_open, with one push.open" do
    client = subscriber(SseClient, "")
    ask(client, "client.subscribe('kept-#{channel}'); client.subscribe(#{channel.inspect})")
    expect(read_open(client)).to eq(recovered: nil, gap: [])
    publish(channel, "1")
    publish("kept-#{channel}", "2")
    expect(read_data(client, 2)).to eq(%w[1 2])
  end

  it "to the same channel twice brings each message once" do
    client = subscribed(SseClient, channel)
    expect(ask(client, "client.subscribe(#{channel.inspect})")).to be(true)
    publish(channel, "1", "2")
    expect(read_data(client, 2)).to eq(%w[1 2])
  end

  it "of a new client leaves recovered? nil" do
    client = subscriber(SseClient, channel)
    expect(ask(client, "[client.pubsub?, client.recovered?]")).to eq([true, nil])
  end

  it "with wrong arguments raises an error that says why" do
    expect { ask(client, "client.subscribe('')") }.to raise_in_app("ArgumentError", /must not be empty/)
    expect { ask(client, "client.subscribe(nil)") }.to raise_in_app("TypeError", /channel: must be a String/)
    expect { ask(client, "client.subscribe('x' * 256)") }.to raise_in_app("ArgumentError", /at most 255 bytes, not 256/)
    expect { ask(client, "client.subscribe('a', member: 'x' * 256)") }.to raise_in_app("ArgumentError", /a member's name has at most 255 bytes, not 256/)
    expect { ask(client, "client.subscribe('a', member: 'x', info: 'x' * 65_535)") }
      .to raise_in_app("ArgumentError", /the information about a member has at most 65536 bytes as JSON, not 65537/)
    expect { ask(client, "client.subscribe('a', match: :regexp)") }.to raise_in_app("ArgumentError", /match: can be :redis/)
    expect { ask(client, "client.subscribe('a*', match: :redis, member: 'ana')") }.to raise_in_app("ArgumentError", /member: is for a channel/)
    expect { ask(client, "client.subscribe(['a'])") }.to raise_in_app("TypeError", /channel: must be a String, not Array/)
    expect { ask(client, "client.subscribe('a', handler: 5)") }.to raise_in_app("ArgumentError", /no method call/)
    expect { ask(client, "5.times { |number| client.subscribe(number.to_s) }") }.to raise_in_app("PushServer::Error", /at most 4 channels/)
    expect { app.ask("PushServer.publish('a', \"\\xff\")") }.to raise_in_app("ArgumentError", /not valid UTF-8/)
    expect { app.ask("PushServer.publish('a', 'b', event: \"x\\ny\")") }.to raise_in_app("ArgumentError", /event: must not contain/)
    expect { app.ask("PushServer.publish('a', 'b', except: 5)") }.to raise_in_app("TypeError", /Client/)
    expect { app.ask("PushServer.channel('a', slow: :never)") }.to raise_in_app("ArgumentError", /slow: can be/)
    expect { app.ask("PushServer.channel('', history: 5)") }.to raise_in_app("ArgumentError", /must not be empty/)
    expect { app.ask("PushServer.history('a', limit: -1)") }.to raise_in_app("ArgumentError", /limit: must be 0 or more/)
    expect { app.ask("PushServer.history('a', limit: nil)") }.to raise_in_app("TypeError", /limit: must be a number/)
    expect { app.ask("PushServer.channel('a', ttl: 0)") }.to raise_in_app("ArgumentError", /ttl: must be more than 0/)
  end

  it "makes write with id: raise, because IDs are positions in the log" do
    client = subscriber(SseClient, channel)
    expect { ask(client, "client.write('a', id: '5')") }.to raise_in_app("ArgumentError", /id:/)
  end

  it "returns false for a client that has disconnected" do
    client.close
    event(:close, client)
    expect(ask(client, "[client.subscribe('a'), client.unsubscribe('a'), client.recovered?]")).to eq([false, false, nil])
  end
end
