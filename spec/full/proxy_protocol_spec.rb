# frozen_string_literal: true

require "spec_helper"

# Behind proxies that pass on bytes and send the PROXY protocol, as docs/proxies.md says: HAProxy in mode tcp, and nginx with its
# stream module. With TLS, the header comes before the handshake.
config = <<~'CONFIG'
  require "spec_app"

  run(lambda do |env|
    env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }) if env["rack.upgrade?"]
    [200, {}, ["#{env["REMOTE_ADDR"]} #{env["HTTP_X_FORWARDED_FOR"]}"]]
  end)
CONFIG
options = %w[--trusted-proxy 127.0.0.1 --proxy-protocol --log-level debug]
ways = { tcp: "", unix: ", by a Unix socket", tls: ", with TLS beyond it" }

[[HAProxy, { mode: :tcp }, HAProxy.missing], [NginxStream, {}, NginxStream.without_version2]].product(ways.to_a)
                                                                                          .each do |(program, how, missing), (transport, way)|
  RSpec.describe "Behind #{program}#{way}, by the PROXY protocol", :full, transport: transport do
    if missing
      before(:context) { skip missing }
    else
      serve config, *options

      before(:context) do
        @proxy = program.new(@app, **how)
        eventually("#{program} to listen") { @proxy.listening? }
      end

      after(:context) { @proxy&.stop }
    end

    # What clients connect to. The proxy passes on TLS as it comes.
    def proxy_address
      transport == :tls ? TlsAddress.of(@proxy.address) : @proxy.address
    end

    # From another address of the loopback network than the proxy's own.
    def client_at(address)
      client = closing(HttpClient.new(proxy_address, from: address))
      client.get("/", { "x-forwarded-for" => "6.6.6.6" }).body
    end

    it "the app has the addresses of the clients" do
      expect(client_at("127.0.0.7")).to eq("127.0.0.7 ")
      expect(client_at("127.0.0.9")).to eq("127.0.0.9 ")
    end

    it "a WebSocket sends and receives messages, and its loss is noticed" do
      socket = closing(WebSocketClient.new(proxy_address, "/?#{id = Serving.next_name}", id: id))
      socket.text("hello")
      expect(socket.read_message).to eq("hello")
      socket.reset
      expect_event(:close, socket, code: 1006)
    end

    it "health checks leave no line in the log" do
      expect(client_at("127.0.0.7")).to start_with("127.0.0.7")
      expect(app.output).not_to include("is closed:")
    end
  end
end

# What nginx sends by default, and older ones always.
ways.each do |transport, way|
  RSpec.describe "Behind NginxStream#{way}, by version 1 of the PROXY protocol", :full, transport: transport do
    if (missing = NginxStream.missing)
      before(:context) { skip missing }
    else
      serve config, *options
    end

    it "connections are closed, and the log says what to do" do
      proxy = NginxStream.new(app, sends: 1)
      eventually("nginx to listen") { proxy.listening? }
      client = closing(RawConnection.new(proxy.address))
      client.offer("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      expect(client.read_to_end).to eq("")
      expect_line(/warn: a connection from the proxy .* is closed: .*header of version 1: have the proxy send version 2/)
    ensure
      proxy&.stop
    end
  end
end
