# frozen_string_literal: true

require "spec_helper"

# rack.input: the body of a request.
RSpec.describe "The request body" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    # What each way of reading returns.
    ways = {
      "read" => ->(input) { [input.read, input.read, input.read(1)] },
      "read-length" => ->(input) { parts = []; while (part = input.read(4)) do parts << part end; parts },
      "read-zero" => ->(input) { [input.read(0), input.read(3)] },
      "read-buffer" => lambda do |input|
        buffer = +"before"
        [input.read(4, buffer).equal?(buffer), buffer.dup, input.read(100, buffer).dup, input.read(4, buffer), buffer.dup]
      end,
      "gets" => ->(input) { lines = []; while (line = input.gets) do lines << line end; lines },
      "each" => ->(input) { lines = []; input.each { |line| lines << line }; lines },
      "mixed" => ->(input) { [input.gets, input.read(2), input.gets, input.read] },
      "rewind" => ->(input) { [input.read, input.rewind && input.read(3), (input.rewind; input.gets), (input.rewind; input.read)] },
      "size" => ->(input) { [input.size] },
      "encoding" => ->(input) { [input.read.encoding.to_s, input.read.encoding.to_s] },
      "sum" => ->(input) { text = input.read; [text.bytesize, text.sum(32)] },
      "ignore" => ->(_input) { [] }
    }
    app = lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"])
      answer = ways.fetch(env["PATH_INFO"].delete_prefix("/")).call(env["rack.input"])
      [200, { "content-type" => "application/json" }, [JSON.generate(answer)]]
    end

    run Rack::URLMap.new("/lint" => Rack::Lint.new(app), "/" => app)
  CONFIG

  def post(path, body, client: http, **options)
    JSON.parse(client.request("POST", path, { "content-type" => "text/plain" }, body: body, **options).body)
  end

  # The body in chunks of that size, framed for transfer-encoding: chunked.
  def chunked(body, size)
    parts = body.b.scan(/.{1,#{size}}/mn)
    "#{parts.map { |part| "#{part.bytesize.to_s(16)}\r\n#{part}\r\n" }.join}0\r\n\r\n"
  end

  text = "first\nsecond\n\nlast"
  {
    "/lint/read" => [text, "", nil],
    "/lint/read-length" => text.scan(/.{1,4}/m),
    "/lint/read-zero" => ["", "fir"],
    "/lint/read-buffer" => [true, "firs", "t\nsecond\n\nlast", nil, ""],
    "/lint/gets" => ["first\n", "second\n", "\n", "last"],
    "/lint/each" => ["first\n", "second\n", "\n", "last"],
    "/lint/mixed" => ["first\n", "se", "cond\n", "\nlast"],
    "/rewind" => [text, "fir", "first\n", text],
    "/size" => [text.bytesize],
    "/lint/encoding" => %w[ASCII-8BIT ASCII-8BIT]
  }.each do |path, answer|
    it "can be read when it has a length: #{path.split("/").last}" do
      expect(post(path, text)).to eq(answer)
    end

    it "can be read when it comes in chunks: #{path.split("/").last}" do
      client = http
      client.send_request("POST", path, { "transfer-encoding" => "chunked", "content-type" => "text/plain" })
      client.write(chunked(text, 5))
      expect(JSON.parse(client.read_response.body)).to eq(answer)
    end
  end

  it "is empty when the request has none" do
    expect(JSON.parse(get("/lint/read").body)).to eq(["", "", nil])
    expect(JSON.parse(get("/lint/gets").body)).to eq([])
    expect(post("/lint/each", "")).to eq([])
  end

  [100_000, 120_000, 5_000_000].each do |size|
    it "can have #{size} bytes, of any value" do
      body = SecureRandom.bytes(size)
      expect(post("/lint/sum", body)).to eq([size, body.sum(32)])
      client = http
      client.send_request("POST", "/lint/sum", { "transfer-encoding" => "chunked" })
      client.write(chunked(body, 10_000))
      expect(JSON.parse(client.read_response.body)).to eq([size, body.sum(32)])
    end
  end

  it "can come with chunk extensions and trailers" do
    client = http
    client.send_request("POST", "/read", { "transfer-encoding" => "chunked" })
    client.write("5;name=value\r\nhello\r\n0;last\r\nX-Trailer: yes\r\n\r\n")
    expect(JSON.parse(client.read_response.body).first).to eq("hello")
  end

  it "can come byte by byte" do
    client = http
    client.send_request("POST", "/read", { "content-length" => "5" })
    "hello".each_char { |byte| client.write(byte) }
    expect(JSON.parse(client.read_response.body).first).to eq("hello")
  end

  it "does not disturb the next request when the app leaves it unread" do
    client = http
    expect(post("/ignore", "GET /evil HTTP/1.1\r\nhost: x\r\n\r\n", client: client)).to eq([])
    expect(post("/read", "next", client: client).first).to eq("next")
    expect(app.events.all(path: "/evil")).to be_empty
  end

  describe "with Expect: 100-continue" do
    it "is asked for with 100 Continue" do
      client = http
      client.send_request("POST", "/read", { "content-length" => "5", "expect" => "100-continue" })
      expect(client.read_response(interim: true).status).to eq(100)
      client.write("hello")
      expect(client.read_response).to have_attributes(status: 200, body: '["hello","",null]')
    end

    it "can come without waiting for 100 Continue, and the connection stays open" do
      client = http
      client.send_request("POST", "/read", { "content-length" => "5", "expect" => "100-continue" })
      client.write("hello")
      expect(client.read_response.status).to eq(200)
      expect(post("/read", "next", client: client).first).to eq("next")
    end
  end
end
