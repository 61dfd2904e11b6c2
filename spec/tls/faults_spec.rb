# frozen_string_literal: true

require "spec_helper"

# What happens to a client at any point of an encrypted connection concerns nobody else, and leaves nothing behind.
RSpec.describe "A fault of an encrypted connection" do
  bind = ["-b", "ssl://127.0.0.1:0?#{CertificateAuthority.localhost.query}"]

  serve(<<~'CONFIG', *bind, "--close-timeout", "0.3", "--handshake-timeout", "2", via: :configured)
    require "spec_app"

    GATE = Queue.new

    run(lambda do |env|
      if env["PATH_INFO"] == "/wait"
        SpecApp.report(:called)
        GATE.pop
      end
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, {}, ["answered"]]
    end)
  CONFIG

  # How far the handshake has come, and what of it the client has sent.
  handshake = {
    "before the first byte" => ->(_) { "" },
    "in the client's first message" => ->(messages) { messages.hello[0, 100] },
    "after the client's first message" => ->(messages) { messages.hello },
    "in the client's last message" => ->(messages) { messages.finished[0, 20] }
  }

  # What the client has done after the handshake.
  connection = {
    "after the handshake" => ->(_) {},
    "in the head of a request" => ->(client) { client.write("GET / HTTP/1.1\r\nhost:") },
    "in the body of a request" => ->(client) { client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf") },
    "between two requests" => ->(client) { client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").read_until("answered") }
  }

  # Each ends the connection, or has the server end it. They act on the socket beneath.
  faults = {
    "a FIN" => ->(raw) { raw.socket.close_write },
    "a reset" => :reset.to_proc,
    "a record that is not encrypted as agreed" => ->(raw) { raw.socket.write("\x17\x03\x03\x00\x20#{"x" * 32}") },
    "a record of no known type" => ->(raw) { raw.socket.write("\x63\x03\x03\x00\x01x") },
    "a record that is too long" => ->(raw) { raw.socket.write("\x17\x03\x03\xff\xff") },
    "an alert" => ->(raw) { raw.socket.write("\x15\x03\x03\x00\x02\x02\x28") }
  }

  # The messages of a client, made by OpenSSL on a pair of sockets in place of the connection.
  messages = Class.new do
    attr_reader :hello

    # raw: the connection, with which the first message is answered.
    def initialize(raw)
      @raw = raw
      ours, @theirs = UNIXSocket.pair
      @tls = OpenSSL::SSL::SSLSocket.new(ours, OpenSSL::SSL::SSLContext.new)
      @hello = sent
    end

    def finished
      @raw.write(hello)
      @theirs.write(@raw.read_available) until (bytes = sent)
      bytes
    end

    private

    def sent
      @tls.connect_nonblock(exception: false)
      bytes = @theirs.read_nonblock(65_536, exception: false)
      bytes unless bytes == :wait_readable
    end
  end

  def open_connections = app.ask("PushServer.stats")[:open_connections]

  def expect_no_trace
    eventually("the connection to be gone") { open_connections.zero? }
    expect(get("/").body).to eq("answered")
    expect(app.output).not_to match(/panick|error:/)
  ensure
    close_clients
    eventually("the client to be gone") { open_connections.zero? }
  end

  # Waits until the server has closed the connection, unless it is gone.
  def await_end(raw)
    raw.socket.wait_readable(Deadline::PATIENCE) && raw.socket.readpartial(65_536) until raw.closed?
  rescue EOFError, Errno::ECONNRESET
    raw.close
  end

  # Has all faults happen to connections of their own at the same time, and waits until the server has closed all of them.
  def expect_all_ended(faults)
    clients = faults.values.map { closing(yield) }
    faults.values.zip(clients) { |fault, client| fault.call(client) }
    clients.each { |client| await_end(client) }
    expect_no_trace
  end

  handshake.each do |point, bytes|
    it "ends the connection #{point}" do
      expect_all_ended(faults) do
        raw = RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port))
        raw.write(bytes.call(messages.new(raw)))
      end
    end
  end

  connection.each do |point, act|
    it "ends the connection #{point}" do
      expect_all_ended(faults) { RawConnection.new(app.address).tap(&act) }
    end
  end

  it "ends the connection while the app works" do
    faults.each_value do |fault|
      client = closing(RawConnection.new(app.address))
      client.write("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
      app.events.take(event: "called")
      fault.call(client)
      app.ask("GATE << nil and nil")
      await_end(client)
    end
    expect_no_trace
  end

  %i[websocket sse].each do |kind|
    it "is a disconnect for the app, of a client of kind #{kind}" do
      faults.each_value do |fault|
        client = opened(__send__(kind))
        fault.call(client.connection)
        expect_event(:close, client, code: kind == :websocket ? 1006 : nil)
      end
      expect_no_trace
    end
  end
end
