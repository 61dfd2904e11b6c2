# frozen_string_literal: true

require "spec_helper"

# Behind HAProxy in mode tcp, with send-proxy-v2, as docs/proxies.md says.
{ tcp: "Behind HAProxy", unix: "Behind HAProxy, by a Unix socket,", tls: "Behind HAProxy, with TLS beyond it," }.each do |transport, title|
  RSpec.describe title, :full, transport: transport do
    config = <<~'CONFIG'
      require "spec_app"

      run(lambda do |env|
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }) if env["rack.upgrade?"]
        [200, {}, ["#{env["REMOTE_ADDR"]} #{env["HTTP_X_FORWARDED_FOR"]}"]]
      end)
    CONFIG

    if HAProxy.version
      serve config, *%w[--trusted-proxy 127.0.0.1 --proxy-protocol --log-level debug]

      before(:context) do
        @haproxy = HAProxy.new(@app, mode: :tcp)
        eventually("HAProxy to listen") { @haproxy.listening? }
      end

      after(:context) { @haproxy&.stop }
    else
      before(:context) { skip "There is no haproxy here" }
    end

    # What clients connect to. HAProxy passes on TLS as it comes.
    def proxy_address
      transport == :tls ? TlsAddress.of(@haproxy.address) : @haproxy.address
    end

    # From another address of the loopback network than the proxy's own.
    def client_at(address)
      client = closing(HttpClient.new(proxy_address, from: address))
      client.get("/", { "x-forwarded-for" => "6.6.6.6" }).body
    end

    it "has the addresses of the clients" do
      expect(client_at("127.0.0.7")).to eq("127.0.0.7 ")
      expect(client_at("127.0.0.9")).to eq("127.0.0.9 ")
    end

    it "passes WebSockets on" do
      socket = closing(WebSocketClient.new(proxy_address))
      socket.text("hello")
      expect(socket.read_message).to eq("hello")
    end

    it "answers health checks without a line in the log" do
      expect(client_at("127.0.0.7")).to start_with("127.0.0.7")
      expect(app.output).not_to include("is closed:")
    end
  end
end
