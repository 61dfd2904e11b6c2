# frozen_string_literal: true

require "spec_helper"

# Behind the proxies of docs/proxies.md, each configured as a file of docs/deployment says, and in the ways that docs/proxies.md
# describes. websockets: whether the proxy passes them on in this way.
[
  *[Nginx, HAProxy, Caddy].flat_map do |program|
    [{ program: program, transport: :tcp }, { program: program, by: "a Unix socket", transport: :unix }]
  end,
  { program: Nginx, by: "HTTP/1.1 with TLS", transport: :tls },
  { program: HAProxy, by: "HTTP/2", transport: :tcp, http2: true },
  { program: HAProxy, by: "HTTP/2 with TLS", transport: :tls, http2: true },
  { program: Caddy, by: "HTTP/2", transport: :tcp, http2: true, websockets: false },
  { program: Caddy, by: "HTTP/2 with TLS", transport: :tls, http2: true }
].each do |way|
  program, by, transport, http2 = way.values_at(:program, :by, :transport, :http2)
  RSpec.describe ["Behind #{program}", *by].join(", by "), :full, transport: transport do
    if program.missing
      before(:context) { skip program.missing }
    else
      serve File.join(AppProcess::ROOT, "spec/apps/proxied/config.ru"), "--trusted-proxy", "127.0.0.1", dir: Dir.tmpdir

      before(:context) do
        language = { Nginx => "nginx", Caddy => "caddyfile", HAProxy => "haproxy" }.fetch(program)
        site = DocsPage.new("proxies.md").code("Close a path", language)
        @proxy = program.new(@app, site: site, **(http2 ? { http2: true } : {}))
        eventually("#{program} to listen") { @proxy.listening? }
      end

      after(:context) { @proxy&.stop }
    end

    # Clients of the proxy, instead of Serving's.
    def port = @proxy.port
    def client(kind, path = "/", **how) = closing(kind.new(port, "#{path}?#{id = Serving.next_name}", id: id, **how))
    def own_page = { "host" => "127.0.0.1:#{port}", "origin" => "http://127.0.0.1:#{port}" }

    # Another address of the loopback network than the proxy's own.
    it "requests reach the app with the client's names and its address, over connections that are kept" do
      http = closing(HttpClient.new(@proxy.address, from: "127.0.0.7"))
      seen = { body: 100_000, url: "http://127.0.0.1:#{port}/path?a=b", ip: "127.0.0.7", peer: "127.0.0.7",
               protocol: http2 ? "HTTP/2" : "HTTP/1.1" }
      20.times do
        response = http.request("POST", "/path?a=b", own_page.merge("x-forwarded-for" => "6.6.6.6"), body: "x" * 100_000)
        expect(response.status).to eq(200)
        expect(JSON.parse(response.body, symbolize_names: true)).to eq(seen)
      end
    end

    it "a path can be closed as the page says" do
      # A proxy may close the connection with its own answer.
      answers = %w[/_broadcast /_broadcast?a=b /_broadcast/ /].map { |path| closing(HttpClient.new(port)).get(path, own_page) }
      expect(answers.map(&:status)).to eq([404, 404, 200, 200])
    end

    # By default, nginx allows 1 MiB, and the others any size.
    it "an upload of a megabyte is complete" do
      body = "x" * 1_000_000
      response = closing(HttpClient.new(port)).request("POST", "/upload", own_page, body: body)
      expect(JSON.parse(response.body, symbolize_names: true)).to include(body: body.bytesize)
    end

    if way.fetch(:websockets, true)
      it "a WebSocket sends and receives messages, and closes" do
        socket = client(WebSocketClient, headers: own_page)
        expect(socket.read_message).to eq("welcome")
        # The answer comes before the next message is sent, so the proxy must not keep it back.
        ["grüße", "x" * 200_000, ""].each do |text|
          socket.text(text)
          expect(socket.read_message).to eq(text)
        end
        socket.binary("\x00\xff")
        expect(socket.read_message).to eq("\x00\xff".b)
        expect(socket.finish(4001, "bye")).to eq([4001, "bye"])
        expect(event(:close, socket)).to include(code: 4001, reason: "bye")
      end

      it "the app can close a WebSocket, and on_close is called for a lost client" do
        closed, lost = Array.new(2) { client(WebSocketClient) }
        [closed, lost].each { |socket| event(:open, socket) }
        ask(closed, "client.close(4002, 'as you wish')")
        expect(closed.read_close).to eq([4002, "as you wish"])
        lost.reset
        expect(event(:close, lost)).to include(code: 1006)
      end

      it "a page of another origin is refused" do
        foreign = own_page.merge("origin" => "http://elsewhere.example")
        expect { client(WebSocketClient, headers: foreign) }.to raise_error(WebSocketClient::Refused, /403/)
      end
    end

    it "an event stream receives each event at once" do
      stream = client(SseClient, headers: own_page)
      expect(stream).to be_accepted
      expect(stream.read_event).to have_attributes(event: "msg", data: "welcome", id: "1")
      5.times do |number|
        ask(stream, "client.write('#{number}')")
        expect(stream.read_event.data).to eq(number.to_s)
      end
      stream.close
      event(:close, stream)
    end

    it "an event stream can answer a POST with a body" do
      stream = client(SseClient, headers: own_page, method: "POST", body: "x" * 300_000)
      expect(stream).to be_accepted
      expect(stream.read_event.data).to eq("welcome")
      expect(ask(stream, "[client.env['REQUEST_METHOD'], client.env['CONTENT_LENGTH']]")).to eq(%w[POST 300000])
      3.times do |number|
        ask(stream, "client.write('#{number}')")
        expect(stream.read_event.data).to eq(number.to_s)
      end
      stream.close
      event(:close, stream)
    end

    it "many streams and requests are served at the same time" do
      streams = Array.new(50) { client(SseClient) }
      streams += Array.new(50) { client(WebSocketClient) } if way.fetch(:websockets, true)
      streams.each { |stream| event(:open, stream) }
      expect(Array.new(50) { closing(HttpClient.new(port)).get("/").status }).to all(eq(200))
      app.ask("SpecApp.clients.each { |client| client.write('all') }; nil")
      streams.each do |stream|
        if stream.is_a?(SseClient)
          expect(Array.new(2) { stream.read_event.data }).to eq(%w[welcome all])
        else
          expect(Array.new(2) { stream.read_message }).to eq(%w[welcome all])
        end
      end
    end
  end
end
