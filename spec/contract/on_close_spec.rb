# frozen_string_literal: true

require "spec_helper"

# on_close is called exactly once, as the last callback, however the connection ends. "Exactly once" is certain only after
# the server has ended. So first all connections are ended, each in its way, then the server. Then all its events are read.
RSpec.describe "on_close" do
  config = <<~'CONFIG'
    require "spec_app"

    handler = SpecApp::Recorder.new(close: ->(client, *) { raise "on_close failed" if client.env["PATH_INFO"] == "/raising" })

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG
  limits = %w[--pong-timeout 0.3 --close-timeout 0.3 --max-message-size 1000 --slow-bytes 100000 --slow-timeout 1
              --drain-timeout 5]

  # Queues more than the kernel buffers for a client that does not read.
  fill = "200.times { client.write('x' * 50_000) }; nil"

  # Each way: what the spec does to an open client, and what on_close gets of it.
  websocket_ways = {
    "the client's Close frame" => [->(client) { client.finish(4001, "bye") }, [4001, "bye"]],
    "the client's Close frame without a code" => [->(client) { client.finish(nil) }, [1005, ""]],
    "a Close frame and a reset together" => [lambda do |client|
      client.send_close(4001, "bye")
      client.reset
    end, [->(code) { [4001, 1006].include?(code) }, String]],
    "FIN" => [->(client) { client.close }, [1006, ""]],
    "RST" => [->(client) { client.reset }, [1006, ""]],
    "the app's close" => [lambda do |client|
      ask(client, 'client.close(4002, "enough")')
      client.finish(4002)
    end, [4002, "enough"]],
    "the app's close, not answered" => [lambda do |client|
      ask(client, 'client.close(4002, "enough")')
      client.read_close
    end, [4002, "enough"]],
    "the app's close, answered by a reset" => [lambda do |client|
      ask(client, 'client.close(4002, "enough")')
      client.reset
    end, [4002, "enough"]],
    "a write error" => [lambda do |client|
      ask(client, fill)
      client.reset
    end, [1006, ""]],
    "no pong" => [->(client) { ask(client, "client.timeout = 0.1; nil") }, [1006, ""]],
    "a message that is too large" => [->(client) { client.text("x" * 1001) }, [1009, String]],
    "a protocol error" => [->(client) { client.send_frame(:text, "x", rsv: 1) }, [1002, String]],
    "bad UTF-8" => [->(client) { client.text("\xff") }, [1007, String]],
    "a slow client" => [->(client) { ask(client, fill) }, [1013, String]],
    "an on_close that raises" => [->(client) { client.finish(1000) }, [1000, ""], "/raising"],
    "shutdown" => [->(_client) {}, [1001, String]]
  }
  sse_ways = {
    "FIN" => [->(client) { client.close }, [nil, nil]],
    "RST" => [->(client) { client.reset }, [nil, nil]],
    "the app's close" => [->(client) { ask(client, "client.close; nil") }, [nil, nil]],
    "a write error" => [lambda do |client|
      ask(client, fill)
      client.reset
    end, [nil, nil]],
    # A slow consumer gets 1013, but an event stream has no codes.
    "a slow client" => [->(client) { ask(client, fill) }, [->(code) { [nil, 1013].include?(code) }, ->(_reason) { true }]],
    "an on_close that raises" => [->(client) { client.close }, [nil, nil], "/raising"],
    "shutdown" => [->(_client) {}, [nil, nil]]
  }
  ways = { websocket: websocket_ways, sse: sse_ways }

  before(:context) do
    start_app(config, *limits)
    @streams = ways.to_h do |protocol, of_protocol|
      [protocol, of_protocol.transform_values { |_, _, path| public_send(protocol, path || "/", receive_buffer: 4096) }]
    end
    ways.each do |protocol, of_protocol|
      of_protocol.each do |name, (way, _)|
        stream = @streams[protocol][name]
        event(:open, stream)
        instance_exec(stream, &way)
      end
    end
    # All have ended by now, except those that the shutdown ends.
    @streams.each_value do |streams|
      streams.reject { |name, _| name == "shutdown" }.each_value { |stream| event(:close, stream) }
    end
    @status = @app.stop
  end

  ways.each do |protocol, of_protocol|
    of_protocol.each do |name, (_, outcome)|
      it "of #{protocol == :sse ? "an event stream" : "a WebSocket"} is called exactly once and last: #{name}" do
        stream = @streams[protocol][name]
        expect(story(stream).count(:close)).to eq(1)
        expect(story(stream).last).to eq(:close)
        close = app.events.all(event: "close", id: stream.id).first
        expect(close.values_at(:code, :reason)).to match(outcome)
      end
    end
  end

  it "does not keep the server from a clean exit" do
    expect(@status).to be_success
  end
end
