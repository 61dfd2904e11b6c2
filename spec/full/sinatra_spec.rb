# frozen_string_literal: true

require_relative "framework"
require "digest"

# An app of Sinatra, unchanged.
RSpec.describe "Sinatra", :full do
  Framework.serve(self, "sinatra", "sinatra")

  # Sinatra compares the Host header with the Origin that browsers send with a form.
  def host = "127.0.0.1:#{app.port}"
  def browser = { "host" => host, "origin" => "http://#{host}" }

  # The session's cookie after that many visits.
  def visit(times = 1)
    cookie = nil
    times.times do
      response = get("/visits", cookie ? { "cookie" => cookie } : {})
      cookie = response["set-cookie"][/\A[^;]+/]
    end
    cookie
  end

  it "keeps a session in a cookie" do
    response = get("/visits", { "cookie" => visit(2) })
    expect(response).to have_attributes(status: 200, body: "3")
    expect(response["x-served-by"]).to eq("sinatra")
    expect(get("/visits").body).to eq("1")
  end

  def multipart(boundary, fields, filename, bytes)
    start = "--#{boundary}\r\ncontent-disposition: form-data; name="
    parts = fields.map { |name, value| "#{start}\"#{name}\"\r\n\r\n#{value}\r\n" }
    type = "content-type: application/octet-stream"
    "#{parts.join}#{start}\"file\"; filename=\"#{filename}\"\r\n#{type}\r\n\r\n".b << bytes << "\r\n--#{boundary}--\r\n"
  end

  it "accepts a multipart upload of 20 MB" do
    bytes = Random.new(1).bytes(20_000_000)
    response = http.request("POST", "/upload", browser.merge("content-type" => "multipart/form-data; boundary=spec"),
                            body: multipart("spec", { "note" => "grüße" }, "big.bin", bytes))
    expect(response.status).to eq(200)
    expect(response.body.force_encoding("UTF-8")).to eq("grüße big.bin 20000000 #{Digest::SHA256.hexdigest(bytes)}")
  end

  it "streams: each part arrives before the next is made" do
    client = http
    client.send_request("GET", "/stream")
    expect(client.read_head.status).to eq(200)
    expect(client.connection.read_until("before the gate\n")).to end_with("before the gate\n")
    app.ask("Shop::GATE << :open; nil")
    expect(client.connection.read_until("after the gate\n")).to end_with("after the gate\n")
    client.connection.read_until("0\r\n\r\n")
    expect(client.get("/new").body).to eq("here it is")
  end

  it "redirects" do
    new = include("location" => ["http://#{host}/new"])
    expect(get("/old", { "host" => host })).to have_attributes(status: 302, headers: new)
    form = browser.merge("content-type" => "application/x-www-form-urlencoded")
    expect(http.request("POST", "/form", form, body: "a=1")).to have_attributes(status: 303, headers: new)
  end

  it "sends a file: whole, for HEAD, in part, and not again with 304" do
    text = (1..100_000).map { |number| "#{number}\n" }.join
    whole = get("/file")
    expect(whole).to have_attributes(status: 200, body: text, framing: :length)
    expect(whole["content-disposition"]).to eq('attachment; filename="numbers.txt"')
    expect(http.request("HEAD", "/file")["content-length"]).to eq(text.bytesize.to_s)
    expect(get("/file", { "range" => "bytes=0-9" })).to have_attributes(status: 206, body: text[0, 10])
    expect(get("/file", { "if-modified-since" => whole["last-modified"] })).to have_attributes(status: 304, body: "")
  end

  it "halts, answers 404, and goes on after an error" do
    client = http
    expect(client.get("/halt")).to have_attributes(status: 418, body: "short and stout")
    expect(client.get("/nowhere").status).to eq(404)
    expect(get("/boom")).to have_attributes(status: 500, body: not_match(/boom/))
    expect(get("/new").body).to eq("here it is")
  end

  RSpec::Matchers.define_negated_matcher :not_match, :match

  it "upgrades to a WebSocket from a route, with its session" do
    client = websocket("/push", headers: { "cookie" => visit(2) })
    expect(client.read_message).to eq("2 visits")
    client.text("welcome")
    expect(client.read_message).to eq("welcome to you")
    client.finish(4000, "bye")
    expect(event(:close, client)).to include(code: 4000, reason: "bye")
  end

  it "upgrades to Server-Sent Events from a route, or refuses to" do
    expect(sse("/push", headers: { "cookie" => visit(3) }).read_event.data).to eq("3 visits")
    stranger = sse("/push")
    expect(stranger.response.status).to eq(401)
    expect { websocket("/push") }.to raise_error(WebSocketClient::Refused, /who are you/)
  end
end
