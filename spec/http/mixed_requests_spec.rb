# frozen_string_literal: true

require "spec_helper"

# A connection answers simple requests by itself, and leaves the others to a library: see src/http/h1/direct.rs. Here requests of both
# kinds follow each other on one connection, in random order.
RSpec.describe "Requests of all kinds on one connection" do
  serve <<~'CONFIG', "--threads", "2"
    require "tempfile"

    LONG = Array.new(40_000) { |number| format("%07d", number) }.join
    FILE = Tempfile.create("body").tap { |file| file.write("file") && file.flush }
    TO_PATH = Struct.new(:to_path) { def each = yield(File.read(to_path)) }

    run(lambda do |env|
      name = env["PATH_INFO"].delete_prefix("/")
      body = env["rack.input"]&.read.to_s
      text = "#{env["REQUEST_METHOD"]} #{name} #{body}"
      env["rack.early_hints"]&.call("link" => "</a>") if name.start_with?("hints")
      headers = { "content-type" => "text/plain", "x-name" => name }
      headers["connection"] = "keep-alive" if name.start_with?("kept")
      case name
      when /\Along/ then [200, headers, [text, LONG]]
      when /\Astream/ then [200, headers, [text, " ", "end"].each]
      when /\Acall/ then [200, headers, ->(stream) { stream.write(text) && stream.close }]
      when /\Afile/ then [200, headers, TO_PATH.new(FILE.path)]
      when /\Anothing/ then [204, {}, []]
      else [200, headers, [text]]
      end
    end)
  CONFIG

  # What is sent, and the method and body of the answer.
  def self.kind(name, method, lines: "", body: "", version: "1.1", answer: "%s %s %s", sent: body)
    lambda do |number|
      target = "#{name}#{number}"
      wire = "#{method} /#{target} HTTP/#{version}\r\nhost: localhost\r\n#{lines}\r\n#{sent}"
      [wire, method, method == "HEAD" ? "" : format(answer, method, target, body)]
    end
  end

  def self.post(body) = "content-length: #{body.bytesize}\r\n"

  chunked = "transfer-encoding: chunked\r\n"
  kinds = {
    get: kind("plain", "GET"),
    head: kind("plain", "HEAD"),
    kept: kind("kept", "GET"),
    post: kind("plain", "POST", lines: post("abc\r\n\r\n"), body: "abc\r\n\r\n"),
    long_post: kind("plain", "PUT", lines: post("x" * 200_000), body: "x" * 200_000),
    chunks: kind("plain", "POST", lines: chunked, body: "abcde", sent: "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"),
    expect: kind("plain", "POST", lines: "expect: 100-continue\r\n#{post("abc")}", body: "abc"),
    upgrade: kind("plain", "GET", lines: "connection: upgrade\r\nupgrade: other\r\n"),
    events: kind("plain", "GET", lines: "accept: text/event-stream\r\n"),
    old: kind("plain", "GET", lines: "connection: keep-alive\r\n", version: "1.0"),
    hints: kind("hints", "GET"),
    long: kind("long", "GET", answer: "%s %s %s#{Array.new(40_000) { |number| format("%07d", number) }.join}"),
    file: kind("file", "GET", answer: "file"),
    file_head: kind("file", "HEAD"),
    nothing: kind("nothing", "GET", answer: "")
  }
  # While these are sent, a client that closes its side has disconnected.
  streams = {
    stream: kind("stream", "GET", answer: "%s %s %s end"),
    stream_head: kind("stream", "HEAD"),
    call: kind("call", "GET")
  }

  # Writes the requests in pieces of any size.
  def write_in_pieces(connection, wire, random)
    until wire.empty?
      size = random.rand(4).zero? ? wire.bytesize : random.rand(1..400)
      connection.write(wire.byteslice(0, size))
      wire = wire.byteslice(size..).to_s
    end
  end

  def expect_answers(client, requests)
    requests.each_with_index do |(_, method, body), index|
      response = client.read_response(method)
      expect([index, response.status, response.body]).to eq([index, body.empty? && method == "GET" ? 204 : 200, body])
    end
  end

  3.times do |seed|
    it "are answered in their order, sent one by one (seed #{seed})" do
      random = Random.new(seed)
      requests = Array.new(60) { |number| kinds.merge(streams).values.sample(random: random).call(number) }
      client = http
      requests.each do |request|
        client.write(request.first)
        expect_answers(client, [request])
      end
    end

    it "are answered in their order, sent without waiting (seed #{seed})" do
      random = Random.new(seed + 100)
      requests = Array.new(60) { |number| kinds.merge(streams).values.sample(random: random).call(number) }
      client = http
      writer = Thread.new { write_in_pieces(client.connection, requests.map(&:first).join, random) }
      expect_answers(client, requests)
      writer.join
    end

    it "are all answered if the client closes its side behind them (seed #{seed})" do
      random = Random.new(seed + 200)
      5.times do
        requests = Array.new(6) { |number| kinds.values.sample(random: random).call(number) }
        client = http
        write_in_pieces(client.connection, requests.map(&:first).join, random)
        client.connection.finish_writing
        expect_answers(client, requests)
        expect(client.connection.ending).to eq(:fin)
      end
    end
  end

  kinds.merge(streams).each do |before, first|
    it "end with a request that closes the connection, after #{before}" do
      requests = [first.call(1), ["GET /last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "GET", "GET last "]]
      client = http
      client.write(requests.map(&:first).join)
      expect_answers(client, requests)
      expect(client.connection.ending).to eq(:fin)
    end

    it "end with one that is refused, after #{before}" do
      request = first.call(1)
      client = http
      client.write("#{request.first}GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
      expect_answers(client, [request])
      expect(client.read_response.status).to eq(400)
      expect(client.connection.ending).to eq(:fin)
    end

    it "leave nothing behind if the client resets the connection in the middle of #{before}" do
      wire, = first.call(1)
      (1..[wire.bytesize, 12].min).each do |part|
        client = http
        client.write(wire.byteslice(0, wire.bytesize * part / 12))
        client.connection.reset
      end
      expect(http.get("/after").body).to eq("GET after ")
    end
  end
end
