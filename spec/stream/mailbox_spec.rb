# frozen_string_literal: true

require "spec_helper"

# A client that sends faster than its handler works is slowed down by flow control. Its messages do not pile up in memory.
RSpec.describe "A full mailbox" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    handler = SpecApp::Recorder.new
    # Does not report messages.
    def handler.on_message(client, data)
      GATE.pop if data == "wait"
      client[:bytes] = client[:bytes].to_i + data.bytesize
      client.write(client[:bytes].to_s) if data == "total"
    end

    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  # Sends the same frame up to `limit` times, until the kernel takes nothing more. Returns the number of frames begun, and the
  # rest of the last one.
  def flood(client, frame, limit:)
    connection = client.connection
    limit.times do |frames|
      rest = frame
      until rest.empty?
        sent = connection.write_some(rest)
        return [frames + 1, rest] if sent.zero? && !connection.takes_more?(1)

        rest = rest.byteslice(sent..)
      end
    end
    [limit, ""]
  end

  { "messages" => ["--mailbox-messages", "8"], "bytes" => ["--mailbox-bytes", "200000"] }.each do |unit, options|
    context "of #{unit}" do
      serve config, "--threads", "2", *options

      it "stops the server from reading from this client; nothing is lost, and others are served" do
        client = opened(websocket)
        client.text("wait")
        before = app.resident
        frame = WebSocketFrame.encode(:binary, "x" * 60_000)
        frames, rest = flood(client, frame, limit: 4000)
        expect(frames).to be < 4000
        expect(app.resident - before).to be < 60_000 if before
        # Another client is served meanwhile.
        other = websocket
        other.text("total")
        expect(other.read_message).to eq("5")
        app.ask("GATE << true; nil")
        client.write(rest)
        client.text("total")
        expect(client.read_message).to eq((4 + (frames * 60_000) + 5).to_s)
      end
    end
  end
end
