# frozen_string_literal: true

require "spec_helper"

# After an upgrade that the app declines, the connection goes on with HTTP. Bytes that come while the app decides are kept back
# until it has decided.
RSpec.describe "A connection whose upgrade was declined" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    GATE = Queue.new
    run(lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"])
      GATE.pop if env["PATH_INFO"] == "/wait"
      [403, { "content-type" => "text/plain" }, ["#{env["rack.upgrade?"].inspect} #{env["rack.input"].read}"]]
    end)
  CONFIG

  requests = { "websocket" => -> { WebSocketClient.handshake }, "sse" => -> { { "accept" => "text/event-stream" } } }
  next_request = "POST /next HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello"

  # A client whose request for an upgrade was declined.
  def declined(protocol, headers, path: "/")
    client = http.send_request("GET", path, headers)
    yield client if block_given?
    expect(client.read_response).to have_attributes(status: 403, body: ":#{protocol} ")
    client
  end

  requests.each do |protocol, headers|
    it "accepts a request that comes byte by byte (#{protocol})" do
      client = declined(protocol, headers.call)
      3.times do
        next_request.each_char do |byte|
          client.write(byte)
          # Makes the server read each byte by itself: the same reactor answers this.
          get("/")
        end
        expect(client.read_response.body).to eq("nil hello")
      end
    end

    [0, 1, 30, next_request.size - 7, next_request.size - 1].each do |size|
      it "accepts a request of which #{size} bytes came before the app had decided (#{protocol})" do
        client = declined(protocol, headers.call, path: "/wait") do |waiting|
          waiting.write(next_request.byteslice(0, size)) unless size.zero?
          app.events.take(event: "call", path: "/wait")
          # The server reads this after the bytes that were sent before.
          expect(get("/").body).to eq("nil ")
          app.ask("GATE << true; nil")
        end
        next_request.byteslice(size..).each_char { |byte| client.write(byte) }
        expect(client.read_response.body).to eq("nil hello")
        expect(client.get("/").body).to eq("nil ")
      end
    end

    it "can be asked for an upgrade again (#{protocol})" do
      client = declined(protocol, headers.call)
      20.times do
        client.send_request("GET", "/", headers.call)
        expect(client.read_response.body).to eq(":#{protocol} ")
      end
    end
  end
end
