# frozen_string_literal: true

require "spec_helper"

# A server that stops does not wait for hijacked connections. Where it copies between the client and the app, it tells the app that
# the input has ended, and cuts the connection if the app does nothing about that.
RSpec.describe "A hijacked connection when the server stops" do
  config = <<~'CONFIG'
    require "spec_app"

    KEPT = []

    run(lambda do |env|
      next [200, {}, []] if env["PATH_INFO"] == "/"

      KEPT << io = env["rack.hijack"].call
      io.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
      if env["PATH_INFO"] == "/deaf"
        io.write("ready\n")
      else
        Thread.new do
          while (line = io.gets)
            io.write(line)
          end
          io.write("goodbye")
          io.close
        end
      end
      [-1, {}, []]
    end)
  CONFIG

  # Nothing but these connections would keep the server.
  options = ["--drain-timeout", "300", "--close-timeout", "0.1"]

  def hijack(path, behind)
    connection = closing(RawConnection.new(app.address))
    connection.write("GET #{path} HTTP/1.1\r\nhost: x\r\n\r\n#{behind}")
    connection.read_until("ready\n")
    connection
  end

  # Bytes behind the request make the server copy, and TLS does so always.
  { "that the server copies to" => "ready\n", "that is the app's own" => "" }.each do |title, behind|
    it "#{title} does not keep it from stopping" do
      start_app(config, *options)
      connection = hijack("/deaf", behind)
      app.signal("TERM")
      expect(app.wait).to be_success
      expect(%i[fin reset truncated]).to include(connection.ending)
    end
  end

  it "that the server copies to sends what the app says when its input ends" do
    start_app(config, *options, "--close-timeout", "300")
    connection = hijack("/polite", "ready\n")
    app.signal("TERM")
    connection.read_until("goodbye")
    expect(connection.ending).to eq(:fin)
    expect(app.wait).to be_success
  end

  it "that is a WebSocket over HTTP/2 sends what the app says when its input ends" do
    start_app(config, *options, "--close-timeout", "300")
    client = closing(Http2Client.new(app.address))
    stream = client.send_request("CONNECT", "/polite", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
    client.send_data(stream, "ready\n")
    seen = +""
    seen << client.read_of(stream).payload until seen.include?("ready\n")
    app.signal("TERM")
    seen << client.read_of(stream).payload until seen.include?("goodbye")
    expect(app.wait).to be_success
  end

  it "that is a WebSocket over HTTP/2 does not keep it from stopping" do
    start_app(config, *options)
    client = closing(Http2Client.new(app.address))
    stream = client.send_request("CONNECT", "/deaf", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
    seen = +""
    seen << client.read_of(stream).payload until seen.include?("ready\n")
    app.signal("TERM")
    expect(app.wait).to be_success
  end
end
