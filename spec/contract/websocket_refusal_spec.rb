# frozen_string_literal: true

require "spec_helper"

# A frame is refused as soon as a part of it is wrong (RFC 6455 sections 5.2, 8.1), and is not buffered.
RSpec.describe "An incomplete WebSocket frame" do
  include WebSocketEcho

  serve <<~'CONFIG', "--close-timeout", "0.5"
    require "spec_app"

    handler = SpecApp::Recorder.new
    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  def expect_failure(client, code)
    super
    expect(story(client)).to eq(%i[open close])
  end

  # The beginning of a frame of a megabyte.
  def begin_frame(client, opcode, payload, **options)
    client.send_frame(opcode, payload, length: 1_000_000, **options)
  end

  {
    "a stray byte at once" => "\x80", "a wrong byte in the middle" => "#{"x" * 50_000}\xff#{"x" * 50_000}",
    "an overlong form" => "grüße \xc0", "a surrogate" => "\xed\xa0", "beyond U+10FFFF" => "\xf4\x90",
    "a character that is not continued" => "\xe2\x82x"
  }.each do |title, payload|
    it "closes the client with 1007: #{title}" do
      client = websocket
      begin_frame(client, :text, payload)
      expect_failure(client, 1007)
    end

    it "closes the client with 1007 in a later fragment: #{title}" do
      client = websocket
      client.send_frame(:text, "good ", fin: false)
      begin_frame(client, :continuation, payload)
      expect_failure(client, 1007)
    end
  end

  it "closes the client with 1007 when it comes byte by byte" do
    client = websocket
    # With a key of zeros the masked payload is the payload.
    client.write([0x81, 0xff, 1_000_000].pack("CCQ>") + ("\0" * 4))
    "grüße \xf0\x80".b.each_char { |byte| client.write(byte) }
    expect_failure(client, 1007)
  end

  it "is waited for when it is correct so far" do
    client = websocket
    text = "grüße €😀" * 1000
    frame = WebSocketFrame.encode(:text, text)
    frame.b.scan(/.{1,7}/mn) { |part| client.write(part) }
    expect_event(:message, client, data: include(size: text.bytesize, valid: true, sum: text.sum(32)))
  end

  it "closes the client with 1009 when its header says that it is too large" do
    client = websocket
    client.send_frame(:text, "x", length: 1_048_577)
    expect_failure(client, 1009)
  end

  { "unmasked" => [0x81, 0x7f, 1_000_000].pack("CCQ>"), "RSV1" => [0xc1, 0xff, 1_000_000].pack("CCQ>"),
    "a reserved opcode" => [0x83, 0xff, 1_000_000].pack("CCQ>") }.each do |title, head|
    it "closes the client with 1002 for its header: #{title}" do
      client = websocket
      client.write("#{head}\0\0\0\0x")
      expect_failure(client, 1002)
    end
  end
end
