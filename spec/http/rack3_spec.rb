# frozen_string_literal: true

require "spec_helper"

# Early hints, rack.response_finished and bodies with to_path. The order of a 103 and its response is in early_hints_spec.rb,
# the end of a response after an error in response_end_spec.rb.
RSpec.describe "Rack's optional features:" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    CONTENT = (0...200_000).map { |number| (number % 251).chr }.join.b
    File.binwrite("large.bin", CONTENT)
    File.binwrite("small.txt", "0123456789")
    File.binwrite("empty.txt", "")
    Dir.mkdir("folder")

    # A body with a path. `each` is used where the path is not.
    class Path
      def initialize(path, name = nil)
        @path = path
        @name = name
      end

      def to_path = @path

      def each
        SpecApp.report(:each, id: @name)
        yield "from each"
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    Finishing = Struct.new(:name) do
      def each = yield("part")
      def close = SpecApp.report(:step, id: name, what: "close")
    end

    text = { "content-type" => "text/plain" }
    binary = { "content-type" => "application/octet-stream" }
    app = lambda do |env|
      name = env["QUERY_STRING"]
      hint = env["rack.early_hints"]
      step = ->(what) { ->(*) { SpecApp.report(:step, id: name, what: what) } }
      finished = env["rack.response_finished"]
      case env["PATH_INFO"]
      when "/hints"
        hint.call("link" => "</a.css>; rel=preload; as=style")
        hint.call("link" => ["</b.css>; rel=preload", "</c.js>; rel=preload"], "x-hint" => "1")
        [200, text, ["hinted"]]
      when "/hints-lines" then hint.call("link" => "</a.css>\n</b.css>").then { [200, text, ["hinted"]] }
      when "/hints-none" then [200, text, [hint.class.name.to_s]]
      when "/hints-broken"
        raised = begin
          hint.call("link" => "a\r\nx-evil: 1")
          nil
        rescue StandardError => e
          e.class.name
        end
        [200, text, [raised.inspect]]
      when "/finished"
        finished << step["first"] << ->(*) { raise "a callable of response_finished failed" } << step["third"]
        [200, text, Finishing.new(name)]
      when "/finished-arguments"
        finished << lambda do |of, status, headers, error|
          SpecApp.report(:finished, id: name, env: of.equal?(env), status: status, headers: headers.to_h, error: error)
        end
        [201, text.merge("x-app" => "yes"), ["x"]]
      when "/finished-hijack"
        finished << step["finished"]
        env["rack.hijack"].call.tap { |io| io.write("mine") }.close
        [-1, {}, Finishing.new(name)]
      when "/finished-gone"
        finished << ->(_env, status, *) { SpecApp.report(:step, id: name, what: "finished #{status}") }
        [200, text, Enumerator.new { |parts| loop { parts << "x" * 65_536 } }]
      when "/large" then [200, binary, Path.new("large.bin", name)]
      when "/length" then [200, binary.merge("content-length" => "10"), Path.new("small.txt", name)]
      when "/other-length" then [200, text.merge("content-length" => "9"), Path.new("small.txt", name)]
      when "/empty" then [200, text, Path.new("empty.txt", name)]
      when "/missing" then [200, text, Path.new("no-such-file", name)]
      when "/folder" then [200, text, Path.new("folder", name)]
      when "/file-304" then [304, {}, Path.new("small.txt", name)]
      when "/trailers" then [200, text, [env["rack.input"].read, " ", env.keys.grep(/TRAILER|CHECKSUM/).inspect]]
      else [200, text, ["plain"]]
      end
    end

    files = Rack.release < "3" ? Rack::File : Rack::Files
    run Rack::URLMap.new("/files" => files.new(Dir.pwd), "/lint" => Rack::Lint.new(app),
                         "/lint-files" => Rack::Lint.new(files.new(Dir.pwd)), "/" => app)
  CONFIG

  content = (0...200_000).map { |number| (number % 251).chr }.join.b

  def named = "?#{@name = Serving.next_name}"
  def told(event, **fields) = app.events.take(event: event, id: @name, **fields)
  def steps = app.events.all(event: "step", id: @name).map { |event| event[:what] }

  def expect_closed_once
    told("closed")
    get("/")
    expect(app.events.all(event: "closed", id: @name).size).to eq(1)
  end

  describe "rack.early_hints" do
    %w[/hints /lint/hints].each do |path|
      it "sends a 103 for each call, with all headers (#{path})" do
        client = http
        client.send_request("GET", path)
        hints = Array.new(2) { client.read_response(interim: true) }
        expect(hints.map(&:status)).to eq([103, 103])
        expect(hints.first["link"]).to eq("</a.css>; rel=preload; as=style")
        expect(hints.last.all("link")).to eq(["</b.css>; rel=preload", "</c.js>; rel=preload"])
        expect(hints.last["x-hint"]).to eq("1")
        response = client.read_response(interim: true)
        expect(response).to have_attributes(status: 200, body: "hinted")
        expect(response.headers.keys).not_to include("link")
        expect(client.get("/").body).to eq("plain")
      end
    end

    it "accepts several values as lines, as in Rack 2" do
      client = http
      client.send_request("GET", "/hints-lines")
      expect(client.read_response(interim: true).all("link")).to eq(["</a.css>", "</b.css>"])
    end

    it "is nil for HTTP/1.0, which has no informational responses" do
      expect(get("/hints-none", {}, version: "1.0").body).to eq("NilClass")
    end

    it "raises for a value with a line end" do
      client = http
      client.send_request("GET", "/hints-broken")
      response = client.read_response(interim: true)
      expect(response.status).to eq(200)
      expect(response.body).to match(/Error/)
    end
  end

  describe "rack.response_finished" do
    it "is called after the body's close in reverse order, even if one callable raises" do
      expect(get("/finished#{named}").body).to eq("part")
      told("step", what: "first")
      expect(steps).to eq(%w[close third first])
      app.wait_for_line(/a callable of response_finished failed/)
      expect(get("/").body).to eq("plain")
    end

    it "is called with the env, the status, the headers and no error" do
      get("/finished-arguments#{named}")
      expect(told("finished")).to include(env: true, status: 201, headers: { "content-type": "text/plain", "x-app": "yes" }, error: nil)
    end

    it "is called after a hijack" do
      client = http
      client.send_request("GET", "/finished-hijack#{named}")
      expect(client.connection.read_to_end).to eq("mine")
      told("step", what: "finished")
      expect(steps).to eq(%w[close finished])
    end

    it "is called when the client disconnects in between" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/finished-gone#{named}")
      client.read_head
      client.connection.reset
      expect(told("step", what: "finished 200")).to include(event: "step")
    end
  end

  describe "a body with to_path" do
    %w[/large /lint/large].each do |path|
      it "is sent from the file, and closed (#{path})" do
        skip "Rack 2's Lint hides to_path" if path.include?("lint") && Rack.release < "3"
        response = get(path + named)
        expect(response).to have_attributes(status: 200, framing: :length)
        expect(response["content-length"]).to eq("200000")
        expect(response.body == content).to be(true)
        expect_closed_once
        expect(app.events.all(event: "each", id: @name)).to be_empty
      end
    end

    it "is sent to a client with a small buffer, several times on a connection" do
      client = http(receive_buffer: 4096)
      5.times { expect(client.get("/large#{named}").body == content).to be(true) }
    end

    it "is sent from the file if the app's length is the file's" do
      expect(get("/length#{named}")).to have_attributes(framing: :length, body: "0123456789")
      expect(app.events.all(event: "each", id: @name)).to be_empty
    end

    it "is sent by each if the app's length is another" do
      expect(get("/other-length#{named}")).to have_attributes(framing: :length, body: "from each")
      expect_closed_once
    end

    it "can be empty" do
      expect(get("/empty#{named}")).to have_attributes(framing: :length, body: "")
      expect_closed_once
    end

    it "is answered to HEAD with its length and no body" do
      client = http
      response = client.request("HEAD", "/length#{named}")
      expect(response["content-length"]).to eq("10")
      expect_closed_once
      expect(client.request("HEAD", "/large#{named}")["content-length"]).to eq("200000").or be_nil
      expect(client.get("/").body).to eq("plain")
    end

    it "is not sent with a 304" do
      client = http
      response = client.get("/file-304#{named}")
      expect(response).to have_attributes(status: 304, framing: :none)
      expect_closed_once
      expect(client.get("/").body).to eq("plain")
    end

    { "/missing" => "there is no file", "/folder" => "it is a folder" }.each do |path, why|
      it "is sent by each if #{why}" do
        expect(get(path + named).body).to eq("from each")
        expect_closed_once
      end
    end

    it "leaves no descriptor open when the client disconnects" do
      skip "needs /proc" unless ProcessCost.available?
      clients = Array.new(20) { http(receive_buffer: 4096).send_request("GET", "/large#{named}") }
      clients.each(&:read_head)
      clients.each { |client| client.connection.reset }
      expect_eventually("the files to be closed") { app.descriptors.values.grep(/large\.bin/).empty? }
    end
  end

  describe "Rack::Files" do
    %w[/files /lint-files].each do |prefix|
      it "serves files, whole and in part (#{prefix})" do
        client = http
        response = client.get("#{prefix}/small.txt")
        expect(response).to have_attributes(status: 200, framing: :length, body: "0123456789")
        modified = response["last-modified"]
        head = client.request("HEAD", "#{prefix}/small.txt")
        expect(head).to have_attributes(status: 200, framing: :none)
        expect(head["content-length"]).to eq("10")
        expect(client.get("#{prefix}/small.txt", { "if-modified-since" => modified }).status).to eq(304)
        { "bytes=2-4" => "234", "bytes=7-" => "789", "bytes=-3" => "789", "bytes=0-0" => "0" }.each do |range, part|
          response = client.get("#{prefix}/small.txt", { "range" => range })
          expect(response).to have_attributes(status: 206, framing: :length, body: part)
        end
        expect(client.get("#{prefix}/small.txt", { "range" => "bytes=10-" }).status).to eq(416)
        several = client.get("#{prefix}/small.txt", { "range" => "bytes=0-1,4-5" })
        expect(several.status).to eq(206)
        expect(several.body).to include("01").and include("45")
        expect(client.get("#{prefix}/large.bin").body == content).to be(true)
        expect(client.get("#{prefix}/large.bin", { "range" => "bytes=100000-199999" }).body == content[100_000..]).to be(true)
        expect(client.get("#{prefix}/none.txt").status).to eq(404)
      end
    end
  end

  it "trailers of a request are ignored" do
    client = http
    client.send_request("POST", "/lint/trailers", { "transfer-encoding" => "chunked", "content-type" => "text/plain", "trailer" => "x-checksum" })
    client.write("5\r\nhello\r\n0\r\nx-checksum: 1\r\nhost: evil.example\r\n\r\n")
    expect(client.read_response.body).to eq('hello ["HTTP_TRAILER"]')
    expect(client.get("/").body).to eq("plain")
  end
end
