# frozen_string_literal: true

require "spec_helper"

# A page of another site can open a WebSocket to this one with the user's cookies. Browsers do not apply CORS to WebSockets.
# They send an Origin and leave the check to the server.
RSpec.describe "The Origin check" do
  config = <<~'CONFIG'
    require "spec_app"

    use Rack::Lint
    run(lambda do |env|
      SpecApp.report(:call, origin: env["HTTP_ORIGIN"])
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  def handshake(origin, host: "example.com")
    WebSocketClient.handshake.merge({ "host" => host, "origin" => origin }.compact)
  end

  def status(...) = get("/?#{Serving.next_name}", handshake(...)).status

  context "without allowed origins" do
    serve config

    it "accepts a WebSocket without Origin" do
      expect(status(nil)).to eq(Transport.upgraded)
    end

    it "accepts a page of the same host" do
      expect(status("http://example.com")).to eq(Transport.upgraded)
      expect(status("http://localhost:9292", host: "localhost:9292")).to eq(Transport.upgraded)
      expect(status("http://[::1]:9292", host: "[::1]:9292")).to eq(Transport.upgraded)
    end

    it "ignores the scheme, which a proxy may have changed" do
      expect(status("https://example.com")).to eq(Transport.upgraded)
    end

    it "ignores the letter case of hosts" do
      expect(status("http://EXAMPLE.com", host: "example.COM")).to eq(Transport.upgraded)
    end

    foreign = %w[http://evil.example http://sub.example.com http://example.com.evil.example http://evilexample.com
                 http://evil.example/example.com http://example.com@evil.example null file:// garbage]
    foreign.each do |origin|
      it "answers 403 to a WebSocket from #{origin}, without calling the app" do
        expect(status(origin)).to eq(403)
        expect(app.events.all(event: "call", origin: origin)).to be_empty
      end
    end

    it "does not apply to event streams and ordinary requests, for which browsers have CORS" do
      expect(sse("/", headers: { "origin" => "http://other.example" })).to be_accepted
      expect(get("/", { "origin" => "http://other.example" }).status).to eq(200)
    end
  end

  context "that refuses a WebSocket" do
    serve config

    def line(origin, **how)
      http.get("/", handshake(origin, **how))
      app.wait_for_line(/a page of #{Regexp.escape(origin)} /)
    end

    it "logs the origin, the host and the option that would allow it" do
      expect(line("http://elsewhere.example", host: "localhost:9360"))
        .to eq("[push_server] info: a WebSocket from a page of http://elsewhere.example was refused, because the host is " \
               "localhost:9360. To allow it: --allow-origin http://elsewhere.example\n")
      expect(line("null")).to include("a page of null was refused, because the host is example.com. ")
    end
  end

  context "with --allow-origin URL" do
    serve config, "--allow-origin", "https://friend.example", "--allow-origin", "http://other.example:8080"

    it "accepts pages of these origins and of the same host, and no others" do
      expect(status("https://friend.example")).to eq(Transport.upgraded)
      expect(status("http://other.example:8080")).to eq(Transport.upgraded)
      expect(status("http://example.com")).to eq(Transport.upgraded)
      expect(status("http://evil.example")).to eq(403)
      expect(status("https://friend.example.evil.example")).to eq(403)
    end
  end

  context "with --allow-origin *" do
    serve config, "--allow-origin", "*"

    it "accepts every page" do
      expect(status("http://anywhere.example")).to eq(Transport.upgraded)
      expect(status("null")).to eq(Transport.upgraded)
    end
  end
end
