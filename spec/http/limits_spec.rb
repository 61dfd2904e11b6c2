# frozen_string_literal: true

require "spec_helper"

# Each limit and timeout of HTTP, with a small value: the status or the end of the connection, and the line in the log. Those of
# push are in spec/contract and spec/stream, the queue of requests in spec/stream/queue_full_spec.rb.
RSpec.describe "The option" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    LARGE = "#{Dir.pwd}/large"
    File.open(LARGE, "wb") { |file| file.truncate(50_000_000) }

    # Sent from a file, so that hundreds of slow readers use no memory.
    class Large
      def to_path = LARGE
      def each = yield(File.binread(LARGE))
    end

    class Endless
      def each
        loop { yield "x" * 65_536 }
      ensure
        SpecApp.report(:ended)
      end
    end

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"]) unless env["PATH_INFO"] == "/"
      case env["PATH_INFO"]
      when "/large" then next [200, { "content-type" => "application/octet-stream" }, Large.new]
      when "/endless" then next [200, {}, Endless.new]
      when "/array" then next [200, {}, ["x" * 20_000_000]]
      when "/wait" then GATE.pop
      when "/hints" then 1000.times { env["rack.early_hints"].call("link" => "<#{"x" * 50_000}>") }
      end
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, [env["rack.input"].read.bytesize.to_s]]
    end)
  CONFIG

  # Waits for the debug line that names the option.
  def expect_line(pattern) = app.wait_for_line(/debug: .*#{pattern}/)

  # How a connection ends that is cut off. Unix sockets know no reset.
  def cut = transport == :unix ? :fin : :reset

  def expect_closed(client) = expect(client.connection.ending).to eq(:fin).or eq(:reset)

  describe "for heads," do
    serve config, "-t", "1", "--log-level", "debug", "--max-head-size", "8KiB", "--max-headers", "10", "--max-uri-size", "100"

    # A request with a head of exactly that many bytes.
    def head_of(size)
      start = "GET / HTTP/1.1\r\nhost: x\r\nx-a: "
      "#{start}#{"b" * (size - start.size - 4)}\r\n\r\n"
    end

    def target_of(size) = "GET /#{"x" * (size - 1)} HTTP/1.1\r\nhost: x\r\n\r\n"

    def answer(bytes)
      client = http
      client.write(bytes)
      [client, client.read_response]
    end

    it "max_head_size accepts a head of that size; a larger one gets 431" do
      expect(answer(head_of(8192)).last.status).to eq(200)
      client, response = answer(head_of(8193))
      expect(response).to have_attributes(status: 431)
      expect_closed(client)
      expect_line(/431/)
    end

    it "max_head_size also refuses an incomplete head with 431" do
      expect(answer(head_of(20_000).chomp("\r\n")).last.status).to eq(431)
    end

    it "max_uri_size accepts a target of that size; a larger one gets 414" do
      expect(answer(target_of(100)).last.status).to eq(200)
      client, response = answer(target_of(101))
      expect(response).to have_attributes(status: 414)
      expect_closed(client)
      expect_line(/414/)
    end

    it "max_headers accepts that many headers; one more gets 431" do
      headers = Array.new(10) { |number| number.zero? ? "host: x\r\n" : "x-#{number}: y\r\n" }
      expect(answer("GET / HTTP/1.1\r\n#{headers.join}\r\n").last.status).to eq(200)
      client, response = answer("GET / HTTP/1.1\r\n#{headers.join}x-10: y\r\n\r\n")
      expect(response).to have_attributes(status: 431)
      expect_closed(client)
      expect_line(/head is too large|max_headers/)
    end
  end

  describe "for bodies," do
    serve config, "-t", "1", "--log-level", "debug", "--max-body-size", "200000", "--body-memory", "1000"

    def chunked(size, chunk)
      parts = Array.new(size / chunk) { "#{chunk.to_s(16)}\r\n#{"x" * chunk}\r\n" }
      "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n#{parts.join}0\r\n\r\n"
    end

    it "max_body_size accepts a body of that size" do
      expect(http.request("POST", "/", body: "x" * 200_000).body).to eq("200000")
      client = http
      client.write(chunked(200_000, 1000))
      expect(client.read_response.body).to eq("200000")
    end

    it "max_body_size refuses a larger content-length with 413, before the body comes" do
      client = http
      client.send_request("POST", "/", { "content-length" => "200001" })
      expect(client.read_response.status).to eq(413)
      expect_closed(client)
      expect_line(/413.*max_body_size/)
    end

    it "max_body_size refuses chunks that are larger in total with 413" do
      client = http
      client.connection.offer(chunked(300_000, 100))
      expect(client.read_response.status).to eq(413)
      expect_closed(client)
    end

    # If the server closed the connection with unread bytes, the client would get a reset, and perhaps no response (RFC 9112 section
    # 9.6).
    it "max_body_size sends 413 and no reset to a client that goes on sending" do
      client = http
      client.send_request("POST", "/", { "content-length" => "20000000" })
      client.connection.write("x" * 20_000_000)
      expect(client.read_response.status).to eq(413)
      expect(client.connection.ending).to eq(:fin)
    end

    it "max_body_size sends 413 and no reset to a client that goes on sending chunks" do
      client = http
      client.send_request("POST", "/", { "transfer-encoding" => "chunked" })
      client.connection.write("#{20_000_000.to_s(16)}\r\n#{"x" * 20_000_000}\r\n0\r\n\r\n")
      expect(client.read_response.status).to eq(413)
      expect(client.connection.ending).to eq(:fin)
    end

    it "max_body_size ends the connection of a client that does not stop sending" do
      client = http
      client.send_request("POST", "/", { "content-length" => "20000000" })
      expect(client.read_response.status).to eq(413)
      eventually("the end of the connection") do
        client.connection.write_some("x")
        false
      rescue Errno::EPIPE, Errno::ECONNRESET
        true
      end
    end
  end

  describe "for time," do
    serve config, "-t", "1", "--log-level", "debug",
          *%w[--head-timeout 0.5 --body-timeout 0.5 --body-progress 1000 --keep-alive-timeout 0.5 --write-timeout 0.5]

    # Sends a byte again and again until the server answers or ends the connection.
    def drip(client, byte)
      eventually("the timeout") do
        client.connection.offer(byte)
        client.connection.anything?
      end
    end

    it "head_timeout closes a new connection without a request" do
      expect(http.connection.read_to_end).to eq("")
      expect_line(/head_timeout/)
    end

    it "head_timeout answers 408 to a head that comes too slowly" do
      client = http
      client.write("GET / HTTP/1.1\r\nhost: x\r\nx-a: ")
      drip(client, "b")
      expect(client.read_response.status).to eq(408)
      expect_closed(client)
      expect_line(/rest of a head.*head_timeout/)
    end

    it "head_timeout answers 408 to the second head on a connection" do
      client = http
      client.get("/")
      client.write("GET / HT")
      expect(client.read_response.status).to eq(408)
      expect_closed(client)
    end

    it "head_timeout does not count empty lines as a head" do
      client = http
      drip(client, "\r\n")
      expect(client.connection.read_to_end).to be_empty.or start_with("HTTP/1.1 408")
    end

    it "body_timeout answers 408 to a body that stops" do
      client = http
      client.send_request("POST", "/", { "content-length" => "10" })
      client.write("hello")
      expect(client.read_response.status).to eq(408)
      expect_closed(client)
      expect_line(/body_timeout/)
    end

    it "body_progress answers 408 to a body that comes too slowly, by length or in chunks" do
      [["content-length: 1000000", "b"], ["transfer-encoding: chunked", "1\r\nb\r\n"]].each do |header, drop|
        client = http
        client.send_request("POST", "/", [header])
        drip(client, drop)
        expect(client.read_response.status).to eq(408)
        expect_closed(client)
      end
    end

    it "body_timeout accepts a slow body that makes progress" do
      client = http
      client.send_request("POST", "/", { "content-length" => "40000" })
      # Takes longer than the deadline of another body, which began later and stops.
      other = http
      40.times do |number|
        other.send_request("POST", "/", { "content-length" => "10" }) if number == 5
        client.write("x" * 1000)
        eventually("the other to be refused") { other.connection.anything? } if number == 38
        sleep Eventually::POLL
      end
      expect(other.read_response.status).to eq(408)
      expect(client.read_response.body).to eq("40000")
    end

    # Sends two requests in one write, the second up to the middle of its body. The first takes longer than body_timeout.
    def send_after_slow_request(head, beginning)
      client = http
      client.write("GET /wait HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\n#{head}\r\n\r\n#{beginning}")
      app.events.take(event: "call", path: "/wait")
      yield client
      # A body that began later has timed out by now.
      expect(http.request("POST", "/", { "content-length" => "1" }).status).to eq(408)
      app.ask("GATE << true; nil")
      expect(client.read_response).to have_attributes(status: 200, body: "0")
      client
    end

    # head, the beginning of the body, the rest
    halves = { "by length" => ["content-length: 10", "hello", "world"],
               "by length, larger than a read" => ["content-length: 1000000", "x" * 100, "x" * 999_900],
               "in chunks" => ["transfer-encoding: chunked", "5\r\nhel", "lo\r\n5\r\nworld\r\n0\r\n\r\n"] }
    halves.each do |what, (head, beginning, rest)|
      describe "body_timeout, for a body after a slow request (#{what})," do
        size = what.include?("larger") ? "1000000" : "10"

        it "accepts it if it has come when its turn comes" do
          client = send_after_slow_request(head, beginning) { |it| Thread.new { it.write(rest) } }
          expect(client.read_response).to have_attributes(status: 200, body: size)
          expect(client.get("/").status).to eq(200)
        end

        it "accepts it if it comes after its turn has begun" do
          client = send_after_slow_request(head, beginning) { nil }
          client.write(rest)
          expect(client.read_response).to have_attributes(status: 200, body: size)
          expect(client.get("/").status).to eq(200)
        end

        it "answers 408 if it does not come" do
          client = send_after_slow_request(head, beginning) { nil }
          expect(client.read_response.status).to eq(408)
          expect_closed(client)
        end
      end
    end

    it "keep_alive_timeout closes an idle connection" do
      client = http
      client.get("/")
      expect(client.connection.read_to_end).to eq("")
      expect_line(/keep_alive_timeout/)
    end

    it "keep_alive_timeout does not apply during a slow request" do
      client = http
      client.send_request("GET", "/wait")
      app.events.take(event: "call", path: "/wait")
      expect(http.connection.ending).not_to be_nil
      app.ask("GATE << true; nil")
      expect(client.read_response.status).to eq(200)
    end

    it "write_timeout resets a client that does not read early hints" do
      timeouts = app.ask("PushServer.stats[:write_timeouts]")
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/hints")
      eventually("the timeout") { app.ask("PushServer.stats[:write_timeouts]") > timeouts }
      expect(client.connection.ending).to eq(cut)
    end

    { "/array" => "bytes", "/large" => "a file", "/endless" => "a body with each" }.each do |path, what|
      it "write_timeout resets a client that does not read its response (#{what})" do
        client = http(receive_buffer: 4096)
        client.send_request("GET", path)
        client.read_head
        app.wait_for_line(/write_timeout/)
        app.events.take(event: "ended") if path == "/endless"
        eventually("the reset") { client.connection.write_some("x").zero? }
      rescue Errno::EPIPE, Errno::ECONNRESET
        expect { client.connection.read_exactly(60_000_000) }.to raise_error(RawConnection::Ended)
      end
    end
  end

  describe "for connections," do
    serve config, "-t", "1", "--max-connections", "3"

    it "max_connections makes one more wait until another has closed" do
      clients = Array.new(3) { http }
      clients.each { |client| expect(client.get("/").status).to eq(200) }
      waiting = Array.new(2) { http.send_request("GET", "/late") }
      3.times { clients.each { |client| client.get("/") } }
      expect(waiting.map { |client| client.connection.anything? }).to eq([false, false])
      expect(app.events.all(path: "/late")).to be_empty
      2.times do |number|
        clients.pop.close
        expect(waiting[number].read_response.status).to eq(200)
      end
    end

    it "max_connections counts streams" do
      clients = Array.new(3) { websocket }
      waiting = http.send_request("GET", "/")
      clients.each { |client| event(:open, client) }
      expect(waiting.connection.anything?).to be(false)
      clients.first.close
      expect(waiting.read_response.status).to eq(200)
    end
  end

  describe "for the queue," do
    serve config, "-t", "1", "--log-level", "debug", "--max-queue", "1"

    it "max_queue answers 503 with Retry-After to one more request, which is logged" do
      running = http.send_request("GET", "/wait")
      app.events.take(event: "call", path: "/wait")
      others = Array.new(2) { http.send_request("GET", "/") }
      refused = eventually("one to be refused") { others.find { |client| client.connection.anything? } }
      expect(response = refused.read_response).to have_attributes(status: 503)
      expect(Integer(response["retry-after"], 10)).to be >= 1
      expect_line(/503.*max_queue/)
      app.ask("GATE << true; nil")
      [running, *(others - [refused])].each { |client| expect(client.read_response.status).to eq(200) }
    end
  end

  describe "for messages," do
    serve config, "-t", "1", "--log-level", "debug", "--max-message-size", "1000"

    it "max_message_size closes a WebSocket with 1009 for a larger one, which is logged" do
      client = websocket
      client.text("x" * 1001)
      expect(client.read_close.first).to eq(1009)
      expect_line(/1009|max_message_size/)
    end
  end

  # Some send nothing, some a slow head, some a slow body, and some do not read.
  describe "for time, with 500 slow clients," do
    serve config, "-t", "2", "--log-level", "debug",
          *%w[--head-timeout 2 --body-timeout 2 --keep-alive-timeout 2 --write-timeout 2]

    def bad_clients
      each = 125
      { silent: Array.new(each) { http },
        head: Array.new(each) { http.tap { |client| client.write("GET / HTTP/1.1\r\nhost: x\r\nx-a: ") } },
        body: Array.new(each) { http.send_request("POST", "/", { "content-length" => "1000000" }) },
        reader: Array.new(each) { http(receive_buffer: 4096).send_request("GET", "/large") } }
    end

    def told(pattern) = app.lines.count { |line| pattern.match?(line) }

    it "each closes its share of them, and good requests are answered meanwhile" do
      clients = bad_clients
      good = 0
      eventually("all of them to time out") do
        expect(get("/").status).to eq(200)
        good += 1
        (clients[:head] + clients[:body]).each { |client| client.connection.offer("x") }
        [/a first request/, /rest of a head/, /rest of a body/, /write_timeout/].all? { |pattern| told(pattern) >= 125 }
      end
      expect(good).to be > 10
      expect(clients[:silent].map { |client| client.connection.read_to_end }).to all(eq(""))
      expect((clients[:head] + clients[:body]).map { |client| client.read_response.status }).to all(eq(408))
      expect(clients[:reader].map { |client| client.connection.ending }).to all(eq(cut))
      expect(get("/").status).to eq(200)
    end
  end
end
