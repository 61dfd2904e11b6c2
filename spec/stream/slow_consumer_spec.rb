# frozen_string_literal: true

require "spec_helper"

# A client that does not read costs a bounded amount of memory, and nobody else anything.
RSpec.describe "A slow consumer" do
  config = <<~'CONFIG'
    require "spec_app"

    handler = SpecApp::Recorder.new(message: lambda do |client, data|
      160.times { |number| client.write(number.to_s.ljust(65_536)) } if data == "ten megabytes"
      client.write("x" * 10_485_760) if data == "one message"
    end)

    run(lambda do |env|
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  def slow(protocol) = opened(public_send(protocol, "/", receive_buffer: 4096))
  def message(client) = client.is_a?(SseClient) ? client.read_event.data : client.read_message

  # More than the kernel takes for a peer, and more than the limits of these groups.
  def write(client, count, size: 65_536)
    ask(client, "Array.new(#{count}) { client.write('x' * #{size}) }.tally").transform_keys(&:to_s)
  end

  context "by time: enough is queued and the socket has taken nothing for a while" do
    serve config, "--slow-bytes", "500000", "--slow-timeout", "0.5"

    %i[websocket sse].each do |protocol|
      it "is closed with 1013, while others get their messages (#{protocol})" do
        lazy = slow(protocol)
        others = [opened(websocket), opened(sse)]
        expect(write(lazy, 150)).to eq("true" => 150)
        expect(ask(lazy, "client.pending")).to be > 0
        100.times do |number|
          others.each { |other| ask(other, "client.write('#{number}')") }
          expect(others.map { |other| message(other) }).to eq([number.to_s] * 2)
        end
        close = event(:close, lazy)
        # Server-Sent Events have no codes (section 3 of the contract).
        expect(close[:code]).to eq(1013) unless protocol == :sse
        expect(ask(lazy, "[client.open?, client.write('late'), client.pending]")).to eq([false, false, -1])
        expect(story(lazy).count(:close)).to eq(1)
      end
    end

    it "is not one that reads, however much is queued" do
      client = opened(websocket)
      client.text("ten megabytes")
      160.times { |number| expect(client.read_message.strip).to eq(number.to_s) }
      client.text("one message")
      expect(client.read_message.bytesize).to eq(10_485_760)
      expect(ask(client, "client.open?")).to be(true)
    end

    it "is not one with little queued" do
      client = slow(:websocket)
      ask(client, 'client.write("little"); nil')
      # Its deadline would have passed when that of a slow one has.
      lazy = slow(:websocket)
      write(lazy, 150)
      event(:close, lazy)
      expect(client.read_message).to eq("little")
    end
  end

  context "by the hard cap" do
    serve config, "--max-queued-bytes", "2000000", "--slow-timeout", "3600"

    it "is closed with 1013 and costs no memory beyond the cap" do
      lazy = slow(:websocket)
      write(opened(websocket), 10)
      before = app.resident
      results = write(lazy, 4000)
      expect(results.keys).to contain_exactly("true", "false")
      event(:close, lazy, code: 1013)
      expect(app.resident - before).to be < 100_000 if before
    end

    it "is not one that is sent a single message beyond the cap" do
      client = opened(websocket)
      expect(write(client, 1, size: 5_000_000)).to eq("true" => 1)
      expect(client.read_message.bytesize).to eq(5_000_000)
    end

    it "is reset, so that what it did not take is gone" do
      lazy = slow(:websocket)
      write(lazy, 400)
      event(:close, lazy)
      expect { loop { lazy.read_frame } }.to raise_error(RawConnection::Ended)
    end
  end

  context "with --slow-client reject" do
    serve config, "--max-queued-bytes", "2000000", "--slow-timeout", "3600", "--slow-client", "reject"

    it "stays open; write is false until it has caught up" do
      lazy = slow(:websocket)
      results = write(lazy, 400)
      expect(results.keys).to contain_exactly("true", "false")
      # The system may take some more.
      accepted = results["true"]
      accepted += 1 while ask(lazy, "client.write('x' * 65_536)")
      expect(ask(lazy, "client.open?")).to be(true)
      accepted.times { expect(lazy.read_message.bytesize).to eq(65_536) }
      event(:drained, lazy)
      expect(ask(lazy, 'client.write("again")')).to be(true)
      expect(lazy.read_message).to eq("again")
    end
  end
end
