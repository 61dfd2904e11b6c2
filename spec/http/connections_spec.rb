# frozen_string_literal: true

require "spec_helper"

# Several requests on one connection.
RSpec.describe "A connection" do
  serve <<~'CONFIG', "--threads", "4"
    require "spec_app"

    GATE = Queue.new

    # Without Rack::Lint, whose bodies have no length on Rack 2.
    run(lambda do |env|
      name = env["PATH_INFO"].delete_prefix("/")
      SpecApp.report(:call, path: env["PATH_INFO"])
      case name
      when "wait" then GATE.pop
      when /slow/ then sleep(0.02)
      when "close" then return [200, { "content-type" => "text/plain", "connection" => "close" }, ["closing"]]
      when "close-stream" then return [200, { "content-type" => "text/plain", "connection" => "x-a, Close" }, ["closing"].each]
      end
      body = name.include?("stream") ? [name].each : [name]
      [200, { "content-type" => "text/plain" }, body]
    end)
  CONFIG

  it "stays open for further requests" do
    client = http
    expect((1..20).map { |number| client.get("/#{number}").body }).to eq((1..20).map(&:to_s))
  end

  it "is closed after a request with connection: close" do
    client = http
    response = client.get("/last", { "connection" => "close" })
    expect(response.body).to eq("last")
    expect(response["connection"]).to eq("close")
    expect(client.connection.ending).to eq(:fin)
  end

  it "is closed after a response with connection: close" do
    client = http
    expect(client.get("/close")["connection"]).to eq("close")
    expect(client.connection.ending).to eq(:fin)
  end

  it "is closed after a request of HTTP/1.0" do
    client = http
    response = client.get("/old", {}, version: "1.0")
    expect(response.body).to eq("old")
    expect(client.connection.ending).to eq(:fin)
  end

  it "of HTTP/1.0 stays open when the client asks for it and the response allows it" do
    client = http
    2.times do
      response = client.get("/old", { "connection" => "keep-alive" }, version: "1.0")
      expect(response["connection"]).to eq("keep-alive")
      expect(response).to have_attributes(framing: :length, body: "old")
    end
  end

  # A client that asked to keep the connection is told once that it ends (RFC 9112 section 9.6).
  { "a body without a length" => ["/stream", {}, 200], "a response with connection: close" => ["/close", {}, 200],
    "a streamed response with connection: close" => ["/close-stream", {}, 200], "a bad Host" => ["/", { "host" => "a b" }, 400],
    "a body that is too large" => ["/", { "content-length" => (1 << 40).to_s }, 413] }.each do |what, (path, headers, status)|
    it "of HTTP/1.0 is closed, and the response says so: #{what}" do
      client = http
      client.send_request("GET", path, { "connection" => "keep-alive" }.merge(headers), version: "1.0")
      response = client.read_response
      expect(response).to have_attributes(status: status)
      expect(response.all("connection")).to eq(["close"])
      expect(client.connection.ending).not_to be_nil
    end
  end

  it "answers pipelined requests in order, even if some take longer" do
    client = http
    names = (1..20).map { |number| "#{number}#{%w[-slow -quick -stream -slow-stream][number % 4]}" }
    client.write(names.map { |name| "GET /#{name} HTTP/1.1\r\nhost: x\r\n\r\n" }.join)
    expect(names.map { client.read_response.body }).to eq(names)
  end

  it "answers pipelined requests of different kinds in order" do
    client = http
    client.write("HEAD /head HTTP/1.1\r\nhost: x\r\n\r\n" \
                 "POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello" \
                 "POST /chunks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" \
                 "GET /get HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    expect(client.read_response("HEAD").framing).to eq(:none)
    expect(client.read_response.body).to eq("post")
    # A server may close after a request in chunks (RFC 9112 section 6.1), so what follows is not asserted.
    expect(client.read_response.body).to eq("chunks")
  end

  it "accepts a request that comes byte by byte" do
    client = http
    "GET /bytes HTTP/1.1\r\nhost: x\r\n\r\n".each_char { |byte| client.write(byte) }
    expect(client.read_response.body).to eq("bytes")
  end

  it "that the client resets while its request runs does not disturb other requests" do
    client = http
    client.send_request("GET", "/wait")
    app.events.take(event: "call", path: "/wait")
    client.connection.reset
    app.ask("GATE << true; nil")
    expect(get("/next").body).to eq("next")
  end

  it "is closed with 400 if the request is not HTTP" do
    client = http
    client.write("what is this\r\n\r\n")
    expect(client.read_response.status).to eq(400)
    expect(client.connection.ending).to eq(:fin).or eq(:reset)
  end

  it "can be one of a hundred" do
    clients = Array.new(100) { http }
    clients.each_with_index { |client, number| client.send_request("GET", "/#{number}") }
    expect(clients.map { |client| client.read_response.body }).to eq((0..99).map(&:to_s))
  end
end
