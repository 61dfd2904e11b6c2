# frozen_string_literal: true

require "spec_helper"

# The client object as the app sees it. The specs call its methods in the app's process, from a foreign thread.
RSpec.describe "The client" do
  app = <<~'CONFIG'
    require "spec_app"

    use Rack::Lint
    run(lambda do |env|
      # What a handler sees of its client in on_close.
      closing = lambda do |client, _code, _reason|
        SpecApp.report(:closing, client, write: client.write("too late"), open: client.open?, pending: client.pending,
                                         code: client.close_code, reason: client.close_reason,
                                         path: client.env["PATH_INFO"], header: client.env["HTTP_X_HEADER"])
      end
      env["rack.upgrade"] = SpecApp::Recorder.new(close: closing)
      [200, {}, []]
    end)
  CONFIG

  # An opened client with a small buffer. It takes nothing after what the buffer holds.
  def unread(protocol) = opened(public_send(protocol, "/", receive_buffer: 4096))

  # Fills the client's queue with more than the kernel takes on its behalf.
  def fill(client, messages: 100)
    ask(client, "#{messages}.times { |number| client.write(number.to_s.ljust(65_536)) }; nil")
  end

  def raising(type) = raise_error(RemoteControl::Raised) { |error| expect(error.type).to eq(type) }

  context "on a WebSocket" do
    serve app, "--close-timeout", "0.3"

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
        it "refuses #{code}" do
          client = opened(websocket)
          expect { ask(client, "client.write(#{code})") }.to raising("ArgumentError")
          ask(client, 'client.write("still fine")')
          expect(client.read_message).to eq("still fine")
        end
      end

      %w[nil 1 1.5 :symbol {} [] Object.new true].each do |code|
        it "refuses #{code}, which is no String" do
          client = opened(websocket)
          expect { ask(client, "client.write(#{code})") }.to raising("TypeError")
        end
      end

      it "sends what the String was when it was written" do
        client = opened(websocket)
        ask(client, 'text = +"before"; client.write(text); text.replace("after!"); nil')
        expect(client.read_message).to eq("before")
      end

      it "ignores the fields of Server-Sent Events" do
        client = opened(websocket)
        expect(ask(client, 'client.write("plain", event: "x", id: "1", retry: 5)')).to be(true)
        expect(client.read_frame).to have_attributes(opcode: :text, payload: "plain")
      end

      it "sends messages of every length of the frame header" do
        client = opened(websocket)
        [125, 126, 65_535, 65_536, 1_000_000].each do |size|
          ask(client, "client.write('x' * #{size})")
          expect(client.read_message).to eq("x" * size)
        end
      end

      it "keeps the order of what one thread writes" do
        client = opened(websocket)
        ask(client, "500.times { |number| client.write(number.to_s) }; nil")
        expect(Array.new(500) { client.read_message }).to eq((0..499).map(&:to_s))
      end

      it "is false once the client is closing, closed or gone" do
        client = opened(websocket)
        expect(ask(client, 'client.close; client.write("late")')).to be(false)
        client.finish
        expect(event(:closing, client)).to include(write: false)
        expect(ask(client, 'client.write("later")')).to be(false)
      end

      it "returns at once, however slow the peer is" do
        client = unread(:websocket)
        expect(ask(client, "Array.new(100) { client.write('x' * 65_536) }.uniq")).to eq([true])
      end

      it "takes one String of any size when nothing is queued" do
        client = opened(websocket)
        expect(ask(client, "client.write('x' * 20_000_000)")).to be(true)
        expect(client.read_message.bytesize).to eq(20_000_000)
      end
    end

    describe "#pending" do
      it "is 0 with nothing queued, the number of queued writes, and -1 once closed" do
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

      it "still counts between close and the flush" do
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

    describe "#close" do
      it "closes with 1000 and no reason, and returns nil" do
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
        it "refuses code #{code}" do
          client = opened(websocket)
          expect { ask(client, "client.close(#{code})") }.to raising("ArgumentError")
          expect(ask(client, "client.open?")).to be(true)
        end
      end

      it "takes a reason of 123 bytes, and refuses a longer one or one that is not UTF-8" do
        client = opened(websocket)
        ['"x" * 124', '"é" * 62', '"\xff"', '"\xff".b', '"é".encode("ISO-8859-1")'].each do |reason|
          expect { ask(client, "client.close(1000, #{reason})") }.to raising("ArgumentError")
        end
        ask(client, 'client.close(1000, "x" + "é" * 61)')
        expect(client.read_close).to eq([1000, "x#{"é" * 61}"])
      end

      it "flushes what is queued first" do
        client = unread(:websocket)
        fill(client, messages: 100)
        ask(client, "client.close(4000, 'done')")
        expect(Array.new(100) { client.read_message.strip }).to eq((0..99).map(&:to_s))
        expect(client.read_close).to eq([4000, "done"])
      end

      it "may be called again, from any thread, to no effect" do
        client = opened(websocket)
        ask(client, "client.close(4000, 'first')")
        ask(client, "10.times.map { Thread.new { client.close(4001, 'second') } }.each(&:join); nil")
        expect(client.finish(4000)).to eq([4000, "first"])
        event(:close, client, code: 4000, reason: "first")
        expect(ask(client, "client.close.inspect")).to eq("nil")
        expect(story(client).count(:close)).to eq(1)
      end

      it "ends the connection of a peer that does not answer" do
        client = opened(websocket)
        ask(client, "client.close(4000, 'bye')")
        expect(client.read_close).to eq([4000, "bye"])
        client.ending
        event(:close, client, code: 4000, reason: "bye")
      end

      it "lets no message through to on_message afterwards" do
        client = opened(websocket)
        ask(client, "client.close(4000)")
        client.text("too late")
        expect(client.finish(4000)).to eq([4000, ""])
        event(:close, client, code: 4000)
        expect(story(client)).not_to include(:message)
      end
    end

    describe "#open?" do
      it "is true from on_open on, false as soon as close was called" do
        client = opened(websocket)
        expect(ask(client, "[client.open?, (client.close; client.open?)]")).to eq([true, false])
      end

      it "is false when the peer went" do
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

      it "are what the peer sent, and stay" do
        client = opened(websocket)
        client.finish(4321, "gründlich")
        event(:closing, client, code: 4321, reason: "gründlich")
        expect(ask(client, "[client.close_code, client.close_reason, client.close_reason.encoding.to_s]"))
          .to eq([4321, "gründlich", "UTF-8"])
      end
    end

    it "knows its protocol" do
      expect(ask(opened(websocket), "client.protocol.inspect")).to eq(":websocket")
    end

    it "has its handler" do
      expect(ask(opened(websocket), "client.handler.class.name")).to eq("SpecApp::Recorder")
    end

    it "has no last event id" do
      expect(ask(opened(websocket), "client.last_event_id")).to be_nil
    end

    it "is pub/sub" do
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

    it "stores what the app wants to remember, each client its own" do
      one = opened(websocket)
      two = opened(websocket)
      ask(one, 'client[:name] = "one"; client["name"] = "as a String"; nil')
      ask(two, 'client[:name] = "two"; nil')
      expect(ask(one, 'client[:name], client["name"], client[:unset] = client[:name], client["name"], nil'))
        .to eq(["one", "as a String", nil])
      expect(ask(two, 'GC.start; [client[:name], client["name"]]')).to eq(["two", nil])
    end

    it "has a short inspect with protocol, remote address and state" do
      client = opened(websocket)
      port = client.connection.socket.local_address.ip_port
      text = ask(client, "client.inspect")
      expect(text).to match(/websocket/i).and include("127.0.0.1:#{port}").and match(/open/)
      expect(text.length).to be < 120
      client.finish
      event(:closing, client)
      expect(ask(client, "client.inspect")).to match(/closed/)
    end

    describe "on_drained" do
      # A Close from the client comes after all else it caused.
      def told(client)
        client.finish
        event(:closing, client)
        story(client)
      end

      it "is called when what was written has been handed to the socket" do
        client = opened(websocket)
        ask(client, 'client.write("a")')
        event(:drained, client)
        ask(client, 'client.write("b")')
        event(:drained, client)
        expect(told(client)).to eq(%i[open drained drained close closing])
      end

      # on_drained calls so far. A message is told of after all that was due before it. The first writes of a fill may
      # have left before the next came.
      def drains(client)
        client.text("how many?")
        event(:message, client)
        story(client).count(:drained)
      end

      it "is called once for many writes that wait together, and not before the last is gone" do
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

      it "is not called for the handshake, pings, pongs or the Close, if nothing was written" do
        client = opened(websocket)
        ask(client, "client.timeout = 0.05; nil")
        3.times { client.pong(client.read_until_frame(:ping).payload) }
        client.ping("hello")
        client.read_until_frame(:pong)
        expect(told(client)).not_to include(:drained)
      end
    end
  end

  context "on Server-Sent Events" do
    serve app

    describe "#write" do
      { '"grüße"' => "grüße", '"grüße".b' => "grüße", '"ascii".encode("US-ASCII")' => "ascii", '""' => "" }.each do |code, data|
        it "sends #{code}" do
          client = opened(sse)
          expect(ask(client, "client.write(#{code})")).to be(true)
          expect(client.read_event.data).to eq(data)
        end
      end

      ['"\xff"', '"\xff".b', '"a".encode("UTF-16LE")', '"é".encode("ISO-8859-1")'].each do |code|
        it "refuses #{code}" do
          client = opened(sse)
          expect { ask(client, "client.write(#{code})") }.to raising("ArgumentError")
          ask(client, 'client.write("still fine")')
          expect(client.read_event.data).to eq("still fine")
        end
      end

      %w[nil 1 :symbol {} []].each do |code|
        it "refuses #{code}, which is no String" do
          expect { ask(opened(sse), "client.write(#{code})") }.to raising("TypeError")
        end
      end

      it "is false once the stream is closed or the peer gone" do
        client = opened(sse)
        client.close
        expect(event(:closing, client)).to include(write: false, open: false, pending: -1)
        expect(ask(client, 'client.write("late")')).to be(false)
      end
    end

    describe "#pending" do
      it "counts queued writes" do
        client = unread(:sse)
        expect(ask(client, "client.pending")).to eq(0)
        fill(client, messages: 100)
        expect(ask(client, "client.pending")).to be_between(1, 100)
        100.times { client.read_event }
        event(:drained, client)
        expect(ask(client, "client.pending")).to eq(0)
      end
    end

    describe "#close" do
      it "ends the body after what is queued" do
        client = unread(:sse)
        fill(client, messages: 100)
        expect(ask(client, "[client.close.inspect, client.open?, client.write('late')]")).to eq(["nil", false, false])
        expect(Array.new(100) { client.read_event.data.strip }).to eq((0..99).map(&:to_s))
        expect(client.ending).to eq(:fin)
        expect(client.read_to_end).to eq("")
        event(:close, client, code: nil, reason: nil)
      end

      it "checks code and reason as for a WebSocket" do
        client = opened(sse)
        expect { ask(client, "client.close(1005)") }.to raising("ArgumentError")
        expect { ask(client, "client.close(1000, 'x' * 124)") }.to raising("ArgumentError")
      end
    end

    it "knows its protocol" do
      expect(ask(opened(sse), "client.protocol.inspect")).to eq(":sse")
    end

    it "knows the last event id its peer sent" do
      expect(ask(opened(sse("/", headers: { "last-event-id" => "41-a" })), "client.last_event_id")).to eq("41-a")
      expect(ask(opened(sse), "client.last_event_id")).to be_nil
    end

    it "has a short inspect with protocol, remote address and state" do
      client = opened(sse)
      port = client.connection.socket.local_address.ip_port
      expect(ask(client, "client.inspect")).to match(/sse/i).and include("127.0.0.1:#{port}").and match(/open/)
    end

    it "does not call on_drained for the head, retry and heartbeats" do
      client = opened(sse)
      ask(client, "client.timeout = 0.05; nil")
      3.times { client.read_comment }
      client.close
      event(:close, client)
      expect(story(client)).not_to include(:drained)
    end
  end

  describe "#timeout" do
    serve app, "--ping-interval", "0.1", "--sse-heartbeat", "0.1"

    it "is the server's interval unless set" do
      expect(ask(opened(websocket), "client.timeout")).to eq(0.1)
      expect(ask(opened(sse), "client.timeout")).to eq(0.1)
    end

    it "may be set and read back, in whole and parts of seconds, or be off" do
      [opened(websocket), opened(sse)].each do |client|
        [40, 0.5, nil].each do |seconds|
          expect(ask(client, "client.timeout = #{seconds.inspect}; client.timeout")).to eq(seconds)
        end
      end
    end

    it "set to nil silences the client's pings and heartbeats, and nobody else's" do
      silent = [opened(websocket), opened(sse)]
      silent.each { |client| ask(client, "client.timeout = nil; nil") }
      # What came before that is in the way; a message marks its end.
      silent.each { |client| ask(client, 'client.write("silence")') }
      silent.first.read_message
      silent.last.read_event
      loud = opened(websocket)
      5.times { loud.pong(loud.read_until_frame(:ping).payload) }
      expect(silent.map { |client| client.connection.anything? }).to eq([false, false])
    end
  end
end
