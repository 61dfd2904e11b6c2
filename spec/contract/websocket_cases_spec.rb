# frozen_string_literal: true

require "spec_helper"

# Cases of the Autobahn test suite, by their numbers (spec/full/autobahn_spec.rb runs all of them), and others of RFC 6455.
# Messages before a violation are answered before the Close frame.
RSpec.describe "A WebSocket that gets" do
  serve <<~'CONFIG', "--close-timeout", "3600"
    require "spec_app"

    echo = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })
    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = echo
      [200, {}, []]
    end)
  CONFIG

  frame = WebSocketFrame.method(:encode)
  text = ->(*arguments, **options) { WebSocketFrame.encode(:text, *arguments, **options) }
  # A handwritten header, with a key of zeros.
  by_hand = ->(*head, payload) { head.pack("C*") + ("\0" * 4) + payload }
  hello = [:text, "Hello"]
  pings = Array.new(10) { |number| "payload-#{number}" }

  # title => [what is sent, what comes back, the code of the Close frame (nil: none comes)]
  cases = {
    "ten pings (Autobahn 2.10)" => [pings.map { |it| frame[:ping, it] }.join, pings.map { |it| [:pong, it] }, nil],
    "RSV of 2, then a ping (Autobahn 3.2)" => [text["Hello"] + text["Hello", rsv: 2] + frame[:ping], [hello], 1002],
    "RSV of 3, then a ping (Autobahn 3.3)" => [text["Hello"] + text["Hello", rsv: 3] + frame[:ping], [hello], 1002],
    "opcode 5, then a ping (Autobahn 4.1.3)" => [text["Hello"] + frame[5] + frame[:ping], [hello], 1002],
    "opcode 6 with a payload, then a ping (Autobahn 4.1.4)" => [text["Hello"] + frame[6, "Hello"] + frame[:ping], [hello], 1002],
    "opcode 13, then a ping (Autobahn 4.2.3)" => [text["Hello"] + frame[13] + frame[:ping], [hello], 1002],
    "opcode 14 with a payload, then a ping (Autobahn 4.2.4)" => [text["Hello"] + frame[14, "Hello"] + frame[:ping], [hello], 1002],
    "a continuation of nothing behind a fragmented message (Autobahn 5.15)" =>
      [text["Hel", fin: false] + frame[:continuation, "lo"] + frame[:continuation, "x", fin: false] + text["x"], [hello], 1002],
    "bad UTF-8 behind a message" => [text["Hello"] + text["\xff"], [hello], 1007],
    "too large a frame behind a message" => [text["Hello"] + frame[:binary, "", length: 1_048_577], [hello], 1009],
    "many messages before a violation" =>
      [(text["Hello"] * 500) + text["x", rsv: 1] + text["not this one"], [hello] * 500, 1002],
    "a length of 5 in 16 bits" => [text["Hello"] + by_hand[0x81, 0xfe, 0, 5, "Hello"], [hello], 1002],
    "a length of 125 in 16 bits, of a ping" => [text["Hello"] + by_hand[0x89, 0xfe, 0, 125, "x" * 125], [hello], 1002],
    "a length of 126 in 64 bits" =>
      [text["Hello"] + by_hand[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 126, "x" * 126], [hello], 1002],
    "a length of 65,535 in 64 bits" =>
      [text["Hello"] + by_hand[0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, "x" * 65_535], [hello], 1002],
    "lengths in the shortest form" =>
      [[125, 126, 65_535, 65_536].map { |size| frame[:binary, "x" * size] }.join,
       [125, 126, 65_535, 65_536].map { |size| [:binary, "x" * size] }, nil]
  }

  def received(client, expected)
    expected.map do |opcode, _|
      next client.read_frame.then { |it| [it.opcode, it.payload] } if opcode == :pong

      message = client.read_message
      [message.encoding == Encoding::BINARY ? :binary : :text, message]
    end
  end

  { "at once" => ->(client, bytes) { client.write(bytes) },
    "byte by byte" => ->(client, bytes) { bytes.each_char { |byte| client.write(byte) } } }.each do |how, send|
    cases.each do |title, (bytes, expected, code)|
      next if how == "byte by byte" && bytes.bytesize > 1000

      it "#{title}, #{how}: answers #{code ? "and closes with #{code}" : "all"}" do
        client = websocket
        send[client, bytes.b]
        expect(received(client, expected) == expected).to be(true)
        if code
          expect(client.read_frame).to have_attributes(opcode: :close, close_code: code)
          client.connection.finish_writing
          expect(client.ending).to eq(:fin)
        else
          expect(client.finish).to eq([1000, ""])
        end
        event(:close, client, code: code || 1000)
        expect(story(client).count(:close)).to eq(1)
      end
    end
  end

  it "many pings answers all of them for a client that reads, and at least the latest for one that does not" do
    client = opened(websocket("/", receive_buffer: 4096))
    # More pongs than the kernel buffers. The server reads all the time, so these writes do not block.
    count = 60_000
    pings = Array.new(1000) { |number| frame[:ping, "x" * 118 + number.to_s.rjust(7, "0")] }.join
    (count / 1000).times { client.write(pings) }
    client.ping("the last")
    client.text("bye")
    payloads = []
    payloads << client.read_frame.payload until payloads.last == "the last"
    expect(payloads.size).to be_between(32, count)
    expect(client.read_message).to eq("bye")
  end
end
