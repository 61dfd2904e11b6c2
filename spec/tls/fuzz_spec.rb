# frozen_string_literal: true

require "spec_helper"
require_relative "../support/tls_records"

# Bytes that no client of good will sends, before and after the handshake. They end their own connection at most, and cost little.
RSpec.describe "Bad bytes to an encrypted endpoint" do
  seed = 14

  serve(<<~'CONFIG', "-b", "ssl://127.0.0.1:0?#{CertificateAuthority.localhost.query}", via: :configured)
    require "spec_app"

    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }) if env["rack.upgrade?"]
      SpecApp.report(:called, path: env["PATH_INFO"], length: env["rack.input"]&.read.to_s.bytesize)
      [200, {}, ["answered"]]
    end)
  CONFIG

  before do
    @other = opened(websocket)
    get("/") # whatever a first request needs
    @memory, @spent = app.resident, ProcessCost.cpu_time(app.pid)
  end

  # The client that was there before is still served, no connection is left over, and little was spent. mebibytes: as much
  # memory as this may still be held by the allocator.
  def expect_little_harm(seconds:, mebibytes: 20)
    @other.text("still there")
    expect(@other.read_message).to eq("still there")
    expect(get("/").body).to eq("answered")
    close_clients
    expect_eventually("all connections to be gone") { app.ask("PushServer.stats")[:open_connections].zero? }
    expect(app.output).not_to match(/panick|error:/)
    expect(ProcessCost.cpu_time(app.pid) - @spent).to be < seconds
    expect(app.resident - @memory).to be < mebibytes * 1024
  end

  # Has each of the texts come on a connection of its own, with a FIN behind it, some at a time. Waits until the server has
  # ended all of them.
  def send_all(texts)
    texts.each_slice(50) do |some|
      connections = some.map { |bytes| RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port)).offer(bytes) }
      connections.each { |connection| finish(connection) }
      connections.each(&:ending)
      connections.each(&:close)
    end
  end

  def finish(connection)
    connection.finish_writing
  rescue Errno::ENOTCONN
    nil # The server has reset it.
  end

  # What a client sends first.
  def hello
    ours, theirs = UNIXSocket.pair
    tls = OpenSSL::SSL::SSLSocket.new(ours, OpenSSL::SSL::SSLContext.new)
    tls.hostname = "localhost"
    tls.connect_nonblock(exception: false)
    theirs.readpartial(65_536)
  ensure
    [ours, theirs].each(&:close)
  end

  def record(type, content) = [type, 0x0301, content.bytesize].pack("Cnn") + content

  describe "before the handshake" do
    it "may be any" do
      random = Random.new(seed)
      heads = ["", "\x16", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01", "\x15\x03\x03", "\x17\x03\x03"].map(&:b)
      send_all(Array.new(400) { |number| heads[number % heads.size] + random.bytes(random.rand(1..3000)) })
      expect_little_harm(seconds: 5)
    end

    it "may be a first message that is cut off anywhere" do
      message = hello
      send_all((0...message.bytesize).map { |size| message[0, size] })
      expect_little_harm(seconds: 5)
    end

    it "may be a first message in which one byte is another" do
      message, random = hello, Random.new(seed)
      send_all((0...message.bytesize).map { |at| message.dup.tap { |it| it.setbyte(at, it.getbyte(at) ^ random.rand(1..255)) } })
      expect_little_harm(seconds: 10)
    end

    it "may be a first message in single bytes, and in records of one byte: the handshake goes on" do
      [->(byte) { byte.chr }, ->(byte) { record(22, byte.chr) }].zip([hello, hello[5..]]) do |form, message|
        connection = closing(RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port)))
        message.each_byte { |byte| connection.write(form.call(byte)) }
        expect(connection.read_exactly(1)).to eq("\x16")
      end
      expect_little_harm(seconds: 5)
    end

    it "may be many records" do
      message = hello[5..]
      send_all([
                 message.bytes.map { |byte| record(22, byte.chr) }.join,
                 record(22, "") * 20_000,
                 record(21, "\x01\x5a") * 20_000,
                 record(20, "\x01") * 20_000,
                 record(22, "\x01\x00\x00\x00") * 20_000,
                 record(22, "\x01\xff\xff\xff") + (record(22, "\0" * 16_384) * 100),
                 record(22, "#{"\x01\x00\xff\xff".b}#{"\0" * 16_000}") + (record(22, "\0" * 16_384) * 100)
               ])
      expect_little_harm(seconds: 5)
    end
  end

  describe "after the handshake" do
    # A client with keys of TLS 1.3, that has sent what the block makes.
    def client
      client = closing(TlsRecords.new(app.address))
      client.write(yield(client)) if block_given?
      client
    rescue Errno::EPIPE, Errno::ECONNRESET
      client
    end

    def expect_not_called = expect(app.events.all(event: "called", path: "/bad")).to eq([])

    request, bad = %w[/after /bad].map { |path| "GET #{path} HTTP/1.1\r\nhost: a\r\n\r\n" }

    it "may be a request" do
      client { |tls| tls.record(request) }
      expect(app.events.take(event: "called", path: "/after")).to be_truthy
      expect_little_harm(seconds: 5)
    end

    it "may be some records without content, and a body of one byte a record" do
      client do |tls|
        empty = Array.new(30) { |number| tls.record("", padding: number * 500) }
        head = tls.record("POST /after HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n")
        [*empty, head, *Array.new(20_000) { |_| tls.record("x") }].join
      end
      expect(app.events.take(event: "called", path: "/after")[:length]).to eq(20_000)
      expect_little_harm(seconds: 10)
    end

    it "may be many records without content: the connection ends" do
      [0, 16_000].each do |padding|
        client { |tls| Array.new(1000) { |_| tls.record("", padding: padding) }.join + tls.record(bad) }.connection.ending
      end
      expect_little_harm(seconds: 5)
      expect_not_called
    end

    it "may ask for new keys again and again without reading the answers" do
      # The keys change with each of the messages, so only the first one can be read.
      key_update = "\x18\x00\x00\x01\x01".b
      client { |tls| tls.record(key_update * 3000, type: TlsRecords::HANDSHAKE) }.connection.ending
      client { |tls| tls.record(key_update, type: TlsRecords::HANDSHAKE) + tls.record(bad) }.connection.ending
      expect_little_harm(seconds: 5)
    end

    {
      "content of no known type" => ->(tls) { tls.record("x", type: 99) },
      "no type at all" => ->(tls) { tls.sealed("\0" * 100) },
      "nothing inside" => ->(tls) { tls.sealed("") },
      "more content than a record may have" => ->(tls) { tls.record("x" * 16_385) },
      "another handshake" => ->(tls) { tls.record("\x01\x00\x00\x04abcd", type: TlsRecords::HANDSHAKE) },
      "a certificate that nobody has asked for" => ->(tls) { tls.record("\x0b\x00\x00\x04\0\0\0\0", type: TlsRecords::HANDSHAKE) },
      "a ticket, which only servers send" => ->(tls) { tls.record("\x04\x00\x00\x04abcd", type: TlsRecords::HANDSHAKE) },
      "a message that is too long" =>
        ->(tls) { tls.record("\x04\xff\xff\xff", type: TlsRecords::HANDSHAKE) + Array.new(20) { |_| tls.record("x" * 16_000, type: 22) }.join },
      "many empty parts of a message, and then data" =>
        ->(tls) { Array.new(1000) { |_| tls.record("", type: TlsRecords::HANDSHAKE) }.join + tls.record(bad) },
      "a part of a message, and then data" => ->(tls) { tls.record("\x18\x00", type: TlsRecords::HANDSHAKE) + tls.record(bad) },
      "an error" => ->(tls) { tls.record("\x02\x28", type: TlsRecords::ALERT) },
      "an alert that is too short" => ->(tls) { tls.record("\x02", type: TlsRecords::ALERT) },
      "a record that was sent before" => ->(tls) { tls.record("GET / HTT").then { |sent| sent + sent } },
      "a change of the cipher" => ->(_) { "\x14\x03\x03\x00\x01\x01".b },
      "a record that is not encrypted" => ->(_) { "\x16\x03\x03\x00\x04\x01\x00\x00\x00".b },
      "a wrong tag" => ->(tls) { tls.record(bad).tap { |sent| sent.setbyte(-1, sent.getbyte(-1) ^ 1) } }
    }.each do |what, make|
      it "may be #{what}: the connection ends" do
        client(&make).connection.ending
        expect_little_harm(seconds: 5)
        expect_not_called
      end
    end

    it "may be random inside, too" do
      random = Random.new(seed)
      clients = Array.new(8) { client { |tls| Array.new(20) { |_| tls.sealed(random.bytes(random.rand(1..2000))) }.join } }
      clients.each { |tls| tls.connection.ending }
      expect_little_harm(seconds: 5)
    end
  end
end
