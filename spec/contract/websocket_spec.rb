# frozen_string_literal: true

require "spec_helper"

# RFC 6455, byte by byte.
RSpec.describe "A WebSocket" do
  include WebSocketEcho

  context "with the default limits" do
    serve WebSocketEcho::CONFIG, "--close-timeout", "0.5"

    describe "handshake" do
      it "is answered as RFC 6455 section 4.2.2 says" do
        response = http1.get("/?handshake", WebSocketClient.handshake("dGhlIHNhbXBsZSBub25jZQ=="))
        expect(response.head).to start_with("HTTP/1.1 101 Switching Protocols\r\n")
        expect(response["upgrade"]).to match(/\Awebsocket\z/i)
        expect(response["connection"]).to match(/\Aupgrade\z/i)
        expect(response["sec-websocket-accept"]).to eq("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        expect(response.headers.keys).not_to include("content-length", "transfer-encoding", "sec-websocket-extensions")
      end

      it "can be followed by frames in the same packet" do
        client = http1
        lines = WebSocketClient.handshake.map { |name, value| "#{name}: #{value}\r\n" }.join
        client.write("GET /?early HTTP/1.1\r\nhost: x\r\n#{lines}\r\n#{frame(:text, "early")}#{frame(:ping, "bird")}")
        expect(client.read_response.status).to eq(101)
        expect([WebSocketFrame.read(client.connection), WebSocketFrame.read(client.connection)])
          .to contain_exactly(have_attributes(opcode: :text, payload: "early"), have_attributes(opcode: :pong, payload: "bird"))
      end

      it "can be followed by frames that come byte by byte" do
        client = websocket
        (frame(:text, "hello") + frame(:text, "x" * 200)).each_char { |byte| client.write(byte) }
        expect(client.read_message).to eq("hello")
        expect(client.read_message).to eq("x" * 200)
      end
    end

    describe "message" do
      { "text" => "grüße 😀", "empty text" => "", "text with NUL" => "a\0b" }.each do |title, text|
        it "of type text is a UTF-8 String: #{title}" do
          client = websocket
          client.text(text)
          event(:message, client, data: { encoding: "UTF-8", valid: true, size: text.bytesize, bytes: text.b.dump, sum: text.sum(32) })
          expect(client.read_message).to eq(text)
        end
      end

      { "bytes" => "\x00\xff\x80".b, "no bytes" => "".b, "bytes that would be text" => "plain".b }.each do |title, bytes|
        it "of type binary is an ASCII-8BIT String: #{title}" do
          client = websocket
          client.binary(bytes)
          event(:message, client, data: include(encoding: "ASCII-8BIT", size: bytes.bytesize, bytes: bytes.dump))
          message = client.read_message
          expect(message).to eq(bytes)
          expect(message.encoding).to eq(Encoding::BINARY)
        end
      end

      [1, 125, 126, 127, 65_535, 65_536, 300_000, 1_048_576].each do |size|
        it "can have #{size} bytes" do
          client = websocket
          bytes = SecureRandom.bytes(size)
          client.binary(bytes)
          expect(client.read_message == bytes).to be(true)
        end
      end

      it "can be one of many in a packet" do
        client = websocket
        client.write((1..100).map { |number| frame(:text, number.to_s) }.join)
        expect(Array.new(100) { client.read_message }).to eq((1..100).map(&:to_s))
      end

      it "is a new String, which the handler can change" do
        client = websocket
        2.times { client.text("change") }
        expect(Array.new(2) { client.read_message }).to eq(%w[changed changed])
      end
    end

    describe "message in fragments" do
      it "is joined" do
        client = websocket
        client.send_frame(:text, "one ", fin: false)
        client.send_frame(:continuation, "two ", fin: false)
        client.send_frame(:continuation, "three")
        expect(client.read_message).to eq("one two three")
        client.send_frame(:binary, "\xff", fin: false)
        client.send_frame(:continuation, "\xfe")
        expect(client.read_message).to eq("\xff\xfe".b)
      end

      it "can have empty fragments" do
        client = websocket
        client.send_frame(:text, "", fin: false)
        3.times { client.send_frame(:continuation, "", fin: false) }
        client.send_frame(:continuation, "end", fin: false)
        client.send_frame(:continuation, "")
        expect(client.read_message).to eq("end")
      end

      it "can be split within a character" do
        client = websocket
        bytes = "😀é".bytes.map(&:chr)
        client.send_frame(:text, bytes.first, fin: false)
        bytes[1..-2].each { |byte| client.send_frame(:continuation, byte, fin: false) }
        client.send_frame(:continuation, bytes.last)
        expect(client.read_message).to eq("😀é")
      end

      it "can have control frames in between, which are answered at once" do
        client = websocket
        client.send_frame(:text, "be", fin: false)
        client.ping("first")
        expect(client.read_frame).to have_attributes(opcode: :pong, payload: "first")
        client.pong("unasked for")
        client.send_frame(:continuation, "fore", fin: false)
        client.ping("second")
        expect(client.read_frame).to have_attributes(opcode: :pong, payload: "second")
        client.send_frame(:continuation, "!")
        expect(client.read_message).to eq("before!")
      end

      it "can have 1000 fragments" do
        client = websocket
        first, *rest = Array.new(1000) { |number| format("%04d", number) }
        client.write(frame(:text, first, fin: false) + rest[..-2].map { |part| frame(:continuation, part, fin: false) }.join +
                     frame(:continuation, rest.last))
        expect(client.read_message).to eq([first, *rest].join)
      end

      it "is dropped when it is not finished" do
        client = websocket
        client.send_frame(:text, "never", fin: false)
        client.finish
        event(:close, client)
        expect(story(client)).to eq(%i[open close])
      end
    end

    describe "ping" do
      ["", "payload", "\0\xff".b, "x" * 125].each do |payload|
        it "is answered with its payload of #{payload.bytesize} bytes" do
          client = websocket
          client.ping(payload)
          expect(client.read_frame).to have_attributes(opcode: :pong, payload: payload.b, fin: true)
        end
      end

      it "is answered while a handler is busy" do
        client = websocket
        client.text("wait")
        event(:message, client)
        client.ping("busy?")
        expect(client.read_frame).to have_attributes(opcode: :pong, payload: "busy?")
        app.ask("GATE << true; nil")
        expect(client.read_message).to eq("wait")
      end

      it "does not delay messages when 20,000 come at once" do
        client = websocket
        200.times { client.write(frame(:ping, "x") * 100) }
        client.text("still there")
        expect(client.read_until_frame(:text).payload).to eq("still there")
        expect(client.finish).to eq([1000, ""])
      end
    end

    describe "pong" do
      it "is ignored when no ping asked for it" do
        client = websocket
        client.pong("surprise")
        client.text("hi")
        expect(client.read_message).to eq("hi")
      end
    end

    describe "Close frame" do
      [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999].each do |code|
        it "with code #{code} is echoed and given to on_close, and ends the connection" do
          client = websocket
          client.send_close(code, "grüße")
          expect(client.read_close.first).to eq(code)
          expect(client.ending).to eq(:fin)
          event(:close, client, code: code, reason: "grüße")
        end
      end

      it "without a code is echoed without a code; on_close gets 1005" do
        client = websocket
        client.send_close
        expect(client.read_until_frame(:close).payload).to eq("")
        expect(client.ending).to eq(:fin)
        event(:close, client, code: 1005, reason: "")
      end

      it "can have a reason of 123 bytes" do
        client = websocket
        client.send_close(1000, "x" * 123)
        expect(client.read_close.first).to eq(1000)
        event(:close, client, code: 1000, reason: "x" * 123)
      end

      it "is echoed although the end of the client's side comes with it" do
        client = websocket
        client.send_close(1000, "bye")
        client.connection.finish_writing
        expect(client.read_close.first).to eq(1000)
        expect(client.ending).to eq(:fin)
        event(:close, client, code: 1000, reason: "bye")
      end

      it "comes after earlier messages; later ones are dropped" do
        client = websocket
        client.write(frame(:text, "before") + frame(:close, WebSocketFrame.close_payload(1000)) + frame(:text, "after"))
        event(:close, client, code: 1000)
        expect(story(client)).to eq(%i[open message close])
      end
    end

    describe "connection that breaks" do
      it "calls on_close with 1006 and no reason: FIN" do
        client = websocket
        client.close
        expect_event(:close, client, code: 1006, reason: "")
      end

      it "calls on_close with 1006 and no reason: FIN of a client that can still read" do
        client = websocket
        client.connection.finish_writing
        expect_event(:close, client, code: 1006, reason: "")
        client.ending
      end

      it "calls on_close with 1006 and no reason: RST" do
        client = opened(websocket)
        client.reset
        expect_event(:close, client, code: 1006, reason: "")
      end
    end

    # RFC 6455 sections 5.1 to 5.5 and 7.4.
    describe "violation of the protocol" do
      text = ->(*arguments, **options) { WebSocketFrame.encode(:text, *arguments, **options) }
      encode = WebSocketFrame.method(:encode)
      close = ->(*arguments) { WebSocketFrame.encode(:close, WebSocketFrame.close_payload(*arguments)) }
      broken = {
        "an unmasked text frame" => text["hi", mask: false],
        "an unmasked ping" => encode[:ping, "hi", mask: false],
        "RSV1" => text["hi", rsv: 4],
        "RSV2" => text["hi", rsv: 2],
        "RSV3" => text["hi", rsv: 1],
        "RSV1 on a continuation" => text["a", fin: false] + encode[:continuation, "b", rsv: 4],
        **[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].to_h { |opcode| ["reserved opcode #{opcode}", encode[opcode, "hi"]] },
        "a fragmented ping" => encode[:ping, "hi", fin: false],
        "a fragmented Close" => encode[:close, "", fin: false],
        "a ping of 126 bytes" => encode[:ping, "x" * 126],
        "a pong of 126 bytes" => encode[:pong, "x" * 126],
        "a Close of 126 bytes" => close[1000, "x" * 124],
        "a continuation of nothing" => encode[:continuation, "hi"],
        "a continuation after a whole message" => text["hi"] + encode[:continuation, "more"],
        "a new message within a fragmented one" => text["a", fin: false] + text["b"],
        "a length of 2^63" => encode[:binary, "", length: 2**63],
        "a Close with one byte" => encode[:close, "\x03"],
        **[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].to_h do |code|
          ["a Close with code #{code}", close[code]]
        end
      }
      broken.each do |title, bytes|
        it "closes the client with 1002: #{title}" do
          client = websocket
          client.write(bytes)
          expect_failure(client, 1002)
        end
      end

      it "comes after earlier messages; later ones are dropped" do
        client = websocket
        client.write(text["before"] + text["broken", rsv: 1] + text["after"])
        event(:close, client, code: 1002)
        # The handler's answer to the first message is sent.
        expect(story(client)).to eq(%i[open message drained close])
      end

      it "closes with a Close frame, not a reset, even if the client goes on sending" do
        client = websocket
        client.write(text["x", rsv: 1])
        20.times { client.write(text["x" * 60_000]) }
        expect_failure(client, 1002)
      end
    end

    # RFC 6455 section 8.1, Unicode table 3-7.
    describe "text that is not UTF-8" do
      {
        "a stray continuation byte" => "\x80", "an overlong /" => "\xc0\xaf", "an overlong NUL" => "\xe0\x80\x80",
        "a surrogate" => "\xed\xa0\x80", "beyond U+10FFFF" => "\xf4\x90\x80\x80", "0xFE" => "\xfe",
        "text with a wrong byte" => "hello \xff world", "a character cut off at the end" => "euro \xe2\x82"
      }.each do |title, bytes|
        it "closes the client with 1007: #{title}" do
          client = websocket
          client.text(bytes)
          expect_failure(client, 1007)
          expect(story(client)).to eq(%i[open close])
        end

        it "closes the client with 1007 when it comes in fragments: #{title}" do
          client = websocket
          client.send_frame(:text, "good ", fin: false)
          bytes.b.each_char { |byte| client.send_frame(:continuation, byte, fin: false) }
          client.send_frame(:continuation, "")
          expect_failure(client, 1007)
        end
      end

      it "closes the client before the message is complete" do
        client = websocket
        client.send_frame(:text, "bad \xff", fin: false)
        expect_failure(client, 1007)
      end

      it "closes the client with 1007 when it is the reason of a Close frame" do
        client = websocket
        client.send_close(1000, "\xff\xfe")
        expect_failure(client, 1007)
      end

      it "is allowed in binary messages" do
        client = websocket
        client.binary("\xff\xfe")
        expect(client.read_message).to eq("\xff\xfe".b)
      end
    end
  end
end
