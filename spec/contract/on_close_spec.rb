# frozen_string_literal: true

require "spec_helper"

# on_close comes exactly once, last, whatever ended the connection. "Exactly once" is only certain when the server has
# ended: so all connections are ended in their ways first, then the server, and then its whole report is read.
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

  # Queues more than the kernel takes for a peer that does not read.
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
    "an oversize message" => [->(client) { client.text("x" * 1001) }, [1009, String]],
    "a protocol error" => [->(client) { client.send_frame(:text, "x", rsv: 1) }, [1002, String]],
    "bad UTF-8" => [->(client) { client.text("\xff") }, [1007, String]],
    "slowness" => [->(client) { ask(client, fill) }, [1013, String]],
    "a raising on_close" => [->(client) { client.finish(1000) }, [1000, ""], "/raising"],
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
    # Slow consumers are told apart by 1013 (section 6), Server-Sent Events have no codes (section 3).
    "slowness" => [->(client) { ask(client, fill) }, [->(code) { [nil, 1013].include?(code) }, ->(_reason) { true }]],
    "a raising on_close" => [->(client) { client.close }, [nil, nil], "/raising"],
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
    # All but the last are ended by what was done to them.
    @streams.each_value do |streams|
      streams.reject { |name, _| name == "shutdown" }.each_value { |stream| event(:close, stream) }
    end
    @status = @app.stop
  end

  ways.each do |protocol, of_protocol|
    of_protocol.each do |name, (_, outcome)|
      it "of a #{protocol} client comes exactly once and last: #{name}" do
        stream = @streams[protocol][name]
        expect(story(stream).count(:close)).to eq(1)
        expect(story(stream).last).to eq(:close)
        close = app.events.all(event: "close", id: stream.id).first
        expect(close.values_at(:code, :reason)).to match(outcome)
      end
    end
  end

  it "is no hindrance to a clean exit" do
    expect(@status).to be_success
  end
end
