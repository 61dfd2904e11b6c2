# frozen_string_literal: true

require "spec_helper"
require "time"

# What the client gets for the app's response.
RSpec.describe "A response" do
  serve <<~'CONFIG', "--threads", "4"
    require "spec_app"

    GATE = Queue.new

    # Yields parts, and reports its close.
    class Body
      def initialize(name, *parts)
        @name = name
        @parts = parts
      end

      def each
        @parts.each do |part|
          raise "the body failed" if part == :raise

          part == :wait ? GATE.pop : yield(part)
        end
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    text = { "content-type" => "text/plain" }
    app = lambda do |env|
      name = env["QUERY_STRING"]
      finished = lambda do |number|
        lambda do |of, status, headers, error|
          SpecApp.report(:finished, id: name, number: number, env: of.equal?(env), status: status, headers: headers&.to_h,
                                    error: error&.message)
        end
      end
      env["rack.response_finished"]&.push(finished[1], finished[2])
      case env["PATH_INFO"]
      when "/raise" then raise "the app failed"
      when "/array" then [200, text, ["one ", "two ", "three"]]
      when "/long-array" then [200, text, Array.new(1000) { |number| number.to_s * 1000 }]
      when "/length" then [200, text.merge("content-length" => "5"), ["hello"]]
      when "/empty" then [200, {}, []]
      when "/each" then [200, text, Body.new(name, "one ", "", "two ", "three")]
      when "/each-length" then [200, text.merge("content-length" => "7"), Body.new(name, "one ", "two")]
      when "/each-short" then [200, text.merge("content-length" => "100"), Body.new(name, "one ", "two")]
      when "/each-large-short"
        [200, text.merge("content-length" => "10000001"), Body.new(name, *Array.new(200) { "x" * 50_000 })]
      when "/each-wait" then [200, text, Body.new(name, "first", :wait, "second")]
      when "/each-large" then [200, text, Body.new(name, *Array.new(200) { |number| (number % 10).to_s * 50_000 })]
      when "/each-endless" then [200, text, Body.new(name, *Array.new(2000) { "x" * 65_536 })]
      when "/each-raise" then [200, text, Body.new(name, "one ", :raise)]
      when "/each-raise-at-once" then [200, text, Body.new(name, :raise)]
      when "/enumerator" then [200, text, Enumerator.new { |parts| 3.times { |number| parts << number.to_s } }]
      when "/binary" then [200, { "content-type" => "application/octet-stream" }, [(0..255).map(&:chr).join.b]]
      when "/unicode" then [200, text, ["grüße"]]
      when "/arrays" then [200, text.merge("set-cookie" => ["a=1", "b=2"], "x-one" => ["1"]), ["x"]]
      when "/lines" then [200, text.merge("set-cookie" => "a=1\nb=2"), ["x"]]
      when "/private" then [200, text.merge("rack.secret" => "no", "x-app" => "yes"), ["x"]]
      when "/symbols" then [200, { "content-type": "text/plain", "x-app": "yes" }, ["x"]]
      when "/frozen" then [200, text.merge("x-app" => "yes").freeze, ["x"]]
      when %r{\A/headers/(\d+)} then [200, Array.new($1.to_i) { |number| ["x-#{number}", number.to_s] }.to_h, ["x"]]
      when "/names" then [200, { "Content-Type" => "text/plain", "X-App" => "yes" }, ["x"]]
      when %r{\A/status/(\d+)} then [$1.to_i, {}, []]
      when %r{\A/body-with/(\d+)} then [$1.to_i, {}, ["not allowed"]]
      when "/header"
        headers = JSON.parse(env["HTTP_X_HEADERS"])
        [200, text.merge(headers), ["x"]]
      end
    end

    run Rack::URLMap.new("/lint" => Rack::Lint.new(Rack::Head.new(app)), "/" => app)
  CONFIG

  def named = "?#{@name = Serving.next_name}"
  def closings = app.events.all(event: "closed", id: @name)

  # Expects that the body has been closed, and still only once a request later.
  def expect_closed_once
    app.events.take(event: "closed", id: @name)
    get("/empty")
    expect(closings.size).to eq(1)
  end

  describe "with an Array as its body" do
    it "has a content-length" do
      response = get("/array")
      expect(response).to have_attributes(status: 200, framing: :length, body: "one two three")
      expect(response["content-type"]).to eq("text/plain")
      expect(get("/long-array")).to have_attributes(framing: :length, body: Array.new(1000) { |number| number.to_s * 1000 }.join)
    end

    it "has the app's content-length" do
      expect(get("/lint/length")).to have_attributes(framing: :length, body: "hello")
    end

    it "can be empty" do
      expect(get("/empty")).to have_attributes(status: 200, framing: :length, body: "")
    end

    it "has its length in bytes, not characters" do
      expect(get("/lint/unicode").body).to eq("grüße".b)
      expect(get("/lint/binary").body).to eq((0..255).map(&:chr).join.b)
    end
  end

  describe "with a body that responds to each" do
    it "is chunked, without an empty chunk before the end" do
      expect(get("/lint/each#{named}")).to have_attributes(framing: :chunked, body: "one two three")
      expect_closed_once
    end

    it "has the app's content-length" do
      expect(get("/lint/each-length#{named}")).to have_attributes(framing: :length, body: "one two")
      expect_closed_once
    end

    it "can have an Enumerator" do
      expect(get("/lint/enumerator").body).to eq("012")
    end

    it "can be large" do
      response = get("/lint/each-large#{named}")
      expect(response.body == Array.new(200) { |number| (number % 10).to_s * 50_000 }.join).to be(true)
      expect_closed_once
    end

    it "is sent part by part, when each yields" do
      client = http
      client.send_request("GET", "/lint/each-wait#{named}")
      expect(client.read_head.status).to eq(200)
      expect(client.connection.read_until("first\r\n")).to eq("5\r\nfirst\r\n")
      expect(closings).to be_empty
      app.ask("GATE << true; nil")
      expect(client.connection.read_until("0\r\n\r\n")).to eq("6\r\nsecond\r\n0\r\n\r\n")
      expect_closed_once
    end

    it "ends with the connection over HTTP/1.0" do
      response = get("/lint/each#{named}", {}, version: "1.0")
      expect(response).to have_attributes(framing: :close, body: "one two three")
      expect_closed_once
    end

    it "is not followed by another over HTTP/1.0, even if the client asks to keep the connection" do
      client = http
      response = client.get("/lint/each#{named}", { "connection" => "keep-alive" }, version: "1.0")
      expect(response).to have_attributes(framing: :close, body: "one two three")
      expect(response["connection"]).not_to eq("keep-alive")
    end

    it "closes the body once when the client disconnects in between" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/each-endless#{named}")
      client.read_head
      client.connection.reset
      expect_closed_once
    end

    it "is incomplete when the body raises, and closes the body once" do
      client = http
      client.send_request("GET", "/each-raise#{named}")
      client.read_head
      expect(client.connection.read_to_end).not_to end_with("0\r\n\r\n")
      app.wait_for_line(/the body failed/)
      expect_closed_once
    end

    it "is sent as far as it goes, and the connection is closed, if it is shorter than its content-length" do
      client = http
      client.send_request("GET", "/each-short#{named}")
      expect(client.read_head["content-length"]).to eq("100")
      expect(client.connection.read_to_end).to eq("one two")
      app.wait_for_line(/a response ended after 7 of the 100 bytes that its Content-Length promised/)
      expect_closed_once
    end

    it "is sent whole to a slow client, even if it is shorter than its content-length" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/each-large-short#{named}")
      expect(client.read_head["content-length"]).to eq("10000001")
      expect(client.connection.read_to_end.bytesize).to eq(10_000_000)
      expect_closed_once
    end

    it "closes the body once when it raises before its first part" do
      client = http
      client.send_request("GET", "/each-raise-at-once#{named}", { "connection" => "close" })
      expect(client.connection.read_to_end).not_to match(/\AHTTP.1.1 200.*0\r\n\r\n\z/m)
      expect_closed_once
    end
  end

  describe "to HEAD" do
    it "has the length that GET would get, and no body" do
      client = http
      response = client.request("HEAD", "/length")
      expect(response).to have_attributes(status: 200, framing: :none)
      expect(response["content-length"]).to eq("5")
      # The length of an Array may be left out (RFC 9110 section 8.6), but not be wrong.
      expect(client.request("HEAD", "/array")["content-length"]).to be_nil.or eq("13")
      expect(client.get("/array").body).to eq("one two three")
    end

    it "works with Rack::Lint" do
      client = http
      expect(client.request("HEAD", "/lint/array").status).to eq(200)
      expect(client.request("HEAD", "/lint/each#{named}").status).to eq(200)
      expect_closed_once
      expect(client.get("/lint/array").body).to eq("one two three")
    end

    it "closes a body with each" do
      client = http
      client.request("HEAD", "/each#{named}")
      expect_closed_once
      expect(client.get("/array").body).to eq("one two three")
    end
  end

  [204, 304].each do |status|
    it "with status #{status} has neither body nor framing" do
      client = http
      [client.get("/lint/status/#{status}"), client.get("/body-with/#{status}")].each do |response|
        expect(response.status).to eq(status)
        expect(response.headers.keys).not_to include("transfer-encoding")
        expect(response["content-length"]).to be_nil if status == 204
      end
      expect(client.get("/array").body).to eq("one two three")
    end
  end

  [200, 201, 299, 301, 404, 418, 500, 599].each do |status|
    it "can have the status #{status}" do
      expect(get("/lint/status/#{status}").status).to eq(status)
    end
  end

  describe "with headers:" do
    it "several values can be an Array or lines" do
      response = get("/arrays")
      expect(response.all("set-cookie")).to eq(%w[a=1 b=2])
      expect(response["x-one"]).to eq("1")
      expect(get("/lines").all("set-cookie")).to eq(%w[a=1 b=2])
    end

    it "names can have capitals" do
      response = get("/names")
      expect(response["content-type"]).to eq("text/plain")
      expect(response["x-app"]).to eq("yes")
    end

    it "names can be Symbols, and the Hash can be frozen" do
      %w[/symbols /frozen].each { |path| expect(get(path)).to have_attributes(status: 200, headers: include("x-app")) }
    end

    [1, 32, 33, 200].each do |count|
      it "there can be #{count}, which are sent in their order" do
        sent = get("/headers/#{count}").headers.select { |name, _| name.start_with?("x-") }
        expect(sent.to_a).to eq(Array.new(count) { |number| ["x-#{number}", [number.to_s]] })
      end
    end

    it "those named rack.* are not sent" do
      response = get("/private")
      expect(response.headers.keys).not_to include("rack.secret")
      expect(response["x-app"]).to eq("yes")
    end

    { "CR and LF" => "a\r\nx-evil: 1", "CR" => "a\rx-evil: 1", "NUL" => "a\0b", "ESC" => "a\eb" }.each do |title, value|
      it "#{title} in a value is answered with 500, and does not split the response" do
        response = get("/header", { "x-headers" => JSON.generate("x-app" => value) })
        expect(response.status).to eq(500)
        expect(response.headers.keys).not_to include("x-evil", "x-app")
      end
    end

    it "a line end in a name is answered with 500" do
      expect(get("/header", { "x-headers" => JSON.generate("x-app: 1\r\nx-evil" => "1") }).status).to eq(500)
    end

    it "a date is added" do
      expect(Time.httpdate(get("/array")["date"])).to be_a(Time)
    end
  end

  describe "and its rack.response_finished" do
    before { skip "rack.response_finished came with Rack 3" if Rack.release < "3" }

    def finished(number) = app.events.take(event: "finished", id: @name, number: number)

    it "is called with env, status, headers and no error" do
      get("/array#{named}")
      expect(finished(1)).to include(env: true, status: 200, headers: include("content-type": "text/plain"), error: nil)
    end

    it "is called in reverse order" do
      get("/array#{named}")
      finished(1)
      expect(app.events.all(event: "finished", id: @name).map { |event| event[:number] }).to eq([2, 1])
    end

    it "is called with the error of the body" do
      client = http
      client.send_request("GET", "/each-raise#{named}")
      client.connection.read_to_end
      expect(finished(1)).to include(env: true, error: "the body failed")
    end

    it "is called with the error of the app" do
      expect(get("/raise#{named}").status).to eq(500)
      expect(finished(1)).to include(env: true, error: "the app failed")
    end
  end
end
