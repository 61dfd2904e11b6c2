# frozen_string_literal: true

require "spec_helper"

# An upgrade that the app declines leaves an ordinary connection: what follows is read as ever, however it comes. It was
# held back until it was decided for whom it is.
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

  # An upgradeable request, which the app declines.
  def declined(protocol, headers, path: "/")
    client = http.send_request("GET", path, headers)
    yield client if block_given?
    expect(client.read_response).to have_attributes(status: 403, body: ":#{protocol} ")
    client
  end

  requests.each do |protocol, headers|
    it "takes a head that comes byte by byte (#{protocol})" do
      client = declined(protocol, headers.call)
      3.times do
        next_request.each_char do |byte|
          client.write(byte)
          # Each by itself: this is answered by the reactor that read the byte before.
          get("/")
        end
        expect(client.read_response.body).to eq("nil hello")
      end
    end

    [0, 1, 30, next_request.size - 7, next_request.size - 1].each do |size|
      it "takes a request of which #{size} bytes came before it was decided (#{protocol})" do
        client = declined(protocol, headers.call, path: "/wait") do |waiting|
          waiting.write(next_request.byteslice(0, size)) unless size.zero?
          app.events.take(event: "call", path: "/wait")
          # Read after what was sent before it.
          expect(get("/").body).to eq("nil ")
          app.ask("GATE << true; nil")
        end
        next_request.byteslice(size..).each_char { |byte| client.write(byte) }
        expect(client.read_response.body).to eq("nil hello")
        expect(client.get("/").body).to eq("nil ")
      end
    end

    it "may be asked again and again (#{protocol})" do
      client = declined(protocol, headers.call)
      20.times do
        client.send_request("GET", "/", headers.call)
        expect(client.read_response.body).to eq(":#{protocol} ")
      end
    end
  end
end
