# frozen_string_literal: true

require "spec_helper"

# client.close: the codes it takes, and what is still sent.
RSpec.describe "A client" do
  include ClientCalls

  context "of a WebSocket" do
    serve ClientCalls::CONFIG, "--close-timeout", "2"

    describe "#close" do
      it "sends 1000 and no reason by default, and returns nil" do
        client = opened(websocket)
        expect(ask(client, "client.close.inspect")).to eq("nil")
        expect(client.read_close).to eq([1000, ""])
        client.send_close(1000)
        expect(client.ending).to eq(:fin)
        event(:closing, client, code: 1000, reason: "")
      end

      [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999].each do |code|
        it "sends code #{code} and the reason" do
          client = opened(websocket)
          ask(client, "client.close(#{code}, 'because é')")
          expect(client.finish(code)).to eq([code, "because é"])
          event(:close, client, code: code, reason: "because é")
        end
      end

      [-1, 0, 1, 999, 1002, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_536, 2**64].each do |code|
        it "raises ArgumentError for code #{code}" do
          client = opened(websocket)
          expect { ask(client, "client.close(#{code})") }.to raise_in_app("ArgumentError")
          expect(ask(client, "client.open?")).to be(true)
        end
      end

      it "takes a reason of 123 bytes, and raises ArgumentError for a longer one or one that is not UTF-8" do
        client = opened(websocket)
        ['"x" * 124', '"é" * 62', '"\xff"', '"\xff".b', '"é".encode("ISO-8859-1")'].each do |reason|
          expect { ask(client, "client.close(1000, #{reason})") }.to raise_in_app("ArgumentError")
        end
        ask(client, 'client.close(1000, "x" + "é" * 61)')
        expect(client.read_close).to eq([1000, "x#{"é" * 61}"])
      end

      it "sends what is queued before the Close frame" do
        client = unread(:websocket)
        fill(client, messages: 100)
        ask(client, "client.close(4000, 'done')")
        expect(Array.new(100) { client.read_message.strip }).to eq((0..99).map(&:to_s))
        expect(client.read_close).to eq([4000, "done"])
      end

      it "has no effect when it is called again, from any thread" do
        client = opened(websocket)
        ask(client, "client.close(4000, 'first')")
        ask(client, "10.times.map { Thread.new { client.close(4001, 'second') } }.each(&:join); nil")
        expect(client.finish(4000)).to eq([4000, "first"])
        event(:close, client, code: 4000, reason: "first")
        expect(ask(client, "client.close.inspect")).to eq("nil")
        expect(story(client).count(:close)).to eq(1)
      end

      it "ends the connection if the client does not answer the Close frame" do
        client = opened(websocket)
        ask(client, "client.close(4000, 'bye')")
        expect(client.read_close).to eq([4000, "bye"])
        client.ending
        event(:close, client, code: 4000, reason: "bye")
      end

      it "drops messages that come afterwards" do
        client = opened(websocket)
        ask(client, "client.close(4000)")
        client.text("too late")
        expect(client.finish(4000)).to eq([4000, ""])
        event(:close, client, code: 4000)
        expect(story(client)).not_to include(:message)
      end
    end
  end

  context "of an event stream" do
    serve ClientCalls::CONFIG

    describe "#close" do
      it "ends the body after the queued events" do
        client = unread(:sse)
        fill(client, messages: 100)
        expect(ask(client, "[client.close.inspect, client.open?, client.write('late')]")).to eq(["nil", false, false])
        expect(Array.new(100) { client.read_event.data.strip }).to eq((0..99).map(&:to_s))
        expect(client.ending).to eq(:fin)
        expect(client.read_to_end).to eq("")
        event(:close, client, code: nil, reason: nil)
      end

      it "raises ArgumentError for a code or reason that a WebSocket would not take" do
        client = opened(sse)
        expect { ask(client, "client.close(1005)") }.to raise_in_app("ArgumentError")
        expect { ask(client, "client.close(1000, 'x' * 124)") }.to raise_in_app("ArgumentError")
      end
    end
  end
end
