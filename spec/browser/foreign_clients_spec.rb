# frozen_string_literal: true

require "spec_helper"

# WebSocket and EventSource clients of others.
RSpec.describe "Clients of others:" do
  serve <<~'CONFIG', "--close-timeout", "5", "--retry-min", "100", "--retry-max", "200"
    require "spec_app"

    socket = SpecApp::Recorder.new(message: lambda do |client, data|
      case data
      when "close me" then client.close(4002, "as you wish é")
      when "ping me" then client.timeout = 0.05
      end
      client.write(data)
    end)

    # The first time the stream ends after three events, the second time it ends for good.
    stream = SpecApp::Recorder.new(open: lambda do |client|
      if client.last_event_id
        client.write("again after #{client.last_event_id}", event: "end")
      else
        client.write("one\ntwo", id: "1")
        client.write("nameless", event: nil)
        client.write("grüße 😀", event: "tick", id: "2")
        client.close
      end
    end)

    run(lambda do |env|
      env["rack.upgrade"] = env["rack.upgrade?"] == :websocket ? socket : stream
      [200, {}, []]
    end)
  CONFIG

  def closes(name) = app.events.take(event: "close", id: name)

  def expect_websocket_to_work(results)
    expect(results).to include(text: { same: true, binary: false }, binary: { same: true, binary: true },
                               largeText: { same: true, binary: false }, largeBinary: { same: true, binary: true },
                               fragmented: "in three parts", pong: "are you there?",
                               closedByClient: [4001, "bye"], closedByServer: [4002, "as you wish é"])
  end

  it "npm's ws sends and gets text, bytes, 1 MiB, fragments, pings and Close frames" do
    skip Script.missing(:node) if Script.missing(:node)
    results = Script.run("ws_client.js", "ws://127.0.0.1:#{app.port}")
    expect_websocket_to_work(results)
    expect(results[:pings]).to be >= 2
    expect(closes("ws")).to include(code: 4001, reason: "bye")
    expect(closes("ws-closed-by-server")).to include(code: 4002, reason: "as you wish é")
  end

  it "PyPI's websockets sends and gets text, bytes, 1 MiB, fragments, pings and Close frames" do
    skip Script.missing(:python) if Script.missing(:python)
    expect_websocket_to_work(Script.run("websockets_client.py", "ws://127.0.0.1:#{app.port}"))
    expect(closes("py")).to include(code: 4001, reason: "bye")
    expect(closes("py-closed-by-server")).to include(code: 4002, reason: "as you wish é")
  end

  it "npm's eventsource gets events, names, IDs and lines, and reconnects with the last ID" do
    skip Script.missing(:node) if Script.missing(:node)
    results = Script.run("eventsource_client.js", app.url)
    expect(results[:opened]).to eq(2)
    expect(results[:events].map(&:values)).to eq([["msg", "one\ntwo"], %w[message nameless], ["tick", "grüße 😀"],
                                                  ["end", "again after 2"]])
  end
end
