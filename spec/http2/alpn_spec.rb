# frozen_string_literal: true

require "spec_helper"

# How an encrypted connection comes to speak HTTP/2: the client offers protocols, and the server chooses (RFC 7301).
RSpec.describe "HTTP/2 over TLS" do
  localhost = CertificateAuthority.localhost
  config = <<~'CONFIG'
    require "spec_app"

    ECHO = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/push"
        env["rack.upgrade"] = ECHO
        [200, {}, []]
      when "/big" then [200, {}, ["x" * 1_000_000]]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      else
        seen = env.slice("SERVER_PROTOCOL", "rack.url_scheme", "HTTPS", "SERVER_PORT", "SSL_CLIENT_S_DN")
        [200, {}, [JSON.generate(seen)]]
      end
    end)
  CONFIG

  def offering(*protocols, **options) = app.address.with(alpn_protocols: protocols, **options)

  def http2(**options) = closing(Http2Client.new(offering("h2", **options)))

  context "with a server of HTTP/2" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}&ca=#{CertificateAuthority.default.cert}&verify_mode=peer",
          via: :configured)

    { %w[h2] => "h2", %w[http/1.1] => "http/1.1", %w[h2 http/1.1] => "h2", %w[http/1.1 h2] => "h2", %w[spdy/3 h2] => "h2" }
      .each do |offered, chosen|
      it "is chosen if the client offers it: #{offered.join(", ")}" do
        expect(closing(RawConnection.new(offering(*offered))).tls.alpn_protocol).to eq(chosen)
      end
    end

    it "is what the app sees" do
      seen = JSON.parse(http2.get("/", {}, authority: "example.com:8443").body)
      expect(seen).to include("SERVER_PROTOCOL" => "HTTP/2", "rack.url_scheme" => "https", "HTTPS" => "on",
                              "SERVER_PORT" => "8443")
    end

    it "tells the app of the client's certificate" do
      ann = CertificateAuthority.default.issue("ann")
      expect(JSON.parse(http2(client: ann).get("/").body)["SSL_CLIENT_S_DN"]).to include("CN=ann")
    end

    it "gives way to HTTP/1.1 for a client that offers that, or nothing" do
      [offering("http/1.1"), app.address].each do |address|
        response = closing(HttpClient.new(address)).get("/")
        expect(JSON.parse(response.body)["SERVER_PROTOCOL"]).to eq("HTTP/1.1")
      end
    end

    it "carries long bodies in both directions" do
      client = http2
      expect(client.get("/big").body.bytesize).to eq(1_000_000)
      body = Random.bytes(500_000)
      expect(client.request("POST", "/echo", body: body).body).to eq(body)
    end

    it "carries WebSockets and event streams" do
      socket = closing(WebSocketClient.new(offering("h2"), "/push", protocol: :h2))
      expect(socket.text("hello").read_message).to eq("hello")
      stream = closing(SseClient.new(offering("h2"), "/push", protocol: :h2))
      expect(stream).to be_accepted
    end

    it "ends a client that has agreed on it and then speaks HTTP/1" do
      connection = closing(RawConnection.new(offering("h2"))).write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      expect(connection.read_to_end).not_to include("HTTP/1.1 200")
      expect(http2.get("/").status).to eq(200)
    end
  end

  it "is not offered with --no-http2, also after the certificates have changed" do
    start_app(config, "--no-http2", "-b", "ssl://127.0.0.1:0?#{localhost.query}", via: :configured)
    expect_http1 = lambda do
      expect(closing(RawConnection.new(offering("h2", "http/1.1"))).tls.alpn_protocol).to eq("http/1.1")
      expect { closing(RawConnection.new(offering("h2"))) }.to raise_error(OpenSSL::SSL::SSLError)
    end
    expect_http1.call
    app.signal("HUP")
    expect_line(/new certificates/)
    expect_http1.call
  end
end
