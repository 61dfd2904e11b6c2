# frozen_string_literal: true

require "spec_helper"
require "ipaddr"

# --trusted-proxy and --proxy-protocol: who the client is, when a proxy says so.
RSpec.describe "Trusted proxies" do
  config = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      request = Rack::Request.new(env)
      seen = env.slice("REMOTE_ADDR", "rack.url_scheme", "SERVER_PORT", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED")
      [200, {}, [JSON.generate(seen.merge(ip: request.ip, scheme: request.scheme, base_url: request.base_url))]]
    end)
  CONFIG

  # What the app sees of a request, as Symbols.
  def seen(headers = {}, client: http)
    JSON.parse(client.get("/", headers).body, symbolize_names: true)
  end

  def forwarded(address, proto = "https")
    { "X-Forwarded-For" => address, "X-Forwarded-Proto" => proto, "Host" => "example.com" }
  end

  context "without the options" do
    serve(config)

    it "leaves the headers to the app, and says who has connected" do
      expect(seen(forwarded("203.0.113.9"))).to include(
        REMOTE_ADDR: "127.0.0.1", "rack.url_scheme": "http", HTTP_X_FORWARDED_FOR: "203.0.113.9"
      )
    end

    it "refuses a PROXY protocol header as a malformed request" do
      connection = RawConnection.new(app.address)
      connection.write("\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      expect(connection.read_to_end).to start_with("HTTP/1.1 400 ")
    end
  end

  context "with --trusted-proxy" do
    serve(config, *%w[--trusted-proxy 127.0.0.1 --trusted-proxy 10.0.0.0/8,::1 --access-log common])

    it "has the client's address and scheme in the env, and Rack::Request agrees" do
      expect(seen(forwarded("203.0.113.9"))).to include(
        REMOTE_ADDR: "203.0.113.9", "rack.url_scheme": "https", SERVER_PORT: "443",
        ip: "203.0.113.9", scheme: "https", base_url: "https://example.com"
      )
    end

    it "takes the rightmost address that is not that of a proxy, and drops what the client has made up" do
      headers = forwarded("6.6.6.6, 10.9.9.9, 203.0.113.9, 10.1.1.1", "http").merge("Forwarded" => "for=6.6.6.6;proto=https")
      expect(seen(headers)).to eq(
        REMOTE_ADDR: "203.0.113.9", "rack.url_scheme": "http", SERVER_PORT: "80",
        HTTP_X_FORWARDED_FOR: "203.0.113.9, 10.1.1.1",
        ip: "203.0.113.9", scheme: "http", base_url: "http://example.com"
      )
    end

    it "has the proxy's own address for a request without a client" do
      expect(seen).to include(REMOTE_ADDR: "127.0.0.1", "rack.url_scheme": "http")
    end

    it "keeps the port that the client has named" do
      expect(seen(forwarded("203.0.113.9").merge("Host" => "example.com:8443"))).to include(
        SERVER_PORT: "8443", base_url: "https://example.com:8443"
      )
    end

    it "tells each request of a connection by itself" do
      client = http
      addresses = %w[203.0.113.1 203.0.113.2].map { |address| seen(forwarded(address), client: client)[:REMOTE_ADDR] }
      expect(addresses).to eq(%w[203.0.113.1 203.0.113.2])
    end

    it "has the client's address in the access log, and for push clients" do
      socket = opened(websocket(headers: forwarded("203.0.113.77").merge("Origin" => "https://example.com")))
      expect(ask(socket, "client.inspect")).to include("203.0.113.77")
      expect(ask(socket, "client.env['rack.url_scheme']")).to eq("https")
      expect(seen(forwarded("203.0.113.78"))[:REMOTE_ADDR]).to eq("203.0.113.78")
      expect_line(/^203\.0\.113\.78 - /)
    end
  end

  context "with --trusted-proxy for others" do
    serve(config, *%w[--trusted-proxy 192.0.2.1])

    it "believes nothing that clients say, and Rack::Request agrees" do
      expect(seen(forwarded("203.0.113.9").merge("Forwarded" => "for=6.6.6.6;proto=https"))).to eq(
        REMOTE_ADDR: "127.0.0.1", "rack.url_scheme": "http", SERVER_PORT: "80",
        ip: "127.0.0.1", scheme: "http", base_url: "http://example.com"
      )
    end
  end

  context "with --proxy-protocol" do
    serve(config, *%w[--trusted-proxy 127.0.0.1 --proxy-protocol --head-timeout 1])

    request = "GET / HTTP/1.1\r\nhost: example.com\r\n\r\n"
    signature = "\r\n\r\n\0\r\nQUIT\n".b
    tcp4 = ->(address) { IPAddr.new(address).hton + IPAddr.new("192.0.2.1").hton + [4711, 80].pack("nn") }
    header = ->(command, family, rest) { signature + [command, family, rest.bytesize].pack("CCn") + rest }

    def answer_to(bytes)
      client = http
      client.write(bytes)
      JSON.parse(client.read_response.body, symbolize_names: true)
    end

    {
      "TCP over IPv4" => [header[0x21, 0x11, tcp4["203.0.113.9"]], "203.0.113.9"],
      "extensions" => [header[0x21, 0x11, "#{tcp4["203.0.113.9"]}\x04\x00\x03abc"], "203.0.113.9"],
      "TCP over IPv6" => [header[0x21, 0x21, (IPAddr.new("2001:db8::9").hton * 2) + [1, 2].pack("nn")], "2001:db8::9"],
      "a Unix socket" => [header[0x21, 0x31, "\0" * 216], "127.0.0.1"],
      "an unknown family" => [header[0x21, 0x00, ""], "127.0.0.1"],
      "a health check (LOCAL)" => [header[0x20, 0x00, ""], "127.0.0.1"]
    }.each do |what, (bytes, address)|
      it "takes the client's address from a header with #{what}" do
        expect(answer_to(bytes + request)).to include(REMOTE_ADDR: address, ip: address)
      end
    end

    it "reads a header that comes byte by byte" do
      client = http
      (header[0x21, 0x11, tcp4["203.0.113.9"]] + request).each_char { |byte| client.write(byte) }
      expect(JSON.parse(client.read_response.body)).to include("REMOTE_ADDR" => "203.0.113.9")
    end

    it "does not believe the X-Forwarded-For of the client that the header names" do
      forged = request.sub("\r\n\r\n", "\r\nx-forwarded-for: 6.6.6.6\r\n\r\n")
      answer = answer_to(header[0x21, 0x11, tcp4["203.0.113.9"]] + forged)
      expect(answer).to include(REMOTE_ADDR: "203.0.113.9", ip: "203.0.113.9")
    end

    {
      "no header" => request,
      "version 1" => "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n#{request}",
      "an unknown command" => header[0x22, 0x11, tcp4["203.0.113.9"]] + request,
      "addresses that are cut off" => header[0x21, 0x11, "123"] + request,
      "a length without end" => signature + [0x21, 0x11, 0xffff].pack("CCn"),
      "datagrams" => header[0x21, 0x12, tcp4["203.0.113.9"]] + request
    }.each do |what, bytes|
      it "closes a connection that begins with #{what}" do
        connection = RawConnection.new(app.address)
        connection.offer(bytes)
        expect(connection.read_to_end).to eq("")
        expect_line(/warn: a connection from the proxy .* is closed: .*PROXY protocol/)
      end
    end

    it "says what to do if a proxy sends version 1" do
      start_app(config, *%w[--trusted-proxy 127.0.0.1 --proxy-protocol])
      RawConnection.new(app.address).offer("PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n#{request}")
      expect_line(/warn: .* is closed: it begins with a PROXY protocol header of version 1: have the proxy send version 2/)
    end

    it "closes a connection whose header does not come within head_timeout" do
      connection = RawConnection.new(app.address)
      connection.write(signature)
      expect(connection.ending).to eq(:fin)
    end
  end

  {
    %w[--trusted-proxy localhost] => /--trusted-proxy cannot be .*localhost.*: give addresses and networks/,
    %w[--trusted-proxy 10.0.0.0/33] => %r{--trusted-proxy cannot be .*10\.0\.0\.0/33.*: give addresses and networks},
    %w[--proxy-protocol] => /proxy_protocol needs trusted_proxy/
  }.each do |options, message|
    it "refuses #{options.join(" ")}" do
      launch_app(config, *options)
      expect(app.wait).not_to be_success
      expect(app.output).to match(message)
    end
  end
end
