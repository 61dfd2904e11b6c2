# frozen_string_literal: true

require "spec_helper"
require "time"

# What --access-log writes, and when.
RSpec.describe "The access log" do
  include Command

  source = <<~'CONFIG'
    require "spec_app"

    $let_go = Thread::Queue.new

    raising = Class.new do
      def each
        yield "x" * 10
        SpecApp.report(:half)
        raise "in the middle"
      end
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/stream" then [200, {}, %w[one two three].each]
      when "/told" then [200, { "content-length" => "3" }, %w[one two].each]
      when "/half" then [200, {}, raising.new]
      when "/large" then [200, {}, ["x" * 50_000_000]]
      when "/unchanged" then [304, {}, []]
      when "/gone"
        SpecApp.report(:called)
        $let_go.pop
        [200, {}, ["late"]]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("raw")
        io.close
        [-1, {}, []]
      when "/partial" then [202, { "rack.hijack" => ->(io) { io.close } }, []]
      when "/socket", "/events"
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) },
                                                    open: ->(client) { client.write("hi") })
        [200, {}, []]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  # The lines of a log file in the app's folder.
  def lines(name = "access.log")
    path = File.join(app.dir, name)
    File.exist?(path) ? File.readlines(path, chomp: true) : []
  end

  # Waits for `count` lines that match, and returns the last of them.
  def logged(pattern, count = 1, name: "access.log")
    found = eventually("#{count} lines like #{pattern.inspect}") do
      matching = lines(name).grep(pattern)
      matching if matching.size >= count
    end
    count == 1 ? found.last : found.last(count)
  end

  def entry(pattern) = JSON.parse(logged(pattern), symbolize_names: true)

  time = %r{\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]}

  # The ID of a long poll, with its secret token.
  ticket = "cc8cae96a686-17.#{"0123456789abcdef" * 2}.3"
  token = ticket[/\h{32}/]

  %w[common combined json].each do |format|
    context "of requests with the token of a long poll's session, in the format #{format}" do
      serve source, "--access-log", format, "--access-log-file", "access.log", "--log-level", "debug"

      it "does not contain the token, and neither does the server's log" do
        get("/redacted?a=b&last_event_id=#{ticket}", { "referer" => "http://a/?last_event_id=#{ticket}" })
        get("/redacted?last_event_id=#{ticket.gsub(".", "%2E")}&push_wait=0", { "accept" => "text/event-stream" })
        websocket("/socket?last_event_id=#{ticket}&").finish
        sse("/events?last_event_id=#{ticket}&").close
        logged(/"GET|"method"/, 6)
        all = lines.join("\n")
        expect(all).to include("/redacted?a=b&last_event_id=cc8cae96a686-17.redacted.3", "&push_wait=0")
        expect(all.scan("cc8cae96a686-17.redacted.3").size).to be >= 6
        expect(all + app.output).not_to include(token)
      end
    end
  end

  context "in the format common, which is Apache's" do
    serve source, "--access-log", "common", "--access-log-file", "access.log"

    it "has the client, the time, the request line, the status and the bytes" do
      get("/common?a=b", { "referer" => "http://a/", "user-agent" => "spec" })
      expect(logged(/common/)).to match(%r{\A127\.0\.0\.1 - - #{time} "GET /common\?a=b HTTP/1\.1" 200 5\z})
    end

    it "has the time of the request, in the machine's time zone" do
      before = Time.now.to_i
      get("/time")
      possible = (before..Time.now.to_i).map { |seconds| Time.at(seconds).strftime("%d/%b/%Y:%H:%M:%S %z") }
      expect(possible).to include(logged(%r{/time})[/\[(.+?)\]/, 1])
    end

    it "has a hyphen for no bytes" do
      http.request("HEAD", "/head")
      get("/unchanged")
      expect([logged(/head/), logged(/unchanged/)]).to match([end_with('HTTP/1.1" 200 -'), end_with('HTTP/1.1" 304 -')])
    end

    it "marks a response that was cut off" do
      connection = http.send_request("GET", "/half").connection
      connection.ending
      expect(logged(%r{/half})).to end_with('HTTP/1.1" 200 10 cut')
    end

    it "has a hyphen for an invalid request line" do
      connection = RawConnection.new(app.address)
      connection.write("NONSENSE\r\n\r\n")
      connection.ending
      expect(logged(/"-"/)).to match(/\A127\.0\.0\.1 - - #{time} "-" 400 \d+\z/)
    end
  end

  context "in the format combined, which is Apache's" do
    serve source, "--access-log", "combined", "--access-log-file", "access.log"

    it "adds the referer and the user agent" do
      get("/combined", { "referer" => "http://a/", "user-agent" => "spec/1 (x)" })
      expect(logged(/combined/)).to match(%r{\A127\.0\.0\.1 - - #{time} "GET /combined HTTP/1\.1" 200 5 "http://a/" "spec/1 \(x\)"\z})
      get("/bare")
      expect(logged(/bare/)).to end_with('200 5 "-" "-"')
    end

    it "escapes what clients send, so that they cannot forge an entry" do
      get('/"quoted"', { "user-agent" => "a\" 200 9\t\\ \xC2\x9B2J" })
      expect(logged(/quoted/)).to end_with('"GET /\"quoted\" HTTP/1.1" 200 5 "-" "a\" 200 9\t\\\\ \xc2\x9b2J"')
    end

    it "has a line when a stream begins and one when it ends" do
      client = websocket("/socket", headers: { "user-agent" => "spec" })
      expect(client.read_message).to eq("hi")
      expect(logged(%r{/socket})).to match(%r{"GET /socket\?#{client.id} HTTP/1\.1" 101 - "-" "spec"\z})
      client.text("abc")
      client.read_message
      client.finish(4000)
      expect(logged(/closed/)).to match(
        /HTTP\/1\.1" 101 \d+ "-" "spec" closed code=4000 duration=\d+\.\d{6} messages_in=1 messages_out=2 bytes_in=\d+ bytes_out=\d+\z/
      )
    end
  end

  context "in the format json" do
    serve source, "--access-log", "json", "--access-log-file", "access.log", "--public", "public", "--max-uri-size", "1000",
          "-t", "2", files: { "public/page.html" => "<p>page</p>" }

    it "has the documented fields" do
      before = Time.now
      get("/fields?a=b", { "referer" => "http://a/", "user-agent" => "spec", "host" => "example.org:80" })
      entry = entry(/fields/)
      expect(entry).to match(
        time: /\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\z/, remote: "127.0.0.1", method: "GET", target: "/fields?a=b",
        protocol: "HTTP/1.1", status: 200, bytes: 5, duration: be_between(0, 60), referer: "http://a/", user_agent: "spec",
        host: "example.org:80", upgrade: nil
      )
      expect(Time.iso8601(entry[:time])).to be_between(before - 0.001, Time.now)
    end

    it "escapes what clients send, so that they cannot forge an entry" do
      agent = "\",\"status\":500,\"x\":\"\\ \t\u{85}é"
      get("/injected", { "user-agent" => agent })
      expect(entry(/injected/)).to include(status: 200, user_agent: agent)
      expect(logged(/injected/)).not_to match(/[[:cntrl:]]/)
    end

    { "/stream" => 11, "/told" => 3, "/page.html" => 11, "/large" => 50_000_000 }.each do |path, bytes|
      it "has the bytes of a body: #{path}" do
        client = http
        client.send_request("GET", path)
        path == "/told" ? client.read_head : client.read_response
        entry = entry(/"#{path}"/)
        expect(entry).to include(status: 200, bytes: bytes)
        expect(entry).not_to have_key(:cut)
      end
    end

    it "has one line for each response, also on one connection" do
      client = http
      client.write("GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n")
      2.times { client.read_response }
      expect(%w[first second].map { |path| entry(/#{path}/)[:bytes] }).to eq([5, 5])
      expect(lines.grep(/first|second/).size).to eq(2)
    end

    it "has the bytes that the socket took of a response that its client does not read" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/large?unread")
      client.read_head
      client.connection.reset
      expect(entry(/unread/)).to include(status: 200, bytes: be_between(1, 49_999_999), cut: true)
    end

    it "has a line for requests that the server refuses" do
      get("/#{"x" * 2000}")
      expect(entry(/:414/)).to include(status: 414, target: nil, method: nil, bytes: be > 0)
      expect { websocket("/refused", headers: { "origin" => "http://evil.example" }) }.to raise_error(WebSocketClient::Refused)
      expect(entry(/:403/)).to include(target: start_with("/refused"), upgrade: nil)
    end

    it "has a line for a request whose client disconnects before the response" do
      connection = http.send_request("GET", "/gone").connection
      app.events.take(event: "called")
      connection.reset
      expect(entry(%r{/gone})).to include(status: nil, bytes: 0)
    ensure
      app.ask("$let_go << 1; nil")
    end

    it "has a line for connections that the app hijacks" do
      expect(http.send_request("GET", "/hijack").connection.read_to_end).to eq("raw")
      expect(entry(%r{/hijack})).to include(status: nil, upgrade: "hijack")
      http.send_request("GET", "/partial").connection.ending
      expect(entry(%r{/partial})).to include(status: 202, upgrade: "hijack")
    end

    it "has a line when a WebSocket begins and one when it ends" do
      client = websocket("/socket")
      client.read_message
      expect(entry(/#{client.id}"/)).to include(status: 101, bytes: 0, upgrade: "websocket")
      3.times { client.text("abc") }
      3.times { client.read_message }
      client.finish(1000)
      # A frame has a header of 2 bytes, and from the client 4 more for the key; a Close frame has 2 bytes for its code.
      expect(entry(/#{client.id}".*closed/)).to include(
        status: 101, upgrade: "websocket", closed: true, close_code: 1000, messages_in: 3, messages_out: 4,
        bytes_in: (3 * 9) + 8, bytes_out: 4 + (3 * 5) + 4, bytes: 23, duration: be > 0
      )
    end

    it "has a line when an event stream begins and one when it ends" do
      client = sse("/events")
      event = client.read_event
      expect(event.data).to eq("hi")
      expect(entry(/#{client.id}"/)).to include(status: 200, upgrade: "sse")
      client.close
      expect(entry(/#{client.id}".*closed/)).to include(
        status: 200, upgrade: "sse", closed: true, close_code: nil, messages_in: 0, messages_out: 1, bytes_out: be > 10
      )
    end
  end

  describe "as a file" do
    it "is reopened at HUP, and loses no line" do
      start_app(source, "--access-log", "common", "--access-log-file", "access.log")
      get("/before")
      logged(/before/)
      File.rename(File.join(app.dir, "access.log"), File.join(app.dir, "access.log.1"))
      get("/between")
      logged(/between/, name: "access.log.1")
      app.signal("HUP")
      eventually { File.exist?(File.join(app.dir, "access.log")) }
      get("/after")
      logged(/after/)
      expect([lines("access.log.1").size, lines.size]).to eq([2, 1])
    end

    it "is reopened at HUP in a program with an embedded server" do
      start_app(<<~RUBY, via: :ruby)
        require "push_server"
        PushServer::Server.init(0, nil, thread_count: 0, access_log: :json, access_log_file: "access.log")
        PushServer::Server.handle(:GET, "/**", ->(_env) { [200, {}, []] })
        PushServer::Server.start
      RUBY
      File.delete(File.join(app.dir, "access.log"))
      app.signal("HUP")
      eventually { File.exist?(File.join(app.dir, "access.log")) }
      get("/after")
      expect(entry(/after/)[:status]).to eq(200)
    end

    it "is readable for others, and appended to" do
      start_app("File.umask(0)\n#{source}", "--access-log", "common", "--access-log-file", "log/access.log",
            files: { "log/access.log" => "old\n" })
      get("/new")
      expect(eventually { lines("log/access.log")[1] }).to match(%r{GET /new})
      File.delete(File.join(app.dir, "log/access.log"))
      app.signal("HUP")
      mode = eventually do
        File.stat(File.join(app.dir, "log/access.log")).mode
      rescue Errno::ENOENT
        nil
      end
      expect(mode & 0o777).to eq(0o644)
    end

    it "is complete when the server has stopped" do
      Dir.mktmpdir do |dir|
        path = File.join(dir, "access.log")
        start_app(source, "--access-log", "json", "--access-log-file", path)
        client = http
        300.times { |number| client.get("/#{number}") }
        stream = websocket("/socket")
        stream.read_message
        app.signal("TERM")
        stream.send_close(*stream.read_close)
        expect(app.wait).to be_success
        entries = File.readlines(path).map { |line| JSON.parse(line) }
        expect(entries.first(300).map { |entry| entry["target"] }).to eq(Array.new(300) { |number| "/#{number}" })
        expect(entries.drop(300)).to match([include("status" => 101), include("closed" => true, "close_code" => 1001)])
      end
    end

    it "must be writable; otherwise the server prints one line and does not start" do
      { "no/such/folder/access.log" => /No such file or directory/, "." => /Is a directory/ }.each do |path, reason|
        result = push_server("--access-log", "json", "--access-log-file", path, files: { "config.ru" => "run ->(_) {}" })
        expect(result.complaint).to match([/\Apush_server: cannot open the access log .*: #{reason}/])
        expect(result.exitstatus).not_to eq(0)
      end
    end
  end

  describe "on stdout" do
    serve source, "--access-log", "json"

    it "is printed among other output" do
      get("/stdout")
      expect(JSON.parse(app.wait_for_line(/stdout/))).to include("target" => "/stdout", "status" => 200)
    end

    it "needs no reopening: HUP is ignored" do
      app.signal("HUP")
      get("/after-hup")
      expect(JSON.parse(app.wait_for_line(/after-hup/))["status"]).to eq(200)
    end
  end

  describe "by default" do
    serve source

    it "is not written, and HUP is ignored" do
      app.signal("HUP")
      expect(get("/unlogged").status).to eq(200)
      expect(app.lines.grep(/unlogged/)).to be_empty
    end
  end

  describe "while the queue of requests is full" do
    serve <<~CONFIG, "--access-log", "json", "--access-log-file", "access.log", "-t", "1", "--max-queue", "1"
      require "spec_app"

      $go = Thread::Queue.new

      run(lambda do |_env|
        SpecApp.report(:called)
        $go.pop
        [200, {}, []]
      end)
    CONFIG

    it "has a line for each 503" do
      first = http.send_request("GET", "/running")
      app.events.take(event: "called")
      others = Array.new(2) { http.send_request("GET", "/waiting") }
      refused = eventually { others.find { |client| client.connection.anything? } }
      expect(refused.read_response.status).to eq(503)
      expect(entry(/:503/)).to include(target: "/waiting", status: 503, bytes: be > 0)
      app.ask("2.times { $go << 1 }; nil")
      expect([first, *(others - [refused])].map { |client| client.read_response.status }).to eq([200, 200])
    end
  end
end
