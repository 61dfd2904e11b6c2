# frozen_string_literal: true

require "spec_helper"

# What a server and its clients agree on before the first request.
RSpec.describe "A TLS handshake" do
  authority = CertificateAuthority.default
  stranger = CertificateAuthority.new("Another CA")
  localhost = CertificateAuthority.localhost
  config = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      seen = env.slice("rack.url_scheme", "HTTPS", "SERVER_PORT", "SSL_CLIENT_VERIFY", "SSL_CLIENT_S_DN", "SSL_CLIENT_I_DN",
                       "SSL_CLIENT_M_SERIAL", "SSL_CLIENT_CERT", "SSL_CLIENT_V_START", "SSL_CLIENT_V_END")
      seen["peercert"] = env["puma.peercert"].subject.to_utf8 if env["puma.peercert"]
      [200, {}, [JSON.generate(seen)]]
    end)
  CONFIG

  # As openssl prints it.
  def time(time) = time.utc.strftime("%b %e %H:%M:%S %Y GMT")

  def bind(query) = ["-b", "ssl://127.0.0.1:0?#{query}"]

  # The connection of a client with these options, after the handshake.
  def connect(**options) = closing(RawConnection.new(app.address.with(**options)))

  def client(**options) = http_over(app.address.with(**options))

  def http_over(address) = closing(HttpClient.new(address))

  # What the app sees.
  def seen(headers = {}, **options) = JSON.parse(client(**options).get("/", headers).body)

  def refused = raise_error(OpenSSL::SSL::SSLError)

  # In TLS 1.3 a client learns only when it reads that its certificate was refused.
  def expect_refusal(**options)
    expect { connect(**options).read_to_end }.to raise_error(OpenSSL::SSL::SSLError, /alert/)
  end

  context "with one certificate" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}", via: :configured)

    it "tells the app that the connection is encrypted" do
      expect(seen).to eq("rack.url_scheme" => "https", "HTTPS" => "on", "SERVER_PORT" => "443")
      expect(connect.write("GET / HTTP/1.0\r\n\r\n").read_to_end).to include(%("SERVER_PORT":"#{app.port}"))
      expect(seen({ "host" => "example.com:8443" })["SERVER_PORT"]).to eq("8443")
    end

    %i[TLS1_2_VERSION TLS1_3_VERSION].zip(%w[TLSv1.2 TLSv1.3]).each do |version, name|
      it "is possible with #{name}" do
        number = OpenSSL::SSL.const_get(version)
        expect(connect(min_version: number, max_version: number).tls.ssl_version).to eq(name)
      end
    end

    it "is not possible with TLS 1.1" do
      old = OpenSSL::SSL::TLS1_1_VERSION
      expect { connect(min_version: OpenSSL::SSL::TLS1_VERSION, max_version: old, ciphers: "ALL:@SECLEVEL=0") }.to refused
    end

    %w[ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305].each do |suite|
      it "is possible with #{suite}" do
        connection = connect(max_version: OpenSSL::SSL::TLS1_2_VERSION, ciphers: suite)
        expect(connection.tls.cipher.first).to eq(suite)
      end
    end

    it "is not possible with suites without forward secrecy, or without authenticated encryption" do
      %w[AES128-GCM-SHA256 ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES128-SHA256].each do |suite|
        expect { connect(max_version: OpenSSL::SSL::TLS1_2_VERSION, ciphers: suite) }.to refused
      end
    end

    it "agrees on HTTP/1.1, and goes on without an agreement" do
      expect(connect(alpn_protocols: %w[http/1.1]).tls.alpn_protocol).to eq("http/1.1")
      expect(connect.tls.alpn_protocol).to be_nil
      expect { connect(alpn_protocols: %w[spdy/3]) }.to refused
    end

    it "has the same certificate for any name" do
      expect(connect(name: "elsewhere.example").tls.peer_cert.subject.to_s).to include("localhost")
      expect(connect(name: nil).tls.peer_cert.subject.to_s).to include("localhost")
    end

    %i[TLS1_2_VERSION TLS1_3_VERSION].each do |version|
      it "is shorter for a client that comes back (#{version})" do
        sessions = []
        limits = { max_version: OpenSSL::SSL.const_get(version) }
        first = client(sessions: sessions, **limits)
        first.get("/")
        expect(first.connection.tls.session_reused?).to be(false)
        again = client(session: sessions.last, **limits)
        expect(again.get("/").status).to eq(200)
        expect(again.connection.tls.session_reused?).to be(true)
      end
    end

    it "answers plain HTTP with 400, and says what to do" do
      plain = http_over(Addrinfo.tcp("127.0.0.1", app.port))
      response = plain.get("/")
      expect(response.status).to eq(400)
      expect(response.body).to include("https://")
      expect(plain.connection.ending).to eq(:fin)
    end

    it "ends what is neither TLS nor HTTP" do
      ["\x16\x03\x01\x00\x05hello", "\x16\x03\x01\xff\xff#{"a" * 70_000}", "\0" * 100].each do |bytes|
        connection = closing(RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port)))
        connection.offer(bytes.b)
        connection.finish_writing
        expect(connection.ending).to be_a(Symbol)
      end
      expect(client.get("/").status).to eq(200)
    end

    it "is counted" do
      before = app.ask("PushServer.stats")
      client.get("/")
      http_over(Addrinfo.tcp("127.0.0.1", app.port)).get("/")
      expect { connect(alpn_protocols: %w[spdy/3]) }.to refused
      counters = %i[tls_handshakes tls_plain_requests tls_failures]
      expect_eventually("one of each") { app.ask("PushServer.stats").values_at(*counters) == before.values_at(*counters).map(&:succ) }
    end
  end

  context "with several certificates" do
    rsa = OpenSSL::PKey::RSA.new(2048)
    issued = [%w[a.example DNS:a.example], %w[b.example DNS:b.example DNS:*.b.example]]
    certificates = issued.map { |name, *names| authority.issue(name, names: names) }
    certificates << authority.issue("b rsa", names: %w[DNS:b.example], key: rsa)
    serve(config, "-b", "ssl://127.0.0.1:0?#{certificates.map(&:query).join("&")}", via: :configured)

    def subject_for(name, **options) = connect(name: name, **options).tls.peer_cert.subject.to_a.assoc("CN")[1]

    it "has the one for the name that the client asks for, and the first one for others" do
      expect(subject_for("b.example")).to eq("b.example")
      expect(subject_for("B.Example")).to eq("b.example")
      expect(subject_for("www.b.example")).to eq("b.example")
      expect(subject_for("a.www.b.example")).to eq("a.example")
      expect(subject_for("c.example")).to eq("a.example")
      expect(subject_for(nil)).to eq("a.example")
    end

    it "has the one whose key the client knows" do
      expect(subject_for("b.example", max_version: OpenSSL::SSL::TLS1_2_VERSION, ciphers: "ECDHE-RSA-AES128-GCM-SHA256"))
        .to eq("b rsa")
    end
  end

  context "with client certificates" do
    ann = authority.issue("ann", subject: [%w[O Specs], ["CN", "Änn"]])
    expired = authority.issue("late", from: Time.now - 7200, to: Time.now - 3600)
    foreign = stranger.issue("mallory")

    context "when they are not asked for" do
      serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}", via: :configured)

      it "does not know a client that has one" do
        expect(seen(client: ann).keys).not_to include(a_string_starting_with("SSL_CLIENT"))
      end
    end

    context "with verify_mode=peer" do
      serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}&ca=#{authority.cert}&verify_mode=peer", via: :configured)

      it "lets clients in without one, and says so" do
        expect(seen["SSL_CLIENT_VERIFY"]).to eq("NONE")
        expect(seen.keys).not_to include("SSL_CLIENT_S_DN")
      end

      it "tells the app who has come with one" do
        expect(seen(client: ann)).to include(
          "SSL_CLIENT_VERIFY" => "SUCCESS", "SSL_CLIENT_S_DN" => "CN=Änn,O=Specs", "SSL_CLIENT_I_DN" => "CN=Spec CA",
          "SSL_CLIENT_M_SERIAL" => ann.certificate.serial.to_s(16), "SSL_CLIENT_CERT" => ann.certificate.to_pem,
          "SSL_CLIENT_V_START" => time(ann.certificate.not_before), "SSL_CLIENT_V_END" => time(ann.certificate.not_after),
          "peercert" => "CN=Änn,O=Specs"
        )
      end

      it "tells the app the same when the client resumes its session" do
        sessions = []
        client(client: ann, sessions: sessions).get("/")
        again = client(session: sessions.last)
        expect(JSON.parse(again.get("/").body)["SSL_CLIENT_S_DN"]).to eq("CN=Änn,O=Specs")
        expect(again.connection.tls.session_reused?).to be(true)
      end

      { "an expired one" => expired, "one of another authority" => foreign }.each do |what, certificate|
        it("refuses #{what}") { expect_refusal(client: certificate) }
      end
    end

    context "with verify_mode=force_peer" do
      serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}&ca=#{authority.cert}&verify_mode=force_peer",
            "-b", "ssl://127.0.0.1:0?#{localhost.query}", via: :configured)

      it "lets clients in that have one" do
        expect(seen(client: ann)).to include("SSL_CLIENT_VERIFY" => "SUCCESS")
      end

      it("refuses clients without one") { expect_refusal }

      it "refuses a session that began where none was asked for" do
        url = app.wait_for_line(%r{Listening on https://127\.0\.0\.1:(?!#{app.port}\b)\d+})
        open = TlsAddress.of(Addrinfo.tcp("127.0.0.1", url[/\d+$/].to_i))
        sessions = []
        expect(http_over(open.with(sessions: sessions)).get("/").status).to eq(200)
        expect_refusal(session: sessions.last)
      end
    end
  end

  it "resumes no session that began elsewhere" do
    sessions = []
    2.times do
      start_app(config, *bind(localhost.query), via: :configured)
      again = client(sessions: sessions, session: sessions.last)
      expect(again.get("/").status).to eq(200)
      expect(again.connection.tls.session_reused?).to be(false)
    end
  end

  context "when it is slow" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}", "--handshake-timeout", "0.5", "--max-handshakes", "20",
          "--log-level", "debug", via: :configured)

    def idle = closing(RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port)))

    it "ends after handshake_timeout, at whatever point" do
      hello = "\x16\x03\x01\x01\x00\x01".b
      connections = ["", hello[0], hello].map { |bytes| idle.write(bytes) }
      expect(connections.map(&:ending)).to eq(%i[fin fin fin])
      expect_line(/handshake_timeout/)
      expect_eventually("three timeouts") { app.ask("PushServer.stats")[:handshake_timeouts] >= 3 }
    end

    it "does not hold up the clients that are through" do
      ready = client
      ready.get("/")
      slow = Array.new(20) { idle }
      expect(ready.get("/").status).to eq(200)
      # Beyond max_handshakes, a client waits until there is room.
      expect(client.get("/").status).to eq(200)
      slow.each(&:close)
    end
  end

  context "when there is no place among the connections" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}", "--max-connections", "2", "--handshake-timeout", "60", via: :configured)

    it "begins once another connection has ended" do
      idle = Array.new(2) { closing(RawConnection.new(Addrinfo.tcp("127.0.0.1", app.port))) }
      expect_eventually("both to have a place") { app.ask("PushServer.stats")[:open_connections] == 2 }
      waiting = Thread.new { client.get("/").status }
      expect(app.ask("PushServer.stats").values_at(:open_connections, :tls_handshakes)).to eq([2, 0])
      idle.first.close
      expect(waiting.value).to eq(200)
    end
  end

  # Does the handshakes of so many clients at the same time, and yields while they go on. Returns an SSLSocket of each.
  def shake_hands_at_once(count)
    address = Addrinfo.tcp("127.0.0.1", app.port)
    context = OpenSSL::SSL::SSLContext.new
    clients = Array.new(count) { OpenSSL::SSL::SSLSocket.new(Socket.new(:INET, :STREAM).tap { |it| it.connect(address) }, context) }
    @sockets = clients.map(&:to_io)
    waiting = clients.reject { |tls| tls.connect_nonblock(exception: false) == tls }
    yield
    deadline = Deadline.in(60)
    until (waiting = waiting.reject { |tls| tls.connect_nonblock(exception: false) == tls }).empty?
      IO.select(waiting.map(&:to_io), nil, nil, deadline.remaining) or deadline.check!("the handshakes")
    end
    clients
  end

  context "of 1000 clients at once" do
    serve(config, "-b", "ssl://127.0.0.1:0?#{localhost.query}", "--max-handshakes", "2000", "--handshake-timeout", "60",
          via: :configured)

    after { @sockets&.each(&:close) }

    it "is done for all, and others are answered meanwhile" do
      ready = client
      ready.get("/")
      before = app.ask("PushServer.stats")[:tls_handshakes]
      clients = shake_hands_at_once(1000) { 5.times { expect(ready.get("/").status).to eq(200) } }
      clients.each { |tls| tls.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n") }
      expect(clients.map { |tls| tls.readpartial(12) }.tally).to eq("HTTP/1.1 200" => 1000)
      expect(app.ask("PushServer.stats")[:tls_handshakes] - before).to eq(1000)
    end
  end
end
