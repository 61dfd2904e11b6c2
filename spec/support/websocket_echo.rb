# frozen_string_literal: true

# For specs of the WebSocket protocol: an app that echoes messages, and waits for GATE when a message says so.
module WebSocketEcho
  CONFIG = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    echo = SpecApp::Recorder.new(message: lambda do |client, data|
      GATE.pop if data == "wait"
      data << "d" if data == "change"
      client.write(data)
    end)

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = echo if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  def frame(...) = WebSocketFrame.encode(...)

  # Expects the server's Close frame with this code, the end of the connection, and on_close with the same code. The server
  # reads on for a while after such a Close frame. The client's FIN ends that.
  def expect_failure(client, code)
    expect(client.read_close.first).to eq(code)
    client.connection.finish_writing
    expect(client.ending).to eq(:fin)
    event(:close, client, code: code)
  end
end
