# frozen_string_literal: true

require "spec_helper"

# permessage-deflate with the clients of others: the combinations of window bits and context takeover that
# they can offer.
RSpec.describe "With compression, clients of others:" do
  config = <<~'CONFIG'
    require "spec_app"

    # With a query, the page tells the app by itself what it got.
    PAGE = <<~HTML
      <!doctype html>
      <script>
        async function talk() {
          const socket = new WebSocket(location.origin.replace("http", "ws"))
          socket.binaryType = "arraybuffer"
          await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
          const text = JSON.stringify(Array.from({ length: 5000 }, (_, id) => ({ id, name: `Ana ${id}`, grüße: "😀" })))
          const same = []
          // Twice, so that a message may refer to the one before.
          for (const message of ["", "short", text.slice(0, 700), text, text]) {
            for (const data of [message, new TextEncoder().encode(message)]) {
              const answer = new Promise((resolve) => { socket.onmessage = resolve })
              socket.send(data)
              const got = (await answer).data
              same.push(typeof got === "string" ? got === data : new TextDecoder().decode(got) === message)
            }
          }
          const closed = new Promise((resolve) => { socket.onclose = resolve })
          socket.close(1000)
          return { extensions: socket.extensions, same, code: (await closed).code }
        }
        if (location.search) talk().then((told) => fetch("/told", { method: "POST", body: JSON.stringify(told) }))
      </script>
    HTML

    echo = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })
    run(lambda do |env|
      env["rack.upgrade"] = echo if env["rack.upgrade?"]
      SpecApp.report(:told, **JSON.parse(env["rack.input"].read, symbolize_names: true)) if env["PATH_INFO"] == "/told"
      [200, { "content-type" => "text/html; charset=utf-8" }, [PAGE]]
    end)
  CONFIG

  serve config, "--websocket-compression"

  def address = "ws://127.0.0.1:#{app.port}/"

  # No window of 8 bits for what the server sends.
  def declined?(bits) = bits == 8

  def expect_results(results, count)
    expect(results.size).to eq(count)
    results.each do |result|
      server_bits = result[:offer].values_at(:serverMaxWindowBits, :server_max_window_bits).compact.first
      expect(result).to include(same: 21, code: 1000)
      expect(result[:extensions].to_s.empty?).to be(declined?(server_bits)), result.to_s
    end
  end

  def expect_compression
    before = app.ask("PushServer.stats")
    expect(yield).to include(same: [true] * 10, code: 1000, extensions: start_with("permessage-deflate"))
    after = app.ask("PushServer.stats")
    # Three of the five texts, and as many arrays of bytes, have at least 512 bytes.
    expect(after[:deflations] - before[:deflations]).to eq(6)
    expect(after[:inflations] - before[:inflations]).to be_between(6, 10)
  end

  it "Chromium gets and sends all messages, most of them compressed" do
    skip Script.missing(:chromium) if Script.missing(:chromium)
    expect_compression { Script.run("compressed_page.js", app.url) }
  end

  context "over HTTP/2", transport: :tls do
    serve config, "--websocket-compression"

    it "Chromium gets and sends all messages, in one connection" do
      skip Script.missing(:chromium) if Script.missing(:chromium)
      expect_compression { Script.run("compressed_page.js", app.url) }
      expect(app.ask("PushServer.stats.values_at(:h2_connections, :connections, :websockets)")).to eq([1, 1, 1])
    end
  end

  it "Firefox gets and sends all messages, most of them compressed", :full do
    skip Firefox.missing if Firefox.missing
    firefox = Firefox.new("#{app.url}/page?tell")
    expect_compression { app.events.take(event: "told", seconds: 60) }
  ensure
    firefox&.stop
  end

  { some: [48, 36], all: [360, 324] }.each do |extent, (of_ws, of_websockets)|
    metadata = extent == :all ? { full: true } : {}

    it "npm's ws gets and sends all messages, with #{extent} of its offers", **metadata do
      skip Script.missing(:node) if Script.missing(:node)
      results = Script.run("compressed_ws_client.js", address, extent.to_s)
      expect_results(results, of_ws)
      expect(results.reject { |result| result[:smaller] || declined?(result[:offer][:serverMaxWindowBits]) }).to eq([])
    end

    it "PyPI's websockets gets and sends all messages, with #{extent} of its offers", **metadata do
      skip Script.missing(:python) if Script.missing(:python)
      expect_results(Script.run("compressed_websockets_client.py", address, extent.to_s), of_websockets)
    end
  end
end
