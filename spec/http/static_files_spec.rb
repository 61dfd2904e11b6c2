# frozen_string_literal: true

require "spec_helper"
require "time"

# Which files of the folder given with --public are served, and to which requests.
RSpec.describe "Static files" do
  include StaticFiles

  serve StaticFiles::CONFIG, "--public", "public", files: StaticFiles::FILES
  before(:context) { StaticFiles.prepare(@app) }

  large = StaticFiles::LARGE

  # The app's answer to all that is not a file.
  def be_from_the_app(method = "GET") = have_attributes(status: 404, body: "the app: #{method}")

  {
    "/page.html" => ["text/html; charset=utf-8", "<p>page</p>"], "/style.css" => ["text/css; charset=utf-8", "p {}"],
    "/code.js" => ["text/javascript; charset=utf-8", "1"], "/data.json" => ["application/json", "{}"],
    "/picture.png" => ["image/png", "\x89PNG\0".b], "/picture.svg" => ["image/svg+xml", "<svg/>"],
    "/module.wasm" => ["application/wasm", "\0asm"], "/no_extension" => ["application/octet-stream", "?"],
    "/plain.txt" => ["text/plain; charset=utf-8", "text"], "/folder/inner.txt" => ["text/plain; charset=utf-8", "inner"],
    "/plain.txt?a=b" => ["text/plain; charset=utf-8", "text"], "/with%20space.txt" => ["text/plain; charset=utf-8", "space"],
    "/gr%C3%BC%C3%9Fe.txt" => ["text/plain; charset=utf-8", "unicode"], "/p%6cain.txt" => ["text/plain; charset=utf-8", "text"],
    "http://localhost/plain.txt" => ["text/plain; charset=utf-8", "text"], "/empty.txt" => ["text/plain; charset=utf-8", ""],
    "/link_in.txt" => ["text/plain; charset=utf-8", "text"], "/docs_link/" => ["text/html; charset=utf-8", "docs"]
  }.each do |target, (type, body)|
    it "are served with their type: #{target}" do
      response = get(target)
      expect(response).to have_attributes(status: 200, framing: :length, body: body.b)
      expect(response["content-type"]).to eq(type)
      expect(response["x-app"]).to be_nil
    end
  end

  it "can be large" do
    expect(get("/large.bin").body == large).to be(true)
  end

  it "are sent in one piece with their head, if they are short" do
    client = http
    before = client.connection.segments or skip "needs TCP, and Linux"
    3.times { client.get("/page.html") }
    expect(client.connection.segments - before).to eq(3)
  end

  it "are followed by further requests on the connection" do
    client = http
    expect(%w[/plain.txt /nothing /page.html /docs].map { |target| client.get(target).status }).to eq([200, 404, 200, 301])
  end

  it "are sent in order when requests are pipelined" do
    client = http
    %w[/plain.txt /nothing /large.bin /code.js].each { |target| client.send_request("GET", target) }
    expect(Array.new(4) { client.read_response.body.bytesize }).to eq([4, 12, large.bytesize, 1])
  end

  %w[/plain.txt /empty.txt /large.bin /docs/ /app.js].each do |target|
    it "are answered to HEAD with the same head and no body: #{target}" do
      client = http
      headers = { "accept-encoding" => "gzip" }
      head = client.request("HEAD", target, headers)
      whole = client.get(target, headers)
      expect(head).to have_attributes(status: 200, framing: :none)
      expect(head.headers.except("date")).to eq(whole.headers.except("date"))
      expect(head["content-length"]).to eq(whole.body.bytesize.to_s)
    end
  end

  %w[POST PUT DELETE OPTIONS PATCH get].each do |method|
    it "are not sent for #{method}; the app is called" do
      expect(http.request(method, "/plain.txt", {}, body: "x")).to be_from_the_app(method)
    end
  end

  it "are not sent for requests that can be upgraded; the app is called" do
    expect(get("/page.html", { "accept" => "text/event-stream" })).to be_from_the_app
    handshake = { "connection" => "upgrade", "upgrade" => "websocket", "sec-websocket-version" => "13",
                  "sec-websocket-key" => "dGhlIHNhbXBsZSBub25jZQ==" }
    expect(get("/page.html", handshake)).to be_from_the_app
  end

  ["/", "/folder", "/folder/", "/missing.txt", "/plain.txt/", "/plain.txt/more", "/plain.txt/index.html", "/orphan.js", "/Plain.txt",
   "/odd", "/odd/", "/#{"x" * 300}", "/#{"x/" * 3000}"].each do |target|
    it "do not include #{target[0, 30]}; the app is called" do
      expect(get(target)).to be_from_the_app
    end
  end

  it "are sent as soon as they exist, and not any more once they are deleted" do
    path = public_path("late/file.txt")
    3.times do |number|
      2.times { expect(get("/late/file.txt")).to be_from_the_app }
      File.write(path, number.to_s)
      expect(get("/late/file.txt")).to have_attributes(status: 200, body: number.to_s)
      File.delete(path)
    end
  end

  ["/../secret.txt", "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt", "/..%2fsecret.txt", "/folder/../../secret.txt",
   "/folder/%2e%2e/%2e%2e/secret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/folder/..%5c..%5csecret.txt", "/%252e%252e/secret.txt",
   "/.%2e/secret.txt", "//secret.txt", "/./../secret.txt", "/plain.txt/../../secret.txt", "/%c0%ae%c0%ae/secret.txt",
   "/..;/secret.txt", "/public/../../secret.txt", "/%00/../secret.txt", "/plain.txt%00", "/../public/plain.txt%00.png",
   "/.hidden", "/%2ehidden", "/.git/config", "/folder/../.hidden", "/%2egit/config", "/.", "/..", "//etc/passwd", "/etc/passwd",
   "/%2fetc/passwd", "/%2Fetc%2Fpasswd", "/folder%2finner.txt", "/folder/%2e/inner.txt", "//plain.txt", "/folder//inner.txt",
   "/plain.txt//", "/folder%5cinner.txt", "/link_out.txt", "/folder_out/secret.txt", "/root/etc/passwd",
   "/root/", "/device", "http://localhost/../secret.txt", "http://localhost//etc/passwd"].each do |target|
    it "never include #{target}" do
      response = get(target)
      expect(response.status).to be_between(400, 404)
      expect(response.body).not_to include("secret", "root:", "text", "inner")
    end
  end

  it "never include a FIFO, for which no request waits" do
    2.times { expect(get("/fifo")).to be_from_the_app }
  end

  describe "in a folder" do
    it "are its index.html for its name with a slash" do
      expect(get("/docs/")).to have_attributes(status: 200, body: "docs")
      expect(get("/docs/index.html")).to have_attributes(status: 200, body: "docs")
    end

    { "/docs" => "/docs/", "/docs?a=b&c" => "/docs/?a=b&c", "/docs?" => "/docs/?", "/d%6fcs" => "/d%6fcs/",
      "/d%C3%BCcs" => "/d%C3%BCcs/", "http://localhost/docs" => "/docs/" }.each do |target, location|
      it "are found by a redirect that adds the slash: #{target}" do
        response = get(target, { "if-none-match" => "*" })
        expect(response).to have_attributes(status: 301)
        expect(response["location"]).to eq(location)
      end
    end

    it "never redirect to another host" do
      ["//docs", "//localhost/docs", "/\\localhost/docs", "/%5clocalhost/../docs", "/%2flocalhost%2f..%2fdocs"].each do |target|
        expect(get(target).all("location")).to eq([])
      end
    end
  end

  describe "that change while they are sent" do
    let(:path) { public_path("late/large.bin") }

    let(:content) { large * 4 }

    # A client that has read only the head of the response, and the length that it promises.
    def begin_to_read
      File.write(path, content)
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/late/large.bin")
      [client, Integer(client.read_head["content-length"])]
    end

    after { File.delete(path) }

    it "end the connection if they become shorter" do
      client, promised = begin_to_read
      File.truncate(path, content.bytesize / 2)
      expect(client.connection.read_to_end.bytesize).to be < promised
      expect(get("/plain.txt").status).to eq(200)
    end

    it "are sent in the length that was promised if they become longer" do
      client, promised = begin_to_read
      File.write(path, "more", mode: "a")
      expect(client.connection.read_exactly(promised).bytesize).to eq(promised)
      expect(client.get("/plain.txt").status).to eq(200)
    end

    it "are sent as they were if another file takes their name" do
      client, promised = begin_to_read
      File.write("#{path}.new", "new")
      File.rename("#{path}.new", path)
      expect(client.connection.read_exactly(promised) == content).to be(true)
      expect(get("/late/large.bin").body).to eq("new")
    end
  end

  it "are closed after the response, read or not" do
    skip "there is no /proc to count them in" unless ProcessCost.available?

    clients = Array.new(20) { http(receive_buffer: 4096).send_request("GET", "/large.bin") }
    clients.each(&:read_head)
    expect(open_files("large.bin")).to eq(20)
    clients.each(&:close)
    eventually("the files to be closed") { open_files("large.bin").zero? }
  end

  def open_files(name) = app.descriptors.values.count { |file| file.end_with?(name) }
end

RSpec.describe "Static files of an embedded server" do
  serve <<~'RUBY', via: :ruby, files: { "public/page.html" => "<p>page</p>", "public/index.html" => "start" }
    require "push_server"

    PushServer::Server.init(0, "public")
    PushServer::Server.handle_not_found(->(_env) { [404, {}, ["the app"]] })
    PushServer::Server.start
    sleep
  RUBY

  it "are those of its root folder" do
    expect(get("/page.html")).to have_attributes(status: 200, body: "<p>page</p>")
    expect(get("/")).to have_attributes(status: 200, body: "start")
    expect(get("/missing")).to have_attributes(status: 404, body: "the app")
  end
end
