# frozen_string_literal: true

require "spec_helper"

# A client that does not read uses a bounded amount of memory, and does not disturb others.
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

  # More than the kernel buffers for a client, and more than the limits of these groups.
  def write(client, count, size: 65_536)
    ask(client, "Array.new(#{count}) { client.write('x' * #{size}) }.tally").transform_keys(&:to_s)
  end

  context "by --slow-bytes and --slow-timeout" do
    serve config, "--slow-bytes", "500000", "--slow-timeout", "0.5"

    %i[websocket sse].each do |protocol|
      it "is closed with 1013, while others get their messages (#{protocol})" do
        slow_client = slow(protocol)
        others = [opened(websocket), opened(sse)]
        expect(write(slow_client, 150)).to eq("true" => 150)
        expect(ask(slow_client, "client.pending")).to be > 0
        100.times do |number|
          others.each { |other| ask(other, "client.write('#{number}')") }
          expect(others.map { |other| message(other) }).to eq([number.to_s] * 2)
        end
        close = event(:close, slow_client)
        # Event streams have no codes.
        expect(close[:code]).to eq(1013) unless protocol == :sse
        expect(ask(slow_client, "[client.open?, client.write('late'), client.pending]")).to eq([false, false, -1])
        expect(story(slow_client).count(:close)).to eq(1)
      end
    end

    it "is not a client that reads, however much is queued" do
      client = opened(websocket)
      client.text("ten megabytes")
      160.times { |number| expect(client.read_message.strip).to eq(number.to_s) }
      client.text("one message")
      expect(client.read_message.bytesize).to eq(10_485_760)
      expect(ask(client, "client.open?")).to be(true)
    end

    it "is not a client for which little is queued" do
      client = slow(:websocket)
      ask(client, 'client.write("little"); nil')
      # The deadline of a slow client that came later has passed.
      slow_client = slow(:websocket)
      write(slow_client, 150)
      event(:close, slow_client)
      expect(client.read_message).to eq("little")
    end
  end

  context "by --max-queued-bytes" do
    serve config, "--max-queued-bytes", "2000000", "--slow-timeout", "3600"

    it "is closed with 1013 and uses no memory beyond the limit" do
      slow_client = slow(:websocket)
      write(opened(websocket), 10)
      before = app.resident
      results = write(slow_client, 4000)
      expect(results.keys).to contain_exactly("true", "false")
      event(:close, slow_client, code: 1013)
      expect(app.resident - before).to be < 100_000 if before
    end

    it "is not a client that gets a single message beyond the limit" do
      client = opened(websocket)
      expect(write(client, 1, size: 5_000_000)).to eq("true" => 1)
      expect(client.read_message.bytesize).to eq(5_000_000)
    end

    it "gets no Close frame and nothing more" do
      slow_client = slow(:websocket)
      write(slow_client, 400)
      event(:close, slow_client)
      expect { loop { slow_client.read_frame } }.to raise_error(RawConnection::Ended)
    end
  end

  context "with --slow-client reject" do
    serve config, "--max-queued-bytes", "2000000", "--slow-timeout", "3600", "--slow-client", "reject"

    it "stays open; write returns false until it has read what is queued" do
      slow_client = slow(:websocket)
      results = write(slow_client, 400)
      expect(results.keys).to contain_exactly("true", "false")
      # The kernel may take some more.
      accepted = results["true"]
      accepted += 1 while ask(slow_client, "client.write('x' * 65_536)")
      expect(ask(slow_client, "client.open?")).to be(true)
      accepted.times { expect(slow_client.read_message.bytesize).to eq(65_536) }
      event(:drained, slow_client)
      expect(ask(slow_client, 'client.write("again")')).to be(true)
      expect(slow_client.read_message).to eq("again")
    end
  end
end
