# frozen_string_literal: true

require "spec_helper"
require "time"

# Files of the folder given with --public.
RSpec.describe "Static files" do
  large = Array.new(500_000) { |number| format("%09d\n", number) }.join.freeze

  serve <<~'CONFIG', "--public", "public", files: {
    require "spec_app"

    run ->(env) { [404, { "content-type" => "text/plain", "x-app" => "yes" }, ["the app: #{env["REQUEST_METHOD"]}"]] }
  CONFIG
    "secret.txt" => "secret",
    "public/page.html" => "<p>page</p>", "public/style.css" => "p {}", "public/code.js" => "1", "public/data.json" => "{}",
    "public/picture.png" => "\x89PNG\0", "public/picture.svg" => "<svg/>", "public/plain.txt" => "text", "public/no_extension" => "?",
    "public/module.wasm" => "\0asm", "public/empty.txt" => "", "public/digits.txt" => "0123456789",
    "public/folder/inner.txt" => "inner", "public/with space.txt" => "space", "public/grüße.txt" => "unicode",
    "public/.hidden" => "secret", "public/.git/config" => "secret", "public/large.bin" => large,
    "public/docs/index.html" => "docs", "public/dücs/index.html" => "docs", "public/odd/index.html/index.html" => "odd",
    "public/app.js" => "plain", "public/app.js.br" => "in br", "public/app.js.gz" => "in gz",
    "public/only.css" => "plain", "public/only.css.gz" => "gzip", "public/stale.js" => "plain", "public/stale.js.br" => "stale",
    "public/orphan.js.gz" => "gzip", "public/other.js" => "plain", "public/other.js.gz/file" => "a directory", "public/late/x" => ""
  }

  # When all files were changed; long ago, so that their ETags are strong.
  time = Time.utc(2024, 5, 10, 10)

  def public_path(name) = File.join(app.dir, "public", name)

  before(:context) do
    Dir.glob(File.join(app.dir, "public/**/*")).each { |path| File.utime(time, time, path) }
    File.utime(time - 1, time - 1, public_path("stale.js.br"))
    File.symlink(File.join(app.dir, "secret.txt"), public_path("link_out.txt"))
    File.symlink("..", public_path("folder_out"))
    File.symlink("/", public_path("root"))
    File.symlink("plain.txt", public_path("link_in.txt"))
    File.symlink(File.join(app.dir, "public/docs"), public_path("docs_link"))
    File.symlink("/dev/zero", public_path("device"))
    File.symlink(File.join(app.dir, "secret.txt"), public_path("plain.txt.gz"))
    File.mkfifo(public_path("fifo"))
  end

  # The app's answer to whatever is no file.
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

  it "may be large" do
    expect(get("/large.bin").body == large).to be(true)
  end

  it "keep the connection" do
    client = http
    expect(%w[/plain.txt /nothing /page.html /docs].map { |target| client.get(target).status }).to eq([200, 404, 200, 301])
  end

  it "are answered in order when requests are pipelined" do
    client = http
    %w[/plain.txt /nothing /large.bin /code.js].each { |target| client.send_request("GET", target) }
    expect(Array.new(4) { client.read_response.body.bytesize }).to eq([4, 12, large.bytesize, 1])
  end

  %w[/plain.txt /empty.txt /large.bin /docs/ /app.js].each do |target|
    it "are answered to HEAD with the same head and no content: #{target}" do
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
    it "are for GET and HEAD only, not for #{method}" do
      expect(http.request(method, "/plain.txt", {}, body: "x")).to be_from_the_app(method)
    end
  end

  # The app itself answers these: 404 is its word.
  it "are not for requests that can be upgraded" do
    expect(get("/page.html", { "accept" => "text/event-stream" })).to be_from_the_app
    handshake = { "connection" => "upgrade", "upgrade" => "websocket", "sec-websocket-version" => "13",
                  "sec-websocket-key" => "dGhlIHNhbXBsZSBub25jZQ==" }
    expect(get("/page.html", handshake)).to be_from_the_app
  end

  ["/", "/folder", "/folder/", "/missing.txt", "/plain.txt/", "/plain.txt/more", "/plain.txt/index.html", "/orphan.js", "/Plain.txt",
   "/odd", "/odd/", "/#{"x" * 300}", "/#{"x/" * 3000}"].each do |target|
    it "do not include #{target[0, 30]}: the app is asked" do
      expect(get(target)).to be_from_the_app
    end
  end

  it "are seen as soon as they appear, and missed as soon as they are gone" do
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

  it "never include a FIFO, and nobody waits for it" do
    2.times { expect(get("/fifo")).to be_from_the_app }
  end

  describe "in a directory" do
    it "are found by its name with a slash" do
      expect(get("/docs/")).to have_attributes(status: 200, body: "docs")
      expect(get("/docs/index.html")).to have_attributes(status: 200, body: "docs")
    end

    { "/docs" => "/docs/", "/docs?a=b&c" => "/docs/?a=b&c", "/docs?" => "/docs/?", "/d%6fcs" => "/d%6fcs/",
      "/d%C3%BCcs" => "/d%C3%BCcs/", "http://localhost/docs" => "/docs/" }.each do |target, location|
      it "have the slash added: #{target}" do
        response = get(target, { "if-none-match" => "*" })
        expect(response).to have_attributes(status: 301)
        expect(response["location"]).to eq(location)
      end
    end

    it "do not send anybody to another host" do
      ["//docs", "//localhost/docs", "/\\localhost/docs", "/%5clocalhost/../docs", "/%2flocalhost%2f..%2fdocs"].each do |target|
        expect(get(target).all("location")).to eq([])
      end
    end
  end

  # RFC 9110 sections 8.8 and 13.
  describe "with preconditions" do
    def digits(headers = {}, method = "GET") = http.request(method, "/digits.txt", headers)

    let(:etag) { digits["etag"] }
    let(:date) { time.httpdate }
    let(:before) { (time - 1).httpdate }

    it "have a strong ETag and Last-Modified" do
      expect(digits["etag"]).to match(/\A"[^"]+"\z/)
      expect(digits["last-modified"]).to eq(date)
    end

    it "have another ETag after a change" do
      path = public_path("late/changed.txt")
      tags = [["one", time], ["two", time + 1], ["two", time + 1.5], ["three", time + 1.5]].map do |content, at|
        File.write(path, content)
        File.utime(at, at, path)
        get("/late/changed.txt")["etag"]
      end
      expect(tags.uniq.size).to eq(4)
    ensure
      File.delete(path)
    end

    it "have a weak ETag while they are new, and no Last-Modified later than Date" do
      path = public_path("late/new.txt")
      File.write(path, "new")
      File.utime(Time.now, Time.now + 3600, path)
      response = get("/late/new.txt")
      expect(response["etag"]).to start_with('W/"')
      expect(Time.httpdate(response["last-modified"])).to be <= Time.httpdate(response["date"])
    ensure
      File.delete(path)
    end

    %w[GET HEAD].each do |method|
      it "are not sent again when the client has them: #{method}" do
        [{ "if-none-match" => etag }, { "if-none-match" => "W/#{etag}" }, { "if-none-match" => %("x", #{etag}) },
         { "if-none-match" => ['"x"', etag] }, { "if-none-match" => "*" }, { "if-modified-since" => date },
         { "if-modified-since" => (time + 1).httpdate }].each do |headers|
          response = digits(headers, method)
          expect(response).to have_attributes(status: 304, framing: :none), headers.inspect
          expect(response["etag"]).to eq(etag)
          expect(response.headers.keys & %w[content-length content-type last-modified content-encoding]).to eq([])
        end
      end
    end

    it "are sent when the client has something else, or says nothing that can be understood" do
      [{ "if-none-match" => '"x"' }, { "if-none-match" => etag.delete('"') }, { "if-none-match" => "" }, { "if-modified-since" => before },
       { "if-modified-since" => "yesterday" }, { "if-modified-since" => [date, date] },
       { "if-none-match" => '"x"', "if-modified-since" => date }].each do |headers|
        expect(digits(headers)).to have_attributes(status: 200, body: "0123456789"), headers.inspect
      end
    end

    it "are refused when they are not what the client wants" do
      [{ "if-match" => '"x"' }, { "if-match" => "W/#{etag}" }, { "if-unmodified-since" => before },
       { "if-match" => '"x"', "if-none-match" => etag }, { "if-match" => '"x"', "if-unmodified-since" => date }].each do |headers|
        response = digits(headers)
        expect(response.status).to eq(412), headers.inspect
        expect(response.body).not_to include("0123")
      end
    end

    it "are sent when they are what the client wants" do
      [{ "if-match" => etag }, { "if-match" => "*" }, { "if-unmodified-since" => date }, { "if-unmodified-since" => "x" },
       { "if-match" => etag, "if-unmodified-since" => before }].each do |headers|
        expect(digits(headers).status).to eq(200), headers.inspect
      end
    end

    it "keep the connection, whatever the answer" do
      client = http
      statuses = [{ "if-none-match" => "*" }, { "if-match" => '"x"' }, { "range" => "bytes=50-" }, { "range" => "bytes=1-2" }, {}]
                 .map { |headers| client.get("/digits.txt", headers).status }
      expect(statuses).to eq([304, 412, 416, 206, 200])
    end
  end

  # RFC 9110 section 14.
  describe "in parts" do
    def part(range, headers = {}) = get("/digits.txt", headers.merge("range" => range))

    it "are announced" do
      expect(get("/digits.txt")["accept-ranges"]).to eq("bytes")
    end

    { "bytes=0-0" => ["0", "0-0"], "bytes=2-5" => ["2345", "2-5"], "bytes=7-" => ["789", "7-9"], "bytes=-3" => ["789", "7-9"],
      "bytes=5-99999999999999999999" => ["56789", "5-9"], "bytes=-99" => ["0123456789", "0-9"], "Bytes=0-1" => ["01", "0-1"],
      "bytes=0-1," => ["01", "0-1"] }.each do |range, (body, sent)|
      it "are sent: #{range}" do
        response = part(range)
        expect(response).to have_attributes(status: 206, framing: :length, body: body)
        expect(response["content-range"]).to eq("bytes #{sent}/10")
        expect(response["content-type"]).to eq("text/plain; charset=utf-8")
        expect(response["etag"]).to eq(get("/digits.txt")["etag"])
      end
    end

    %w[bytes=10- bytes=10-20 bytes=-0 bytes=99999999999999999999-].each do |range|
      it "are refused beyond the end: #{range}" do
        response = part(range)
        expect(response.status).to eq(416)
        expect(response["content-range"]).to eq("bytes */10")
      end
    end

    ["bytes=0-1,3-4", "bytes=5-2", "bytes=", "bytes=x-", "bytes=-", "bytes=1", "lines=1-2", "bytes", ""].each do |range|
      it "are the whole where the range is none, or more than one: #{range.inspect}" do
        response = part(range)
        expect(response).to have_attributes(status: 200, body: "0123456789")
        expect(response["content-range"]).to be_nil
      end
    end

    it "are the whole of an empty file" do
      expect(get("/empty.txt", { "range" => "bytes=0-99" })).to have_attributes(status: 200, body: "")
    end

    it "mean nothing to HEAD" do
      response = http.request("HEAD", "/digits.txt", { "range" => "bytes=0-1" })
      expect(response).to have_attributes(status: 200)
      expect(response["content-length"]).to eq("10")
    end

    it "may be large, and begin anywhere" do
      response = get("/large.bin", { "range" => "bytes=1000003-3000005" })
      expect(response["content-length"]).to eq("2000003")
      expect(response.body == large[1_000_003..3_000_005]).to be(true)
    end

    it "add up to the whole" do
      size = 1_234_567
      parts = (0...large.bytesize).step(size).map { |first| get("/large.bin", { "range" => "bytes=#{first}-#{first + size - 1}" }).body }
      expect(parts.join == large).to be(true)
    end

    it "are sent if the client's other parts are of the same version" do
      etag = get("/digits.txt")["etag"]
      [etag, time.httpdate].each { |same| expect(part("bytes=1-2", "if-range" => same)).to have_attributes(status: 206, body: "12") }
      ['"x"', "W/#{etag}", (time - 1).httpdate, (time + 1).httpdate, "x", ""].each do |other|
        expect(part("bytes=1-2", "if-range" => other)).to have_attributes(status: 200, body: "0123456789"), other
        expect(part("bytes=99-", "if-range" => other).status).to eq(200), other
      end
    end

    it "come after preconditions" do
      expect(part("bytes=1-2", "if-none-match" => "*").status).to eq(304)
      expect(part("bytes=99-", "if-match" => '"x"').status).to eq(412)
    end
  end

  # RFC 9110 section 12.5.3.
  describe "compressed beforehand" do
    def accept(encodings, target = "/app.js", headers = {}) = get(target, { "accept-encoding" => encodings, **headers })

    { "br, gzip" => "br", "gzip, deflate, br, zstd" => "br", "gzip" => "gzip", "x-gzip" => "gzip", "GZIP" => "gzip", "br;q=0.5, gzip" => "gzip",
      "*" => "br", "br;q=0, *;q=0.1" => "gzip", "gzip;q=0.001" => "gzip", "gzip, identity;q=0.5" => "gzip", "deflate" => nil, "" => nil,
      "identity" => nil, "gzip;q=0, br;q=0.000" => nil, "gzip;q=0.5, identity" => nil, "gzip;q=2" => nil, "identity;q=0" => nil,
      ["deflate", "gzip"] => "gzip" }.each do |encodings, coding|
      it "are chosen by Accept-Encoding: #{encodings.inspect}" do
        response = accept(encodings)
        expect(response).to have_attributes(status: 200, body: { "br" => "in br", "gzip" => "in gz", nil => "plain" }.fetch(coding))
        expect(response["content-encoding"]).to eq(coding)
        expect(response["content-type"]).to eq("text/javascript; charset=utf-8")
        expect(response["vary"]).to eq("accept-encoding")
      end
    end

    it "are sent to nobody who does not ask" do
      expect(get("/app.js")).to have_attributes(status: 200, body: "plain")
      expect(get("/app.js")["vary"]).to eq("accept-encoding")
    end

    it "are of one kind, if there is but one" do
      expect(accept("br, gzip", "/only.css")).to have_attributes(status: 200, body: "gzip")
      expect(accept("br", "/only.css")).to have_attributes(status: 200, body: "plain")
    end

    it "are not used when they are older than the file, lead out of the folder, or are no files" do
      { "/stale.js" => "plain", "/plain.txt" => "text", "/other.js" => "plain" }.each do |target, body|
        response = accept("br, gzip", target)
        expect(response).to have_attributes(status: 200, body: body)
        expect(response.headers.keys & %w[vary content-encoding]).to eq([])
      end
    end

    it "can be had by their own name" do
      response = get("/orphan.js.gz")
      expect(response["content-type"]).to eq("application/gzip")
      expect(response["content-encoding"]).to be_nil
    end

    # Though they are of the same size and time.
    it "have an ETag of their own, which the others' do not match" do
      tags = ["br", "gzip", ""].to_h { |encodings| [encodings, accept(encodings)["etag"]] }
      expect(tags.values.uniq.size).to eq(3)
      tags.each do |encodings, tag|
        response = accept(encodings, "/app.js", "if-none-match" => tag)
        expect(response.status).to eq(304)
        expect(response["vary"]).to eq("accept-encoding")
        expect(accept(encodings, "/app.js", "if-none-match" => (tags.values - [tag]).join(", ")).status).to eq(200)
      end
    end

    it "can be had in parts" do
      response = accept("gzip", "/app.js", "range" => "bytes=1-2")
      expect(response).to have_attributes(status: 206, body: "n ")
      expect(response["content-range"]).to eq("bytes 1-2/5")
      expect(response["content-encoding"]).to eq("gzip")
    end
  end

  describe "that change while they are sent" do
    let(:path) { public_path("late/large.bin") }

    let(:content) { large * 4 }

    # A client that has read no more than the head of the answer, and what length it promises.
    def begin_to_read
      File.write(path, content)
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/late/large.bin")
      [client, Integer(client.read_head["content-length"])]
    end

    after { File.delete(path) }

    it "cut the connection if they become shorter" do
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

    it "are sent as they were if another takes their name" do
      client, promised = begin_to_read
      File.write("#{path}.new", "new")
      File.rename("#{path}.new", path)
      expect(client.connection.read_exactly(promised) == content).to be(true)
      expect(get("/late/large.bin").body).to eq("new")
    end
  end

  it "are closed again, read or not" do
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

  it "are those of its root" do
    expect(get("/page.html")).to have_attributes(status: 200, body: "<p>page</p>")
    expect(get("/")).to have_attributes(status: 200, body: "start")
    expect(get("/missing")).to have_attributes(status: 404, body: "the app")
  end
end
