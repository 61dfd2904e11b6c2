# frozen_string_literal: true

require "spec_helper"

# An idle server does not look at the clock. The first write after a quiet time must not make a client slow: a client is slow
# from the moment when its socket takes nothing.
RSpec.describe "A write after a quiet time" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    handler = SpecApp::Recorder.new(open: lambda do |client|
      next unless client.env["PATH_INFO"] == "/gate"

      client.write("x" * 65_536)
      GATE.pop
    end)
    run(lambda do |env|
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  limits = %w[--slow-bytes 1000 --slow-timeout 0.2]
  # Longer than the slow timeout.
  quiet = "sleep 0.5"

  context "with --slow-client close" do
    serve config, *limits, "--threads", "2"

    it "reaches a WebSocket whole" do
      client = opened(websocket)
      expect(ask(client, "#{quiet}; client.write('x' * 65_536)")).to be(true)
      expect(client.read_message).to eq("x" * 65_536)
      expect(ask(client, "client.open?")).to be(true)
    end

    it "reaches an event stream whole" do
      client = opened(sse)
      expect(ask(client, "#{quiet}; client.write('x' * 65_536)")).to be(true)
      expect(client.read_event.data).to eq("x" * 65_536)
      expect(ask(client, "client.open?")).to be(true)
    end

    it "reaches a waiting long poll, and keeps its session" do
      client = poller.ask
      event(:open, client)
      expect(ask(client, "#{quiet}; client.write('x' * 65_536)")).to be(true)
      expect(client.answer.data).to eq(["x" * 65_536])
      # The session goes on, with the same client.
      ask(client, "client.write('more')")
      expect(client.poll.data).to eq(["more"])
      expect(story(client).count(:open)).to eq(1)
    end

    it "reaches a long poll whose on_open went on for a while after its write" do
      client = poller("/gate").ask
      event(:open, client)
      app.ask("#{quiet}; GATE << true; nil")
      expect(client.answer.data).to eq(["x" * 65_536])
      expect(ask(client, "client.open?")).to be(true)
    end
  end

  context "while the process is suspended" do
    serve config, "--slow-bytes", "1000", "--slow-timeout", "2", "--threads", "2"

    it "is sent whole when the process continues" do
      client = opened(websocket("/", receive_buffer: 16_384))
      ask(client, "64.times { client.write('x' * 65_536) }; nil")
      app.signal("STOP")
      # Read what the kernel has buffered, so that there is room for more.
      connection = client.connection
      connection.take_from_kernel(65_536) while connection.socket.wait_readable(0.5)
      sleep 2.5
      app.signal("CONT")
      messages = "\x81\x7f#{[65_536].pack("Q>")}#{"x" * 65_536}".b * 64
      received = connection.read_exactly(messages.bytesize)
      expect(received == messages).to be(true)
      expect(ask(client, "client.open?")).to be(true)
    end
  end

  context "with --slow-client reject" do
    serve config, *limits, "--slow-client", "reject", "--threads", "2"

    it "is accepted, and so are the writes that follow it" do
      client = opened(websocket)
      # All of it fits into the kernel's buffers.
      expect(ask(client, "#{quiet}; Array.new(50) { Thread.pass; client.write('x' * 2000) }.uniq")).to eq([true])
      50.times { expect(client.read_message.bytesize).to eq(2000) }
    end

    it "is refused once the socket has taken nothing for the slow timeout, even if nothing else happens" do
      client = opened(websocket("/", receive_buffer: 4096))
      ask(client, "200.times { client.write('x' * 65_536) }; nil")
      eventually("a write to be refused") { !ask(client, "client.write('y')") }
      expect(ask(client, "client.open?")).to be(true)
    end
  end
end
