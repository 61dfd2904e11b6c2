# frozen_string_literal: true

require "spec_helper"
require "digest"

# With SPEC_TRANSPORT=unix, all specs of spec/stream and spec/contract use Unix sockets. Here is what they do not test. The file of
# the socket is in spec/http/unix_socket_spec.rb.
RSpec.describe "Over a Unix socket", transport: :unix do
  config = <<~'CONFIG'
    require "spec_app"
    require "digest"

    LARGE = "0123456789" * 1_000_000
    File.binwrite("large.bin", LARGE)

    class LargeFile
      def to_path = File.expand_path("large.bin", __dir__)
      def each = yield(LARGE)
    end

    echo = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/push"
        env["rack.upgrade"] = echo if env["rack.upgrade?"]
        [200, {}, []]
      when "/upload" then [200, {}, [Digest::SHA256.hexdigest(env["rack.input"].read)]]
      when "/array" then [200, {}, [LARGE]]
      when "/file" then [200, {}, LargeFile.new]
      when "/env" then [200, {}, [env.values_at("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT").join(" ")]]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("#{io.class}\n")
        Thread.new do
          loop { io.write(io.readpartial(65_536)) }
        rescue EOFError
          io.close
        end
        [-1, {}, []]
      end
    end)
  CONFIG

  large = "0123456789" * 1_000_000

  context "with the usual limits" do
    serve config, "--threads", "2", "--access-log", "common", "--access-log-file", "access.log"

    it "the specs connect to the socket that the server prints" do
      expect(app.url).to eq("unix://#{app.address.unix_path}")
      expect(http.connection.socket.remote_address.unix_path).to eq(app.address.unix_path)
    end

    it "a WebSocket sends and receives messages of any size" do
      client = opened(websocket("/push"))
      ["", "grüße", "x" * 300_000].each do |text|
        client.text(text)
        expect(client.read_message).to eq(text)
      end
      expect(client.finish(4000, "bye")).to eq([4000, "bye"])
      expect_event(:close, client, code: 4000, reason: "bye")
    end

    it "an event stream receives events, and its end is noticed" do
      client = opened(sse("/push"))
      3.times do |number|
        ask(client, "client.write('#{number}')")
        expect(client.read_event.data).to eq(number.to_s)
      end
      client.close
      expect_event(:close, client)
    end

    it "polls share one connection, and continue their session on another" do
      client = poller("/push").ask
      event(:open, client)
      ask(client, "client.write('1')")
      expect(client.answer.data).to eq(["1"])
      connection = client.connection
      ask(client, "client.write('2')")
      expect(client.poll.data).to eq(["2"])
      expect(client.connection).to equal(connection)
      client.lose
      ask(client, "client.write('3')")
      expect(client.poll.data).to eq(["3"])
      expect(story(client).count(:open)).to eq(1)
    end

    [1000, 100_000, 3_000_000].each do |size|
      it "an upload of #{size} bytes is complete, with a length and in chunks" do
        body = Random.new(size).bytes(size)
        digest = Digest::SHA256.hexdigest(body)
        expect(http.request("POST", "/upload", body: body).body).to eq(digest)
        client = http1
        client.send_request("POST", "/upload", { "transfer-encoding" => "chunked" })
        body.scan(/.{1,50000}/mn) { |part| client.write("#{part.bytesize.to_s(16)}\r\n#{part}\r\n") }
        client.write("0\r\n\r\n")
        expect(client.read_response.body).to eq(digest)
      end
    end

    { "/array" => "an Array", "/file" => "a file" }.each do |path, what|
      it "a large response is complete: #{what}" do
        client = http
        2.times { expect(client.get(path).body == large).to be(true) }
      end
    end

    it "pipelined requests are answered in order after the client has closed its side" do
      client = http1
      # A body that is still being made would be cut: then a closed side counts as a disconnect.
      client.write(%w[/env /array /env].map { |path| "GET #{path} HTTP/1.1\r\nhost: x\r\n\r\n" }.join)
      client.connection.finish_writing
      expect(Array.new(3) { client.read_response.body.bytesize }).to eq([14, large.bytesize, 14])
      expect(client.connection.ending).to eq(:fin)
    end

    it "a hijacked connection is a UNIXSocket, which reads and writes" do
      client = http1.send_request("GET", "/hijack")
      expect(client.connection.read_until("\n")).to eq("UNIXSocket\n")
      ["one", "x" * 1_000_000].each do |text|
        writer = Thread.new { client.write(text) }
        expect(client.connection.read_exactly(text.bytesize) == text).to be(true)
        writer.join
      end
      client.connection.finish_writing
      expect(client.connection.ending).to eq(:fin)
    end

    it "a connection is hijacked with the bytes that have come after the request" do
      client = http1
      client.write("GET /hijack HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly")
      expect(client.connection.read_until("\n")).to eq("UNIXSocket\n")
      expect(client.connection.read_exactly(5)).to eq("early")
      client.write("late")
      expect(client.connection.read_exactly(4)).to eq("late")
    end

    it "a client has the address 127.0.0.1" do
      expect(get("/env").body).to eq("127.0.0.1 localhost 80")
      expect(ask(opened(websocket("/push")), "client.inspect")).to include("unix")
      lines = eventually("a log line") { File.readlines(File.join(app.dir, "access.log")).grep(%r{/env}).then { |all| all if all.any? } }
      expect(lines).to all(start_with("127.0.0.1 - - "))
    end

    it "a page of another origin is refused" do
      foreign = { "host" => "localhost", "origin" => "http://elsewhere.example" }
      expect { websocket("/push", headers: foreign) }.to raise_error(WebSocketClient::Refused, /403/)
      expect(websocket("/push", headers: { "host" => "localhost:9292", "origin" => "http://localhost:9292" }).response.status).to eq(Transport.upgraded)
    end
  end

  context "with --max-connections 2" do
    serve config, "--threads", "2", "--max-connections", "2"

    it "a third client waits until another has disconnected" do
      clients = Array.new(2) { http.tap { |client| client.get("/env") } }
      third = http.send_request("GET", "/env")
      3.times { clients.each { |client| client.get("/env") } }
      expect(third.answered?).to be(false)
      clients.first.close
      expect(third.read_response.status).to eq(200)
    end
  end

  it "all specs that are excepted exist" do
    missing = [Transport::TCP_ONLY, Transport::H1_ONLY, Transport::PLAIN_ONLY].flat_map(&:keys).reject do |name|
      file, title = name.split(": ", 2)
      File.read(File.join(AppProcess::ROOT, file)).include?(title.to_s)
    end
    expect(missing).to eq([])
  end
end
