# frozen_string_literal: true

require "spec_helper"

# Requests over HTTP/2 whose responses the app writes itself, by rack.hijack, in the form of HTTP/1. WebSockets that are hijacked
# are in websocket_spec.
RSpec.describe "A request over HTTP/2 that the app hijacks" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    # What the app writes; the path says which. A nil ends the app's socket, :wait lets the app read from it.
    WRITTEN = {
      "/length" => ["HTTP/1.1 200 OK\r\nConnection: close\r\nX-App: yes\r\nContent-Length: 5\r\n\r\nhel", "lo", :wait],
      "/more" => ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", nil],
      "/chunked" => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r", "\n2\r\nlo\r\n", "0\r\nx-trailer: 1\r\n\r\n", :wait],
      "/close" => ["HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\nhe", "llo", nil],
      "/empty" => ["HTTP/1.1 204 No Content\r\n\r\n", :wait],
      "/head" => ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", :wait],
      "/hints" => ["HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", nil],
      "/silent" => [nil],
      "/no_head" => ["this is no head\r\n\r\n", :wait],
      "/upgrade" => ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", :wait],
      "/short" => ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", nil],
      "/no_chunk" => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk", :wait],
      "/last_chunk" => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", nil],
      "/two_codings" => ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", :wait],
      "/endless" => ["HTTP/1.1 200 OK\r\n\r\nhello", :wait]
    }.freeze

    def answer(path, io)
      WRITTEN.fetch(path).each do |part|
        case part
        when String then io.write(part)
        when :wait then SpecApp.report(:read, path: path, bytes: io.read)
        end
      end
    rescue SystemCallError => e
      SpecApp.report(:read, path: path, error: e.class.name)
    ensure
      io.close
    end

    run(lambda do |env|
      path = env["PATH_INFO"]
      return [200, {}, [env["rack.hijack?"].inspect]] unless WRITTEN.key?(path)

      SpecApp.report(:uploaded, bytes: env["rack.input"].read.bytesize) if env["REQUEST_METHOD"] == "POST"
      io = env["rack.hijack"].call
      Thread.new { answer(path, io) }
      [-1, {}, []]
    end)
  CONFIG

  def client = closing(Http2Client.new(app.address))

  it "is announced as possible" do
    expect(client.get("/").body).to eq("true")
  end

  { "/length" => "by its length, although the app keeps its socket open", "/more" => "by its length, without what follows",
    "/chunked" => "by its last chunk, without the framing", "/close" => "with the app's socket",
    "/hints" => "behind an informational response" }.each do |path, title|
    it "ends #{title}" do
      one = client
      response = one.get(path)
      expect(response).to have_attributes(status: 200, body: "hello")
      expect(response.headers.keys & %w[connection transfer-encoding x-trailer]).to eq([])
      expect(one.get("/").body).to eq("true")
    end
  end

  it "has no body in the answer to HEAD, and with 204" do
    one = client
    expect(one.request("HEAD", "/head")).to have_attributes(status: 200, body: "", headers: include("content-length" => ["5"]))
    expect(one.get("/empty")).to have_attributes(status: 204, body: "")
  end

  it "has its body read before" do
    expect(client.request("POST", "/length", body: "x" * 100_000).body).to eq("hello")
    expect(app.events.take(event: "uploaded")).to include(bytes: 100_000)
  end

  { "/silent" => "nothing", "/no_head" => "no head", "/upgrade" => "101", "/short" => "less than its Content-Length",
    "/no_chunk" => "broken chunks", "/last_chunk" => "no last chunk", "/two_codings" => "another coding" }.each do |path, title|
    it "is reset if the app writes #{title}, and the connection goes on" do
      one = client
      stream = one.send_request("GET", path)
      reset = one.wait_for("a reset") { |frame| frame.type == :rst_stream }
      expect(reset).to have_attributes(stream: stream)
      expect(one.get("/").body).to eq("true")
    end
  end

  it "ends the app's input when the client resets the stream" do
    one = client
    stream = one.send_request("GET", "/endless")
    one.wait_for("the body") { |frame| frame.type == :data && frame.stream == stream }
    one.reset(stream)
    expect(app.events.take(event: "read", path: "/endless")).to include(bytes: "")
    expect(one.get("/").body).to eq("true")
  end

  it "ends the app's input when the response is complete" do
    expect(client.get("/length").body).to eq("hello")
    expect(app.events.take(event: "read", path: "/length")).to include(bytes: "")
  end
end
