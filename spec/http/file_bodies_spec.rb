# frozen_string_literal: true

require "spec_helper"

# Files that an app sends with a body that responds to to_path: ranges and X-Sendfile. The rest is in rack3_spec.rb.
RSpec.describe "A body with to_path" do
  date = "Fri, 10 May 2024 10:00:00 GMT"

  serve <<~'CONFIG', "-t", "2", files: { "digits.txt" => "0123456789" }
    require "spec_app"
    require "rack/sendfile"

    Sent = Struct.new(:path) do
      def to_path = path
      def each = yield(File.binread(path))
    end

    HEADERS = {
      "/plain" => {}, "/etag" => { "etag" => '"a"' }, "/weak" => { "etag" => 'W/"a"' },
      "/dated" => { "last-modified" => "Fri, 10 May 2024 10:00:00 GMT", "set-cookie" => "a=b" },
      "/length" => { "content-length" => "10" }, "/coded" => { "content-encoding" => "gzip" },
      "/none" => { "accept-ranges" => "none" }, "/own" => { "content-range" => "bytes 0-9/100" },
      "/header" => { "x-sendfile" => "/elsewhere" }
    }.freeze

    app = lambda do |env|
      path = env["PATH_INFO"]
      status = path == "/404" ? 404 : 200
      [status, { "content-type" => "text/plain" }.merge(HEADERS.fetch(path, {})), Sent.new(File.expand_path("digits.txt"))]
    end
    run Rack::URLMap.new("/sendfile" => Rack::Sendfile.new(app, "X-Sendfile"), "/lighttpd" => Rack::Sendfile.new(app, "X-LIGHTTPD-send-file"),
                         "/asked" => Rack::Sendfile.new(app), "/accel" => Rack::Sendfile.new(app, "X-Accel-Redirect", [["/", "/internal/"]]),
                         "/" => app)
  CONFIG

  def part(path, range, headers = {}, **options) = get(path, { "range" => range }.merge(headers), **options)
  def be_whole = have_attributes(status: 200, framing: :length, body: "0123456789")

  it "is sent with accept-ranges: bytes" do
    %w[/plain /etag /dated /length].each do |path|
      expect(get(path)).to be_whole
      expect(get(path)["accept-ranges"]).to eq("bytes")
      expect(http.request("HEAD", path).headers.except("date")).to eq(get(path).headers.except("date"))
    end
  end

  { "bytes=2-5" => ["2345", "bytes 2-5/10"], "bytes=7-" => ["789", "bytes 7-9/10"], "bytes=-2" => ["89", "bytes 8-9/10"],
    "bytes=0-99" => ["0123456789", "bytes 0-9/10"] }.each do |range, (body, content_range)|
    it "is sent in part for a range: #{range}" do
      %w[/plain /etag /dated /length].each do |path|
        response = part(path, range)
        expect(response).to have_attributes(status: 206, framing: :length, body: body)
        expect(response["content-range"]).to eq(content_range)
        expect(response["content-type"]).to eq("text/plain")
      end
    end
  end

  it "is answered with 416 for a range beyond its end, without headers about the file" do
    client = http
    response = client.get("/dated", { "range" => "bytes=10-" })
    expect(response).to have_attributes(status: 416, framing: :length)
    expect(response["content-range"]).to eq("bytes */10")
    expect(response["set-cookie"]).to eq("a=b")
    expect(response.headers.keys).not_to include("last-modified", "accept-ranges")
    expect(client.get("/plain")).to be_whole
  end

  it "is sent whole for several ranges, or an invalid one" do
    ["bytes=0-1,3-4", "bytes=5-2", "lines=1-2", "bytes"].each { |range| expect(part("/plain", range)).to be_whole }
  end

  it "is sent whole if the request is no GET, the status is not 200, or the app's headers forbid ranges" do
    expect(http.request("POST", "/plain", { "range" => "bytes=2-5" }, body: "x")).to be_whole
    expect(part("/404", "bytes=2-5")).to have_attributes(status: 404, body: "0123456789")
    %w[/coded /none /own].each { |path| expect(part(path, "bytes=2-5")).to be_whole }
    expect(part("/none", "bytes=2-5")["accept-ranges"]).to eq("none")
  end

  it "is sent in part with If-Range only if the app's ETag or date matches" do
    [["/etag", '"a"'], ["/dated", date]].each { |path, value| expect(part(path, "bytes=2-5", { "if-range" => value }).status).to eq(206) }
    [["/etag", '"b"'], ["/etag", date], ["/weak", 'W/"a"'], ["/dated", '"a"'], ["/plain", '"a"'], ["/plain", date]].each do |path, value|
      expect(part(path, "bytes=2-5", { "if-range" => value })).to be_whole
    end
  end

  describe "behind Rack::Sendfile" do
    ["/sendfile/plain", "/lighttpd/plain", "/header", "/asked/plain"].each do |path|
      it "is sent by this server, which ignores X-Sendfile: #{path}" do
        headers = { "x-sendfile-type" => "X-Sendfile" }
        expect(get(path, headers)).to be_whole
        expect(part(path, "bytes=2-5", headers)).to have_attributes(status: 206, body: "2345")
      end
    end

    it "is left to the proxy with X-Accel-Redirect" do
      response = get("/accel/plain")
      expect(response).to have_attributes(status: 200, body: "")
      expect(response["x-accel-redirect"]).to end_with("/digits.txt").and start_with("/internal/")
    end
  end

  describe "that is not a regular file" do
    after { kill_apps }

    before do
      start_app(<<~'CONFIG', "-t", "2")
        Sent = Struct.new(:path) do
          def to_path = path
          def each = yield("by each")
        end

        File.mkfifo("fifo")
        Dir.mkdir("folder")
        File.write("empty", "")
        run ->(env) { [200, {}, Sent.new(env["QUERY_STRING"])] }
      CONFIG
    end

    it "is sent by each: a FIFO, a folder, and a missing file" do
      %w[fifo folder missing].each { |path| expect(get("/?#{path}")).to have_attributes(status: 200, body: "by each") }
      expect(app.stop).to be_success
    end

    it "is sent by each if its length is not known, like that of files in /proc" do
      skip "there is no /proc" unless File.readable?("/proc/self/status")
      expect(get("/?/proc/self/status")).to have_attributes(status: 200, body: "by each")
      expect(get("/?empty")).to have_attributes(status: 200, body: "")
    end
  end
end
