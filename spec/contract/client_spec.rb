# frozen_string_literal: true

require "spec_helper"

# What the client object tells the app, and its settings.
RSpec.describe "A client" do
  include ClientCalls

  context "of a WebSocket" do
    serve ClientCalls::CONFIG, "--close-timeout", "0.3"

    describe "#open?" do
      it "is true from on_open until close is called" do
        client = opened(websocket)
        expect(ask(client, "[client.open?, (client.close; client.open?)]")).to eq([true, false])
      end

      it "is false after the client has disconnected" do
        client = opened(websocket)
        client.reset
        expect(event(:closing, client)).to include(open: false)
        expect(ask(client, "client.open?")).to be(false)
      end
    end

    describe "#close_code and #close_reason" do
      it "are nil while the connection is open" do
        expect(ask(opened(websocket), "[client.close_code, client.close_reason]")).to eq([nil, nil])
      end

      it "are what the client sent, also after on_close" do
        client = opened(websocket)
        client.finish(4321, "gründlich")
        event(:closing, client, code: 4321, reason: "gründlich")
        expect(ask(client, "[client.close_code, client.close_reason, client.close_reason.encoding.to_s]"))
          .to eq([4321, "gründlich", "UTF-8"])
      end
    end

    it "is made by the server alone, and its methods take no other object" do
      client = opened(websocket)
      attempts = ["PushServer::Client.allocate", "Class.new(PushServer::Client).allocate", "client.dup", "client.clone",
                  "PushServer::Client.instance_method(:write).bind_call(Object.new, 'a')",
                  "PushServer::Client.instance_method(:write).bind_call(PushServer::Client, 'a')"]
      attempts.each { |code| expect { ask(client, code) }.to raise_in_app("TypeError") }
    end

    it "has the protocol :websocket" do
      expect(ask(opened(websocket), "client.protocol.inspect")).to eq(":websocket")
    end

    it "has the handler that the app gave it" do
      expect(ask(opened(websocket), "client.handler.class.name")).to eq("SpecApp::Recorder")
    end

    it "has no last event ID" do
      expect(ask(opened(websocket), "client.last_event_id")).to be_nil
    end

    it "can subscribe to channels: pubsub? is true" do
      expect(ask(opened(websocket), "client.pubsub?")).to be(true)
    end

    it "keeps the env of its request until on_close has returned" do
      client = opened(websocket("/some/path", headers: { "x-header" => "value" }))
      names = %w[REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING HTTP_X_HEADER HTTP_HOST]
      expect(ask(client, "client.env.values_at(*#{names})"))
        .to eq(["GET", "", "/some/path", client.id, "value", "localhost"])
      client.finish
      event(:closing, client, path: "/some/path", header: "value")
    end

    it "stores values for the app, separately from other clients" do
      one = opened(websocket)
      two = opened(websocket)
      ask(one, 'client[:name] = "one"; client["name"] = "as a String"; nil')
      ask(two, 'client[:name] = "two"; nil')
      expect(ask(one, 'client[:name], client["name"], client[:unset] = client[:name], client["name"], nil'))
        .to eq(["one", "as a String", nil])
      expect(ask(two, 'GC.start; [client[:name], client["name"]]')).to eq(["two", nil])
    end

    it "shows its protocol, remote address and state in a short inspect" do
      client = opened(websocket)
      port = client.connection.socket.local_address.ip_port
      text = ask(client, "client.inspect")
      expect(text).to match(/websocket/i).and include("127.0.0.1:#{port}").and match(/open/)
      expect(text.length).to be < 120
      client.finish
      event(:closing, client)
      expect(ask(client, "client.inspect")).to match(/closed/)
    end
  end

  context "of an event stream" do
    serve ClientCalls::CONFIG

    it "has the protocol :sse" do
      expect(ask(opened(sse), "client.protocol.inspect")).to eq(":sse")
    end

    it "has the last event ID that the request sent" do
      expect(ask(opened(sse("/", headers: { "last-event-id" => "41-a" })), "client.last_event_id")).to eq("41-a")
      expect(ask(opened(sse), "client.last_event_id")).to be_nil
    end

    it "shows its protocol, remote address and state in a short inspect" do
      client = opened(sse)
      port = client.connection.socket.local_address.ip_port
      expect(ask(client, "client.inspect")).to match(/sse/i).and include("127.0.0.1:#{port}").and match(/open/)
    end
  end

  describe "#timeout" do
    serve ClientCalls::CONFIG, "--ping-interval", "0.1", "--sse-heartbeat", "0.1"

    it "is the server's interval by default" do
      expect(ask(opened(websocket), "client.timeout")).to eq(0.1)
      expect(ask(opened(sse), "client.timeout")).to eq(0.1)
    end

    it "can be set to whole and fractional seconds, or to nil" do
      [opened(websocket), opened(sse)].each do |client|
        [40, 0.5, nil].each do |seconds|
          expect(ask(client, "client.timeout = #{seconds.inspect}; client.timeout")).to eq(seconds)
        end
      end
    end

    it "stops the pings and heartbeats of this client alone when it is set to nil" do
      silent = [opened(websocket), opened(sse)]
      silent.each { |client| ask(client, "client.timeout = nil; nil") }
      # Pings may have been sent before. A message marks their end.
      silent.each { |client| ask(client, 'client.write("silence")') }
      silent.first.read_message
      silent.last.read_event
      loud = opened(websocket)
      5.times { loud.pong(loud.read_until_frame(:ping).payload) }
      expect(silent.map { |client| client.connection.anything? }).to eq([false, false])
    end
  end
end
