# frozen_string_literal: true

require "spec_helper"

# client.write, what it queues, and on_drained.
RSpec.describe "A client" do
  include ClientCalls

  context "of a WebSocket" do
    serve ClientCalls::CONFIG

    describe "#write" do
      texts = { '"plain"' => "plain", '"grüße 😀"' => "grüße 😀", '"ascii".encode("US-ASCII")' => "ascii", '""' => "",
                '"a\u0000b"' => "a\0b", '"frozen".freeze' => "frozen", 'Class.new(String).new("subclass")' => "subclass" }
      texts.each do |code, text|
        it "sends #{code} as text" do
          client = opened(websocket)
          expect(ask(client, "client.write(#{code})")).to be(true)
          expect(client.read_frame).to have_attributes(opcode: :text, payload: text.b, fin: true, rsv: 0)
        end
      end

      { '"\xff\x00\xfe".b' => "\xff\0\xfe".b, '"plain".b' => "plain", '"".b' => "" }.each do |code, bytes|
        it "sends #{code} as binary" do
          client = opened(websocket)
          expect(ask(client, "client.write(#{code})")).to be(true)
          expect(client.read_frame).to have_attributes(opcode: :binary, payload: bytes.b, fin: true, rsv: 0)
        end
      end

      ['"\xff"', '"caf\xe9"', '"\xed\xa0\x80"', '"a".encode("UTF-16LE")', '"é".encode("ISO-8859-1")',
       '"a".encode("Windows-1252")', '"\xff".dup.force_encoding("US-ASCII")'].each do |code|
        it "raises ArgumentError for #{code}" do
          client = opened(websocket)
          expect { ask(client, "client.write(#{code})") }.to raise_in_app("ArgumentError")
          ask(client, 'client.write("still fine")')
          expect(client.read_message).to eq("still fine")
        end
      end

      %w[nil 1 1.5 :symbol {} [] Object.new true].each do |code|
        it "raises TypeError for #{code}" do
          client = opened(websocket)
          expect { ask(client, "client.write(#{code})") }.to raise_in_app("TypeError")
        end
      end

      it "sends the String as it was at the time of the call" do
        client = opened(websocket)
        ask(client, 'text = +"before"; client.write(text); text.replace("after!"); nil')
        expect(client.read_message).to eq("before")
      end

      it "ignores event:, id: and retry:" do
        client = opened(websocket)
        expect(ask(client, 'client.write("plain", event: "x", id: "1", retry: 5)')).to be(true)
        expect(client.read_frame).to have_attributes(opcode: :text, payload: "plain")
      end

      it "sends messages with every form of a frame's length" do
        client = opened(websocket)
        [125, 126, 65_535, 65_536, 1_000_000].each do |size|
          ask(client, "client.write('x' * #{size})")
          expect(client.read_message).to eq("x" * size)
        end
      end

      it "keeps the order of one thread's writes" do
        client = opened(websocket)
        ask(client, "500.times { |number| client.write(number.to_s) }; nil")
        expect(Array.new(500) { client.read_message }).to eq((0..499).map(&:to_s))
      end

      it "returns false when the client is closing or closed" do
        client = opened(websocket)
        expect(ask(client, 'client.close; client.write("late")')).to be(false)
        client.finish
        expect(event(:closing, client)).to include(write: false)
        expect(ask(client, 'client.write("later")')).to be(false)
      end

      it "returns at once even if the client does not read" do
        client = unread(:websocket)
        expect(ask(client, "Array.new(100) { client.write('x' * 65_536) }.uniq")).to eq([true])
      end

      it "accepts one String of any size when nothing is queued" do
        client = opened(websocket)
        expect(ask(client, "client.write('x' * 20_000_000)")).to be(true)
        expect(client.read_message.bytesize).to eq(20_000_000)
      end
    end

    describe "#pending" do
      it "is the number of queued writes, and -1 after the client is closed" do
        client = unread(:websocket)
        expect(ask(client, "client.pending")).to eq(0)
        fill(client, messages: 100)
        pending = ask(client, "client.pending")
        expect(pending).to be_between(1, 100)
        100.times { client.read_message }
        eventually("an empty queue") { ask(client, "client.pending").zero? }
        client.finish
        expect(event(:closing, client)).to include(pending: -1)
        expect(ask(client, "client.pending")).to eq(-1)
      end

      it "still counts the queued writes after close, until they are sent" do
        client = unread(:websocket)
        fill(client, messages: 100)
        expect(ask(client, "client.close; client.pending")).to be_between(1, 100)
      end

      it "counts neither pings nor pongs" do
        client = opened(websocket)
        100.times { client.ping("x" * 125) }
        expect(ask(client, "client.pending")).to eq(0)
      end
    end

    describe "on_drained" do
      # A Close from the client comes after all else it caused.
      def told(client)
        client.finish
        event(:closing, client)
        story(client)
      end

      it "is called when all writes have been handed to the socket" do
        client = opened(websocket)
        ask(client, 'client.write("a")')
        event(:drained, client)
        ask(client, 'client.write("b")')
        event(:drained, client)
        expect(told(client)).to eq(%i[open drained drained close closing])
      end

      # The number of on_drained calls so far. A message is reported after all callbacks that were due before it. The first
      # writes of a fill may have been sent before the next came.
      def drains(client)
        client.text("how many?")
        event(:message, client)
        story(client).count(:drained)
      end

      it "is called once for many queued writes, after the last of them" do
        client = unread(:websocket)
        fill(client, messages: 100)
        before = drains(client)
        10.times { client.read_message }
        expect(ask(client, "client.pending")).to be > 0
        expect(drains(client)).to eq(before)
        90.times { client.read_message }
        eventually("an empty queue") { ask(client, "client.pending").zero? }
        expect(drains(client)).to eq(before + 1)
      end

      it "is not called for the handshake, pings, pongs or the Close frame" do
        client = opened(websocket)
        ask(client, "client.timeout = 0.05; nil")
        3.times { client.pong(client.read_until_frame(:ping).payload) }
        client.ping("hello")
        client.read_until_frame(:pong)
        expect(told(client)).not_to include(:drained)
      end
    end
  end

  context "of an event stream" do
    serve ClientCalls::CONFIG

    describe "#write" do
      { '"grüße"' => "grüße", '"grüße".b' => "grüße", '"ascii".encode("US-ASCII")' => "ascii", '""' => "" }.each do |code, data|
        it "sends #{code}" do
          client = opened(sse)
          expect(ask(client, "client.write(#{code})")).to be(true)
          expect(client.read_event.data).to eq(data)
        end
      end

      ['"\xff"', '"\xff".b', '"a".encode("UTF-16LE")', '"é".encode("ISO-8859-1")'].each do |code|
        it "raises ArgumentError for #{code}" do
          client = opened(sse)
          expect { ask(client, "client.write(#{code})") }.to raise_in_app("ArgumentError")
          ask(client, 'client.write("still fine")')
          expect(client.read_event.data).to eq("still fine")
        end
      end

      %w[nil 1 :symbol {} []].each do |code|
        it "raises TypeError for #{code}" do
          expect { ask(opened(sse), "client.write(#{code})") }.to raise_in_app("TypeError")
        end
      end

      it "returns false after the client has disconnected" do
        client = opened(sse)
        client.close
        expect(event(:closing, client)).to include(write: false, open: false, pending: -1)
        expect(ask(client, 'client.write("late")')).to be(false)
      end
    end

    describe "#pending" do
      it "is the number of queued writes" do
        client = unread(:sse)
        expect(ask(client, "client.pending")).to eq(0)
        fill(client, messages: 100)
        expect(ask(client, "client.pending")).to be_between(1, 100)
        100.times { client.read_event }
        event(:drained, client)
        expect(ask(client, "client.pending")).to eq(0)
      end
    end

    it "does not call on_drained for the head, `retry:` and heartbeats" do
      client = opened(sse)
      ask(client, "client.timeout = 0.05; nil")
      3.times { client.read_comment }
      client.close
      event(:close, client)
      expect(story(client)).not_to include(:drained)
    end
  end
end
