# frozen_string_literal: true

require "spec_helper"

# A table of bytes that a client can send, with the section of the RFC for each. After each row, the same process answers a good
# request on a new connection. Violations of the WebSocket protocol are in spec/contract/websocket_spec.rb.
RSpec.describe "Unusual or invalid input" do
  serve <<~'CONFIG', *%w[--threads 1 --max-body-size 2MiB --head-timeout 1.5 --body-timeout 1.5 --keep-alive-timeout 2]
    require "spec_app"

    # There is one thread, so earlier requests are recorded before a later one is answered.
    CALLS = []

    # Without Rack::Lint, which would refuse some of these requests.
    run(lambda do |env|
      path = env["PATH_INFO"]
      told = if path == "/good"
               { pid: Process.pid, calls: CALLS.slice!(0..) }
             else
               CALLS << path
               body = env["rack.input"].read
               { method: env["REQUEST_METHOD"], path: path.b.dump, query: env["QUERY_STRING"], version: env["SERVER_PROTOCOL"],
                 name: env["SERVER_NAME"], port: env["SERVER_PORT"], host: env["HTTP_HOST"],
                 forwarded: env["HTTP_X_FORWARDED_FOR"], trailer: env["HTTP_X_TRAILER"], body: body[0, 100] }
             end
      [200, { "content-type" => "application/json" }, [JSON.generate(told)]]
    end)
  CONFIG

  # Sent after every row: bytes after a refused request must never be answered as a request.
  smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"

  # Sends a good request on a new connection. Returns the paths of the requests that the app got since the last call.
  def calls
    told = JSON.parse(get("/good").body)
    expect(told["pid"]).to eq(app.pid)
    told["calls"]
  end

  # The only response until the end of the connection: its status, or :close if there is none.
  def only_answer(client)
    raw = client.connection.read_to_end
    return :close if raw.empty?

    head, body = raw.split("\r\n\r\n", 2)
    expect(head).to match(/^connection: close\r?$/i)
    expect(body.bytesize).to eq(Integer(head[/^content-length: (\d+)/i, 1]))
    Integer(head[%r{\AHTTP/1\.1 (\d{3}) }, 1])
  end

  after { expect(calls).to eq([]) }

  # Defines an example: the bytes are refused with one of `statuses`, or without a response (:close), and the connection ends.
  # behind: sent after the bytes. finish: half-close the connection, as a client does that sends no more.
  define_singleton_method(:refused) do |section, title, bytes, *statuses, behind: smuggled, finish: false|
    it "is refused: #{title} (RFC #{section})" do
      client = http
      client.connection.offer(bytes.b + behind)
      client.connection.finish_writing if finish
      expect(statuses).to include(only_answer(client))
      expect(calls).to eq([])
    end
  end

  # Defines an example: the bytes are a request that reaches the app with these values, and the connection stays open.
  define_singleton_method(:passed) do |section, title, bytes, **told|
    it "reaches the app: #{title} (RFC #{section})" do
      client = http
      client.write(bytes.b)
      response = client.read_response
      expect(response.status).to eq(200)
      expect(JSON.parse(response.body, symbolize_names: true)).to include(told)
      expect(client.get("/again").body).to include('"path":"\"/again\""')
      expect(calls.size).to eq(2)
    end
  end

  describe "in the request line" do
    passed "9110 9.1", "a lower-case method, which is another method", "get /row HTTP/1.1\r\nhost: x\r\n\r\n", method: "get"
    passed "9110 9.1", "an unknown method", "FROB-1.2 /row HTTP/1.1\r\nhost: x\r\n\r\n", method: "FROB-1.2"
    passed "9112 2.2", "an empty line before it", "\r\nGET /row HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/row"'
    passed "9112 2.2", "ten empty lines before it", "#{"\r\n" * 10}GET /row HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/row"'
    passed "3986 2.1", "%00 in the target, unchanged", "GET /a%00b HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/a%00b"'
    passed "3986 5.2.4", ".., unchanged", "GET /a/../../b HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/a/../../b"'
    passed "3986 2.4", "%2e%2e%2f, unchanged", "GET /%2e%2e%2fb HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/%2e%2e%2fb"'
    passed "9112 3.2.2", "absolute-form, with a Host of the same name",
           "GET http://example.com:81/row?q=1 HTTP/1.1\r\nhost: example.com:81\r\n\r\n",
           path: '"/row"', query: "q=1", name: "example.com", port: "81", host: "example.com:81"
    passed "9112 3.2.2", "absolute-form, which wins over another Host",
           "GET http://example.com/row HTTP/1.1\r\nhost: evil.example:666\r\n\r\n",
           path: '"/row"', name: "example.com", port: "80", host: "example.com"
    passed "9112 3.2.4", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", method: "OPTIONS", path: '"*"'

    refused "9110 9.1", "a method that is no token", "G(ET /row HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3", "a double space after the method", "GET  /row HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3", "a double space before the version", "GET /row  HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3", "a space in the target", "GET /r ow HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3", "a space before the method", " GET /row HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3", "a tab in place of a space", "GET\t/row\tHTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 2.2", "CR only", "GET /row HTTP/1.1\rhost: x\r\r", 400, 408, behind: ""
    refused "9112 2.2", "CR only, and another request", "GET /row HTTP/1.1\rhost: x\r\r", 400
    refused "9112 2.2", "LF only", "GET /row HTTP/1.1\nhost: x\n\n", 400
    refused "9112 2.2", "LF at its end", "GET /row HTTP/1.1\nhost: x\r\n\r\n", 400
    refused "9112 2.2", "empty lines without end", "\r\n" * 40_000, 400, 431
    refused "9112 2.2", "LF before it", "\nGET /row HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9110 15.5.15", "a target of 64 KiB", "GET /#{"x" * 65_536} HTTP/1.1\r\nhost: x\r\n\r\n", 414
    refused "9110 15.5.15", "a target without end", "GET /#{"x" * 200_000}", 414, behind: ""
    ["/row#b", "/#", "/row?a#b", "#", "http://x/row#b", "*#"].each do |target|
      refused "9112 3.2", "a target with a fragment, #{target}", "GET #{target} HTTP/1.1\r\nhost: x\r\n\r\n", 400
    end
    passed "3986 3.5", "%23, which is no fragment", "GET /a%23b HTTP/1.1\r\nhost: x\r\n\r\n", path: '"/a%23b"'
    refused "3986 2", "NUL in the target", "GET /a\0b HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "3986 2", "DEL in the target", "GET /a\x7fb HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "3986 2", "8-bit bytes in the target that are no UTF-8", "GET /a\xffb HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 3.2", "a target without a slash", "GET row HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9110 4.2.4", "absolute-form with a user", "GET http://user@a/row HTTP/1.1\r\nhost: a\r\n\r\n", 400
    refused "9112 3.2.2", "absolute-form with an invalid port", "GET http://a:b/row HTTP/1.1\r\nhost: a\r\n\r\n", 400
    refused "9112 3.2.2", "absolute-form without a host", "GET http:///row HTTP/1.1\r\nhost: a\r\n\r\n", 400
    refused "9112 3.2", "absolute-form without Host", "GET http://a/row HTTP/1.1\r\n\r\n", 400
    refused "9112 3.2.4", "* for another method than OPTIONS", "GET * HTTP/1.1\r\nhost: x\r\n\r\n", 400
    refused "9110 9.3.6", "CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n", 501
    refused "9110 9.3.6", "CONNECT to a path", "CONNECT /row HTTP/1.1\r\nhost: x\r\n\r\n", 400, 501
    refused "9112 2.3", "HTTP/0.9", "GET /row\r\n", 400, behind: ""
    refused "9112 2.3", "HTTP/0.9, and another request", "GET /row\r\n", 400
    # RFC 9110 section 2.5 says to treat it like 1.1. No client sends it.
    refused "9110 2.5", "HTTP/1.2", "GET /row HTTP/1.2\r\nhost: x\r\n\r\n", 505
    refused "9110 15.6.6", "HTTP/3.0", "GET /row HTTP/3.0\r\nhost: x\r\n\r\n", 505
    refused "9112 2.3", "a lower-case version", "GET /row http/1.1\r\nhost: x\r\n\r\n", 400
    refused "9112 2.3", "a version with two digits", "GET /row HTTP/1.10\r\nhost: x\r\n\r\n", 400
    refused "8446 4.1.2", "a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03#{"r" * 32}\0", 400, :close, behind: ""
    refused "4253 4.2", "an SSH banner", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 400, :close, behind: ""
  end

  describe "in the headers" do
    head = ->(*lines) { "GET /row HTTP/1.1\r\nhost: x\r\n#{lines.map { |line| "#{line}\r\n" }.join}\r\n" }

    refused "9112 5.1", "a space before the colon", head["x-a : b"], 400
    refused "9112 5.2", "a folded line", head["x-a: b", " c"], 400
    refused "9112 5.2", "a folded first line", "GET /row HTTP/1.1\r\n x: y\r\nhost: x\r\n\r\n", 400
    refused "9110 5.1", "an empty name", head[": b"], 400
    refused "9110 5.1", "a line without a colon", head["x-a"], 400
    refused "9110 5.1", "( in a name", head["x(a: b"], 400
    refused "9110 5.1", "a name beyond ASCII", head["x-ä: b"], 400
    refused "6585 5", "101 of them", head[*Array.new(100) { |number| "x-#{number}: b" }], 431
    refused "6585 5", "one of 1 MB", head["x-a: #{"b" * 1_000_000}"], 431
    refused "6585 5", "a name of 1 MB", head["x#{"a" * 1_000_000}: b"], 431
    refused "9110 5.5", "NUL in a value", head["x-a: b\0c"], 400
    refused "9110 5.5", "CR in a value", head["x-a: b\rc"], 400
    refused "9110 5.5", "another control character in a value", head["x-a: b\x01c"], 400
    refused "9112 2.2", "LF at the end of one", "GET /row HTTP/1.1\r\nhost: x\nx-a: b\r\n\r\n", 400
    refused "9112 2.2", "LF at their end", "GET /row HTTP/1.1\r\nhost: x\r\n\n", 400
    refused "9112 3.2", "no Host", "GET /row HTTP/1.1\r\nx-a: b\r\n\r\n", 400
    refused "9112 3.2", "two Hosts", head["host: y"], 400
    refused "9112 3.2", "the same Host twice", head["host: x"], 400
    refused "9112 3.2", "an empty Host", "GET /row HTTP/1.1\r\nhost:\r\n\r\n", 400
    ["a b", "a/b", "user@a", "a:b", "[::1", "::1", "http://a", "a\xc3\xa4"].each do |host|
      refused "9110 7.2", "an invalid Host, #{host.inspect}", "GET /row HTTP/1.1\r\nhost: #{host}\r\n\r\n", 400
    end

    passed "3875 4.1.18", "a name with an underscore, which is dropped",
           head["X_Forwarded_For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1"], forwarded: "1.1.1.1"
    passed "9112 3.2", "HTTP/1.0 without Host",
           "GET /row HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", version: "HTTP/1.0"

    it "is answered, and the connection is closed: Connection: close, keep-alive (RFC 9112 9.3)" do
      client = http
      client.write(head["connection: close, keep-alive"] + smuggled)
      expect(only_answer(client)).to eq(200)
      expect(calls).to eq(["/row"])
    end
  end

  describe "in the framing" do
    post = lambda do |*lines, version: "1.1"|
      "POST /row HTTP/#{version}\r\nhost: x\r\n#{lines.map { |line| "#{line}\r\n" }.join}\r\n"
    end
    chunked = ->(body) { post["transfer-encoding: chunked"] + body }

    ["+1", "-1", "0x1", "1,1", "1, 1", "1 1", "", "1.0", "1e1", "1;", "\"1\"", "１", "18446744073709551616", "9" * 100].each do |length|
      refused "9110 8.6", "Content-Length: #{length[0, 30]}", post["content-length: #{length}"], 400
    end
    refused "9110 8.6", "two Content-Lengths", post["content-length: 1", "content-length: 2"], 400
    refused "9110 8.6", "a Content-Length in a folded line", post["content-length:", " 1"], 400
    refused "9112 5.1", "Content-Length before a space", post["content-length : 30"], 400
    refused "9110 15.5.14", "a Content-Length of 2^64 - 1", post["content-length: 18446744073709551615"], 400, 413

    ["chunked, chunked", "gzip, chunked", "identity", "xchunked", "chunked, gzip", "gzip", "chunked;q=1", "\"chunked\"",
     "chunked,", "", "\vchunked", "chunked\0"].each do |encoding|
      refused "9112 6.1", "Transfer-Encoding: #{encoding.inspect}",
              "#{post["transfer-encoding: #{encoding}"]}0\r\n\r\n", 400, 501
    end
    refused "9112 6.1", "two Transfer-Encodings",
            "#{post["transfer-encoding: chunked", "transfer-encoding: chunked"]}0\r\n\r\n", 400, 501
    refused "9112 6.1", "Transfer-Encoding on HTTP/1.0", "#{post["transfer-encoding: chunked", version: "1.0"]}0\r\n\r\n", 400

    # With these, two parsers can disagree about the end of a request, which allows request smuggling.
    describe "with a Content-Length and a Transfer-Encoding" do
      {
        "one after the other" => ["content-length: 5", "transfer-encoding: chunked"],
        "the other way round" => ["transfer-encoding: chunked", "content-length: 5"],
        "the former 0" => ["content-length: 0", "transfer-encoding: chunked"],
        "the latter before a space" => ["content-length: 5", "transfer-encoding : chunked"],
        "the latter in a folded line" => ["content-length: 5", "transfer-encoding:", " chunked"],
        "the latter behind a tab" => ["content-length: 5", "transfer-encoding:\tchunked"],
        "the latter behind CR" => ["content-length: 5", "x: y\rtransfer-encoding: chunked"],
        "the latter not understood" => ["content-length: 5", "transfer-encoding: xchunked"],
        "the latter twice" => ["content-length: 5", "transfer-encoding: chunked", "transfer-encoding: identity"]
      }.each do |title, lines|
        refused "9112 6.1", title, "#{post[*lines]}0\r\n\r\n", 400, 501
      end
    end

    # Defines examples: a body with invalid framing is refused when it comes with its head, after it, or after another request.
    define_singleton_method(:broken) do |section, title, body, status, finish: false, behind: smuggled|
      refused section, title, chunked[body], status, finish: finish, behind: behind

      it "is refused when it comes after its head: #{title} (RFC #{section})" do
        client = http
        client.write(chunked[""])
        # The server has read the head by now.
        expect(calls).to eq([])
        client.connection.offer(body.b + behind)
        client.connection.finish_writing if finish
        expect(only_answer(client)).to eq(status)
      end

      it "is refused after another request, which is answered: #{title} (RFC #{section})" do
        client = http
        client.connection.offer("GET /first HTTP/1.1\r\nhost: x\r\n\r\n#{chunked[body]}#{behind}".b)
        client.connection.finish_writing if finish
        expect(client.read_response.status).to eq(200)
        expect(only_answer(client)).to eq(status)
        expect(calls).to eq(["/first"])
      end
    end

    ["-1", "+1", "0x5", "5g", " 5", "5 5", "", "g", ";", "0" * 16 + "5", "11112222333344445"].each do |size|
      broken "9112 7.1", "a chunk of size #{size.inspect}", "#{size}\r\nhello\r\n0\r\n\r\n", 400
    end
    broken "9112 7.1", "a chunk whose size ends in LF", "5\nhello\r\n0\r\n\r\n", 400
    broken "9112 7.1", "a chunk whose data end in LF", "5\r\nhello\n0\r\n\r\n", 400
    broken "9112 7.1", "a chunk whose size ends in CR", "5\rhello\r\n0\r\n\r\n", 400
    broken "9112 7.1", "a last chunk whose size ends in LF", "5\r\nhello\r\n0\n\r\n", 400
    broken "9112 7.1", "a last chunk that ends in LF", "5\r\nhello\r\n0\r\n\n", 400
    broken "9112 7.1", "a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n", 400
    broken "9112 7.1", "a chunk shorter than its size", "7\r\nhello\r\n0\r\n\r\n", 400
    broken "9112 7.1", "no last CRLF, and the end", "5\r\nhello\r\n0\r\n", 400, behind: "", finish: true
    broken "9112 7.1", "no last chunk, and the end", "5\r\nhello\r\n", 400, behind: "", finish: true
    broken "9112 7.1.1", "an extension of 1 MB", "5;#{"x" * 1_000_000}\r\nhello\r\n0\r\n\r\n", 400
    broken "9112 7.1.1", "LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", 400
    broken "9112 7.1.2", "trailers of 1 MB", "0\r\n#{"x-a: #{"b" * 990}\r\n" * 1000}\r\n", 400
    broken "9112 7.1.2", "LF in the trailers", "0\r\nx-a: b\n\r\n", 400
    # The size of a chunk is enough for a refusal. Its data need not come.
    broken "9110 15.5.14", "a chunk with a size of 16 hex digits, without data", "ffffffffffffffff\r\n", 413, behind: ""
    broken "9110 15.5.14", "a chunk larger than max_body_size, without data", "200001\r\n", 413, behind: ""
    broken "9110 15.5.14", "a second chunk that together with the first is larger than max_body_size", "5\r\nhello\r\n1ffffc\r\n", 413, behind: ""
    broken "9110 15.5.14", "a chunk larger than max_body_size, with its data", "200001\r\n#{"x" * 0x200001}\r\n0\r\n\r\n", 413
    passed "9110 15.5.14", "chunks of max_body_size in total", chunked["5\r\nhello\r\n1ffffb\r\n#{"x" * 0x1ffffb}\r\n0\r\n\r\n"],
           body: "hello#{"x" * 95}"
    refused "9112 7.1", "no last CRLF", chunked["5\r\nhello\r\n0\r\n"], 408, behind: ""
    refused "9112 7.1.1", "extensions without end", chunked["1;#{"x" * 1000}\r\na\r\n" * 4000], 400, 413, :close
    refused "9110 15.5.14", "chunks of one byte without end", chunked["1\r\na\r\n" * 3_000_000], 413

    refused "9112 8", "a body shorter than its Content-Length", post["content-length: 10"] + "hello", 400, 408, :close, behind: ""
    refused "9112 8", "a body shorter than its Content-Length, and the end", post["content-length: 10"] + "hello",
            400, :close, behind: "", finish: true
    refused "9112 8", "a head without end", "GET /row HTTP/1.1\r\nhost: x\r\n", 400, :close, behind: "", finish: true
    refused "9112 8", "a head that is not continued", "GET /row HTTP/1.1\r\nhost: x\r\n", 408, behind: ""
    refused "9112 9.5", "nothing", "", :close, behind: ""

    passed "9110 6.5.1", "trailers, which are dropped", chunked["5\r\nhello\r\n0\r\nx-trailer: y\r\nhost: evil.example\r\n\r\n"],
           body: "hello", trailer: nil, host: "x"
    passed "9112 7.1.1", "extensions, which are ignored", chunked["5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n"], body: "hello"
    passed "9112 7.1", "a size with leading zeros, in upper case", chunked["00000A\r\nhellohello\r\n000\r\n\r\n"], body: "hello" * 2
    passed "9112 7", "the name of the encoding in upper case", "#{post["Transfer-Encoding: CHUNKED"]}5\r\nhello\r\n0\r\n\r\n", body: "hello"
    passed "9112 6.3", "a GET with a body", "GET /row HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", body: "hello"
    passed "9110 10.1.1", "an unknown expectation, which is ignored", "#{post["expect: the-moon", "content-length: 5"]}hello", body: "hello"

    it "is refused after a body that is longer than its Content-Length: the rest counts as a request (RFC 9112 6.3)" do
      client = http
      client.write("#{post["content-length: 5"]}hello, world\r\n\r\n#{smuggled}")
      expect(client.read_response.status).to eq(200)
      expect(only_answer(client)).to eq(400)
      expect(calls).to eq(["/row"])
    end

    it "gets one 100 Continue before the body is read, if it asks for it (RFC 9110 10.1.1)" do
      client = http
      client.write(post["expect: 100-continue", "content-length: 5"])
      expect(client.read_response(interim: true).status).to eq(100)
      client.write("hello")
      expect(client.read_response(interim: true).status).to eq(200)
      expect(calls).to eq(["/row"])
    end

    it "gets no 100 Continue if its body will be refused (RFC 9110 10.1.1)" do
      client = http
      client.write(post["expect: 100-continue", "content-length: 3000000"])
      expect(client.read_response(interim: true).status).to eq(413)
      expect(client.connection.ending).not_to be_nil
    end
  end

  describe "at the end of a connection" do
    it "is answered when the client half-closes after a request (RFC 9112 9.6)" do
      client = http
      client.write("GET /row HTTP/1.1\r\nhost: x\r\n\r\n")
      client.connection.finish_writing
      expect(client.read_response.status).to eq(200)
      expect(client.connection.ending).to eq(:fin)
      expect(calls).to eq(["/row"])
    end

    it "is answered when the client half-closes after several requests (RFC 9112 9.6)" do
      client = http
      client.write((1..5).map { |number| "GET /#{number} HTTP/1.1\r\nhost: x\r\n\r\n" }.join)
      client.connection.finish_writing
      expect(Array.new(5) { client.read_response.status }).to all(eq(200))
      expect(client.connection.ending).to eq(:fin)
      expect(calls).to eq((1..5).map { |number| "/#{number}" })
    end

    {
      "a head" => "POST /row HTTP/1.1\r\nhos",
      "a body" => "POST /row HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhello",
      "a chunk" => "POST /row HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
      "a spooled body" => "POST /row HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n#{"x" * 500_000}"
    }.each do |what, bytes|
      it "does not reach the app when the client resets within #{what} (RFC 9112 8)" do
        client = http
        client.write(bytes)
        client.connection.reset
        expect(calls).to eq([])
      end
    end
  end

  describe "in large numbers" do
    # Writes while it reads the responses: the buffers cannot hold all of them.
    def expect_answers_in_order(count)
      client = http
      wire = (0...count).map { |number| "GET /#{number} HTTP/1.1\r\nhost: x\r\n\r\n" }.join
      writer = Thread.new { client.write(wire) }
      answers = Array.new(count) { JSON.parse(client.read_response.body)["path"] }
      writer.join
      expect(answers).to eq((0...count).map { |number| "\"/#{number}\"" })
      expect(calls.size).to eq(count)
    end

    it "is answered in order: 20 pipelined requests (RFC 9112 9.3.2)" do
      expect_answers_in_order(20)
    end

    it "is answered in order: 10,000 pipelined requests (RFC 9112 9.3.2)" do
      expect_answers_in_order(10_000)
    end

    it "does not disturb others: 10,000 pipelined requests of a client that does not read, and disconnects (RFC 9112 9.3.2)" do
      client = http(receive_buffer: 4096)
      client.connection.write_some("GET /row HTTP/1.1\r\nhost: x\r\n\r\n" * 10_000)
      client.connection.reset
      expect(calls).to all(eq("/row"))
      # The app may still be handling some.
      eventually("the last of them") { calls.empty? }
    end
  end
end
