# frozen_string_literal: true

require "spec_helper"

# permessage-deflate, RFC 7692.
RSpec.describe "A WebSocket" do
  config = <<~'CONFIG'
    require "spec_app"

    class Handler < SpecApp::Recorder
      def initialize(**) = super(message: ->(client, data) { client.write(data) })

      def on_open(client)
        client.env["PATH_INFO"].delete_prefix("/").split(",").each { |channel| client.subscribe(channel) }
        super
      end
    end

    # Its clients may send and get secrets.
    class Secretive < Handler
      def compress? = false
    end

    run(lambda do |env|
      env["rack.upgrade"] = (env["PATH_INFO"] == "/secret" ? Secretive : Handler).new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  json = JSON.generate(Array.new(40) { |number| { id: number, name: "Ana #{number}", active: number.odd? } })

  def deflating(path = "/", **options)
    id = Serving.next_name
    (@clients ||= []) << DeflateClient.new(app.address, "#{path}?#{id}", id: id, **options)
    @clients.last
  end

  # What the server has counted since the block began.
  def counted
    before = app.ask("PushServer.stats")
    yield
    after = app.ask("PushServer.stats")
    after.to_h { |name, number| [name, number - before.fetch(name)] }
  end

  context "without --websocket-compression" do
    serve config

    it "is not compressed, whatever the client offers" do
      client = opened(deflating)
      expect(client.extension).to be_nil
      client.text(json)
      expect(client.read_message).to eq(json)
      expect(client.compressed_messages).to eq(0)
    end

    it "is closed with 1002 if its client compresses nevertheless" do
      client = deflating
      client.deflated(:text, json)
      expect(client.read_close).to match([1002, /reserved bits/])
    end
  end

  context "with --websocket-compression" do
    serve config, "--websocket-compression", "--max-message-size", "1MiB"

    usual = "permessage-deflate; server_no_context_takeover"
    {
      "permessage-deflate" => usual,
      "permessage-deflate; client_max_window_bits" => usual,
      "permessage-deflate; client_max_window_bits=10" => "#{usual}; client_max_window_bits=10",
      "permessage-deflate; server_max_window_bits=9" => "#{usual}; server_max_window_bits=9",
      "permessage-deflate; client_no_context_takeover" => "#{usual}; client_no_context_takeover",
      "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=12" =>
        "#{usual}; server_max_window_bits=12",
      "permessage-deflate; server_max_window_bits=8" => nil,
      "permessage-deflate; server_no_context_takeover=1" => nil,
      "permessage-deflate; mystery" => nil,
      "x-webkit-deflate-frame" => nil
    }.each do |offer, answer|
      it "answers the offer #{offer} with #{answer || "nothing"}" do
        client = deflating(offer: offer)
        expect(client.extension).to eq(answer)
        client.text(json)
        expect(client.read_message).to eq(json)
        expect(client.compressed_messages).to eq(answer ? 1 : 0)
      end
    end

    it "is not compressed if its client offers nothing" do
      client = opened(websocket)
      client.text(json)
      frame = client.read_frame
      expect([frame.rsv, frame.payload]).to eq([0, json])
    end

    sizes = [0, 1, 511, 512, 65_535, 65_536, 65_537, 1_048_576]
    (9..15).each do |bits|
      ["", "; client_no_context_takeover"].each do |takeover|
        it "echoes messages of all sizes with #{bits} bits in both directions#{takeover}" do
          windows = "server_max_window_bits=#{bits}; client_max_window_bits=#{bits}"
          client = deflating(offer: "permessage-deflate; #{windows}#{takeover}")
          sizes.each do |size|
            text = (json * ((size / json.bytesize) + 1)).byteslice(0, size)
            client.deflated(:text, text)
            expect(client.read_message == text).to be(true), "#{size} bytes"
            client.deflated(:binary, text, fragments: 3)
            expect(client.read_message == text.b).to be(true), "#{size} bytes in fragments"
            client.text(text)
            expect(client.read_message == text).to be(true), "#{size} bytes, not compressed"
          end
          # Those below 512 bytes are not compressed.
          expect(client.compressed_messages).to eq(3 * sizes.count { |size| size >= 512 })
        end
      end
    end

    it "gets a message as it is if compressing does not make it shorter" do
      client = opened(deflating)
      bytes = Random.new(7).bytes(10_000)
      client.binary(bytes)
      expect(client.read_message).to eq(bytes)
      expect(client.compressed_messages).to eq(0)
    end

    it "is echoed hundreds of messages that hardly become shorter" do
      client = opened(deflating)
      random = Random.new(7)
      500.times do |number|
        # Huffman codes for 220 of 256 values save 3 %.
        bytes = Array.new(4096) { random.rand([220, 256][number % 2]) }.pack("C*")
        client.binary(bytes)
        expect(client.read_message == bytes).to be(true), number.to_s
      end
      client.text(json)
      expect(client.read_message).to eq(json)
      expect(client.compressed_messages).to eq(1)
    end

    it "gets a write with compress: false as it is" do
      client = opened(deflating)
      ask(client, "client.write(#{json.dump}, compress: false)")
      ask(client, "client.write(#{json.dump}, compress: true)")
      expect([client.read_message, client.read_message]).to eq([json, json])
      expect(client.compressed_messages).to eq(1)
    end

    it "is not compressed if its handler has a compress? that says so" do
      client = opened(deflating("/secret"))
      expect(client.extension).to be_nil
    end

    it "gets messages as they are from when a handler takes over whose compress? says so" do
      client = opened(deflating)
      ask(client, "client.handler = Secretive.new; client.write(#{json.dump})")
      expect(client.read_message).to eq(json)
      expect(client.compressed_messages).to eq(0)
      # What the client sends may still be compressed.
      client.deflated(:text, json)
      expect(client.read_message).to eq(json)
      ask(client, "client.handler = Handler.new")
      eventually { ask(client, "client.handler.class.name") == "Handler" }
      client.text(json)
      expect(client.read_message).to eq(json)
      expect(client.compressed_messages).to eq(1)
    end

    it "gets writes of several threads whole, while they are compressed without Ruby's lock" do
      client = opened(deflating)
      ask(client, <<~RUBY)
        4.times.map { |number| Thread.new { 10.times { client.write("\#{number} " * 50_000) } } }.each(&:join).size
      RUBY
      got = Array.new(40) { client.read_message }
      expect(got.tally).to eq(Array.new(4) { |number| ["#{number} " * 50_000, 10] }.to_h)
      expect(client.compressed_messages).to eq(40)
    end

    it "gets a long String as it was when it was written, whatever happens to it later" do
      client = opened(deflating)
      ask(client, <<~RUBY)
        text = "a" * 500_000
        changing = Thread.new { loop { %w[a b].each { |it| text.replace(it * 500_000) } } }
        20.times { client.write(text) }
        changing.kill && nil
      RUBY
      got = Array.new(20) { client.read_message }
      expect(got.uniq - ["a" * 500_000, "b" * 500_000]).to eq([])
    end

    # Half a KiB of it inflates to half a MiB.
    bomb = lambda do |size|
      zlib = Zlib::Deflate.new(9, -15)
      part = zlib.deflate("\0" * (16 << 20), Zlib::FULL_FLUSH)
      part * (size >> 24)
    end

    it "closes with 1009 for a bomb, 1 GiB of zeros, and takes no memory for it" do
      before = app.peak_resident
      counted = counted do
        clients = Array.new(20) { opened(deflating) }
        message = WebSocketFrame.encode(:binary, bomb.call(1 << 30), rsv: DeflateClient::RSV1)
        expect(message.bytesize).to be_between(1_000_000, 1_100_000)
        # The server reads only the beginning.
        clients.each { |client| client.write(message.byteslice(0, 100_000)) }
        clients.each do |client|
          expect(client.read_close).to match([1009, /1048576 bytes/])
          event(:close, client, code: 1009)
        end
      end
      expect(counted).to include(message_too_big: 20, inflations: 0)
      expect(app.peak_resident - before).to be < 60_000 if before
    end

    it "closes with 1009 for a bomb in fragments, after a message that was as long as it may be" do
      client = opened(deflating)
      client.deflated(:binary, "\0" * (1 << 20), fragments: 5)
      expect(client.read_message.bytesize).to eq(1 << 20)
      parts = bomb.call(1 << 28).scan(/.{1,100}/mn)
      client.send_frame(:binary, parts.first, fin: false, rsv: DeflateClient::RSV1)
      client.write(parts[1, 500].map { |part| WebSocketFrame.encode(:continuation, part, fin: false) }.join)
      expect(client.read_close).to match([1009, /1048576 bytes/])
    end

    it "closes with 1007 for data that cannot be inflated" do
      client = opened(deflating)
      client.send_frame(:text, "\xff" * 20, rsv: DeflateClient::RSV1)
      expect(client.read_close).to match([1007, /compressed data/])
    end

    it "is compressed once for all subscribers of a channel with the same window" do
      kinds = { "permessage-deflate" => 5, "permessage-deflate; server_max_window_bits=9" => 3,
                "permessage-deflate; server_max_window_bits=14" => 2 }
      clients = kinds.flat_map { |offer, count| Array.new(count) { opened(deflating("/news", offer: offer)) } }
      plain = opened(websocket("/news"))
      messages = Array.new(10) { |number| json.sub("Ana", "Bob #{number}") }
      counted = counted do
        messages.each { |message| app.ask("PushServer.publish('news', #{message.dump}); nil") }
        clients.each { |client| expect(Array.new(10) { client.read_message }).to eq(messages) }
        expect(Array.new(10) { plain.read_message }).to eq(messages)
      end
      expect(clients.map(&:compressed_messages).uniq).to eq([10])
      # A message of 2 KiB fits into all windows but the one of 512 bytes.
      expect(counted).to include(deflations: 20)
      expect(counted[:deflation_bytes_in]).to eq(2 * messages.sum(&:bytesize))
      expect(counted[:deflation_bytes_out]).to be < counted[:deflation_bytes_in] / 2
    end

    {
      "raw" => {}, "push.v1" => { "sec-websocket-protocol" => "push.v1" }
    }.each do |name, headers|
      it "gets long and short messages in order, each compressed once, and all that were published before a close (#{name})" do
        clients = Array.new(4) { opened(deflating("/news", headers: headers)) }
        clients.each(&:read_message) if name == "push.v1"
        messages = Array.new(12) { |number| "#{number}: #{json * [400, 1, 8][number % 3]}" }
        counted = counted do
          app.ask(<<~RUBY)
            12.times { |number| PushServer.publish("news", "\#{number}: " + #{json.dump} * [400, 1, 8][number % 3]) }
            #{clients.map(&:id)}.each { |id| SpecApp.client(id).close } && nil
          RUBY
          clients.each do |client|
            got = Array.new(12) { client.read_message }
            got = got.map { |block| block[/^data: (.*)$/, 1] } if name == "push.v1"
            expect(got == messages).to be(true)
            expect(client.read_close.first).to eq(1000)
          end
        end
        expect(clients.map(&:compressed_messages)).to eq([12] * 4)
        expect(counted).to include(deflations: 12, delivered: 48, overruns: 0, slow_clients: 0)
      end
    end

    it "gets messages of a channel with compress: false as they are" do
      client = opened(deflating("/news"))
      app.ask("PushServer.publish('news', #{json.dump}, compress: false); nil")
      app.ask("PushServer.publish('news', #{json.dump}); nil")
      expect([client.read_message, client.read_message]).to eq([json, json])
      expect(client.compressed_messages).to eq(1)
    end

    it "gets the blocks of push.v1 compressed, written or published, text or bytes" do
      client = opened(deflating("/news", headers: { "sec-websocket-protocol" => "push.v1" }))
      expect(client.read_message).to include("push.open")
      bytes = Random.new(7).bytes(100) * 20
      ask(client, "client.write(#{json.dump}, event: 'a'); client.write(#{bytes.dump}.b)")
      app.ask("PushServer.publish('news', #{json.dump}, event: 'b'); PushServer.publish('news', #{bytes.dump}.b); nil")
      got = Array.new(4) { client.read_message }
      expect(got[0]).to eq("event: a\ndata: #{json}\n\n")
      expect(got[1]).to eq("event: push.binary\ndata: #{[bytes].pack("m0")}\n\n")
      expect(got[2]).to end_with("\nevent: b\ndata: #{json}\n\n")
      expect(got[3]).to end_with("\nevent: push.binary\ndata: #{[bytes].pack("m0")}\n\n")
      expect(client.compressed_messages).to eq(4)
    end

    it "counts what clients send compressed" do
      client = opened(deflating)
      counted = counted do
        3.times { client.deflated(:text, json) }
        client.text("hi")
        4.times { client.read_message }
      end
      expect(counted).to include(messages_in: 4, inflations: 3, inflation_bytes_out: 3 * json.bytesize)
      expect(counted[:inflation_bytes_in]).to be_between(1, json.bytesize)
    end
  end

  context "with --deflate-min-bytes" do
    serve config, "--websocket-compression", "--deflate-min-bytes", "2000"

    it "gets shorter messages as they are, written or published" do
      client = opened(deflating("/news"))
      [1999, 2000].each do |length|
        client.text("x" * length)
        expect(client.read_message).to eq("x" * length)
        app.ask("PushServer.publish('news', 'y' * #{length}); nil")
        expect(client.read_message).to eq("y" * length)
      end
      expect(client.compressed_messages).to eq(2)
    end
  end

  context "with --max-inflaters" do
    serve config, "--websocket-compression", "--max-inflaters", "2"

    def inflaters = app.ask("PushServer.stats.values_at(:inflaters, :inflaters_full)")

    it "lets more clients than that compress each message by itself, until others have gone" do
      clients = Array.new(3) { opened(deflating) }
      expect(clients.map(&:keeps_window?)).to eq([true, true, false])
      expect(inflaters).to eq([2, 1])
      clients.each do |client|
        2.times { client.deflated(:text, json) }
        expect([client.read_message, client.read_message]).to eq([json, json])
      end
      modest = opened(deflating(offer: "permessage-deflate; client_no_context_takeover"))
      expect(inflaters).to eq([2, 1])
      clients.first.finish
      event(:close, clients.first)
      expect(opened(deflating).keeps_window?).to be(true)
      expect(inflaters).to eq([2, 1])
      [*clients.drop(1), modest].each(&:finish)
      @clients.last.finish
      eventually { inflaters == [0, 1] }
    end
  end
end
