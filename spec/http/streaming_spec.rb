# frozen_string_literal: true

require "spec_helper"

# Bodies that last: those with each, and Rack 3's, which are called with a stream. What they are on the wire is in
# responses_spec.rb; this is about threads, clients that come and go, and memory.
RSpec.describe "A streaming body" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    FEEDS = []
    LOCK = Mutex.new
    $produced = 0

    # Yields what it is fed, until it is fed nil.
    class Feed
      def initialize(name, *parts)
        @name = name
        @parts = Queue.new
        parts.each { |part| @parts << part }
        @thread = Thread.current
        LOCK.synchronize { FEEDS << self }
      end

      def <<(part)
        @parts << part
        self
      end

      def each
        SpecApp.report(:streaming, id: @name, same: Thread.current.equal?(@thread))
        while (part = @parts.pop)
          yield part
        end
      ensure
        LOCK.synchronize { FEEDS.delete(self) }
        SpecApp.report(:ended, id: @name)
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    # Called with a stream, or with nothing but a name to be known by.
    class Callable
      def initialize(name, &block)
        @name = name
        @block = block
      end

      def call(stream) = @block.call(stream)
      def close = SpecApp.report(:closed, id: @name)
    end

    # An Enumerator of which the app has taken the first part: its fiber belongs to the app's thread.
    class HalfConsumed
      def initialize
        @parts = Enumerator.new { |parts| 5.times { |number| parts << "#{number} " } }
        @first = @parts.next
      end

      def each
        yield @first
        loop { yield @parts.next }
      end
    end

    class Endless
      def initialize(name) = @name = name

      def each
        loop do
          $produced += 65_536
          yield "x" * 65_536
        end
      ensure
        SpecApp.report(:ended, id: @name)
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    def self.raised
      yield
      nil
    rescue StandardError => e
      e.class.name
    end

    methods = lambda do |stream, name|
      read = [stream.read(3), stream.read]
      open = stream.closed?
      stream << "one " << "two "
      wrote = stream.write("three ")
      stream.flush
      stream.close_read
      half = [raised { stream.read }, stream.closed?]
      stream.write("four")
      stream.close_write
      SpecApp.report(:methods, id: name, read: read, open: open, wrote: wrote, half: half, closed: stream.closed?,
                               late: [raised { stream.write("five") }, raised { stream << "six" }, raised { stream.close }])
    end

    text = { "content-type" => "text/plain" }
    events = { "content-type" => "text/event-stream" }
    app = lambda do |env|
      name = env["QUERY_STRING"]
      case env["PATH_INFO"]
      when "/feed" then [200, text, Feed.new(name)]
      when "/events" then [200, events, Feed.new(name, "retry: 1000\n\n")]
      when "/half-consumed" then [200, text, HalfConsumed.new]
      when "/endless" then [200, text, Endless.new(name)]
      when "/endless-call"
        [200, text, Callable.new(name) do |stream|
          loop do
            $produced += 65_536
            stream.write("x" * 65_536)
          end
        ensure
          SpecApp.report(:ended, id: name)
        end]
      when "/locals"
        Thread.current[:fiber] = "fiber-local "
        Thread.current.thread_variable_set(:thread, "thread-local")
        [200, text, Enumerator.new { |parts| parts << Thread.current.thread_variable_get(:thread) }]
      when "/methods" then [200, text, Callable.new(name) { |stream| methods[stream, name] }]
      when "/call-close" then [200, text, Callable.new(name) { |stream| (stream << "done").close }]
      when "/call-nothing" then [200, text, Callable.new(name, &:close)]
      when "/call-lambda" then [200, text, ->(stream) { (stream << "a lambda").close }]
      when "/call-twice" then [200, text, Callable.new(name) { |stream| 2.times { stream.close } }]
      when "/call-raise" then [200, text, Callable.new(name) { |stream| (stream << "half").flush; raise "the stream failed" }]
      when "/call-raise-closed" then [200, text, Callable.new(name) { |stream| (stream << "whole").close; raise "afterwards" }]
      when "/call-length" then [200, text.merge("content-length" => "5"), ->(stream) { (stream << "12345").close }]
      when "/call-head" then [200, text, Callable.new(name) { |stream| SpecApp.report(:called, id: name); stream.close }]
      when "/thread"
        [200, text, Callable.new(name) do |stream|
          Thread.new do
            GATE.pop
            stream << "from another thread"
            stream.close
            SpecApp.report(:written, id: name)
          end
        end]
      when "/thread-endless"
        [200, text, Callable.new(name) do |stream|
          Thread.new do
            loop { stream.write("x" * 65_536) }
          rescue StandardError => e
            SpecApp.report(:ended, id: name, error: e.class.name)
          end
        end]
      when "/each-and-call"
        both = Callable.new(name) { |stream| (stream << "call").close }
        def both.each = yield("each")
        [200, text, both]
      else [200, text, ["plain"]]
      end
    end
  CONFIG

  open = "#{config}\nrun app\n"
  linted = "#{config}\nuse Rack::Lint\nrun app\n"

  def named = "?#{@name = Serving.next_name}"
  def told(event, id = @name, **fields) = app.events.take(event: event, id: id, **fields)

  def workers = app.ask('Thread.list.count { |thread| thread.name.to_s.start_with?("push_server worker") }')

  def expect_workers(count) = eventually("#{count} workers") { workers == count }

  # Starts a request whose body lasts, and returns once it does.
  def stream(path = "/feed", **options)
    client = http(**options)
    client.send_request("GET", path + named)
    told("streaming") if path == "/feed"
    client
  end

  def feed(part) = app.ask("LOCK.synchronize { FEEDS.each { |feed| feed << #{part.inspect} } }; nil")

  def expect_closed_once(id = @name)
    told("closed", id)
    get("/")
    expect(app.events.all(event: "closed", id: id).size).to eq(1)
  end

  describe "with each" do
    serve open, "--threads", "2"

    after do
      feed(nil)
      expect_workers(2)
    end

    it "runs on the thread that called the app" do
      client = http
      client.send_request("GET", "/feed#{named}")
      told("streaming", same: true)
      feed(nil)
      client.read_response
      expect_closed_once
    end

    it "may be an Enumerator that was begun: its fiber belongs to a thread" do
      expect(get("/half-consumed").body).to eq("0 1 2 3 4 ")
    end

    it "has the thread's variables" do
      expect(get("/locals").body).to eq("thread-local")
    end

    it "leaves all workers to other requests, however many last" do
      clients = Array.new(10) { stream }
      20.times { expect(get("/").body).to eq("plain") }
      feed("part")
      clients.each { |client| expect(client.read_head.status).to eq(200) }
      clients.each { |client| expect(client.connection.read_until("part\r\n")).to eq("4\r\npart\r\n") }
      expect_workers(12)
    end

    it "ends when its client is gone, and is closed once" do
      client = stream
      feed("part")
      client.read_head
      client.connection.reset
      eventually("the body to end") do
        feed("part")
        app.events.all(event: "ended", id: @name).any?
      end
      expect_closed_once
    end

    it "ends when its client is gone while it waits for room" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/endless#{named}")
      client.read_head
      client.connection.reset
      told("ended")
      expect_closed_once
    end

    it "ends when its client has half-closed and does not read" do
      client = stream
      feed("part")
      client.read_head
      client.close
      eventually("the body to end") do
        feed("part")
        app.events.all(event: "ended", id: @name).any?
      end
      expect_closed_once
    end

    it "makes no more than a slow client takes" do
      before = app.resident
      clients = Array.new(5) { http(receive_buffer: 4096) }
      produced = app.ask("$produced")
      clients.each { |client| client.send_request("GET", "/endless#{named}") }
      clients.each(&:read_head)
      last = nil
      # Until it has come to rest: a body that does not wait for its client never would.
      eventually("no more to be made") do
        20.times { get("/") }
        now = app.ask("$produced")
        now == last or (last = now) && false
      end
      expect(last - produced).to be < 5 * 10_000_000
      expect(app.resident - before).to be < 50_000 if before
      clients.each { |client| client.connection.reset }
      5.times { app.events.take(event: "ended", id: /./) }
    end

    it "wins if the body can be called, too" do
      expect(get("/each-and-call#{named}").body).to eq("each")
      expect_closed_once
    end
  end

  describe "with call" do
    before { skip "streaming bodies came with Rack 3" if Rack.release < "3" }

    {
      "as it is" => open,
      "behind Rack::Lint" => linted
    }.each do |title, source|
      context title do
        serve source, "--threads", "2"

        it "reads and writes, and is closed for either or both" do
          response = http.request("POST", "/methods#{named}", { "content-type" => "text/plain" }, body: "abcdef")
          expect(response).to have_attributes(status: 200, framing: :chunked, body: "one two three four")
          expect(told("methods")).to include(read: %w[abc def], open: false, wrote: 6, half: ["IOError", false], closed: true,
                                             late: ["IOError", "IOError", nil])
          expect_closed_once
        end

        it "may outlive the call, on another thread, and occupies no worker" do
          clients = Array.new(5) { http.send_request("GET", "/thread#{named}") }
          5.times { app.events.take(event: "closed", id: /./) }
          clients.each { |client| expect(client.read_head.status).to eq(200) }
          expect(get("/").body).to eq("plain")
          expect_workers(2)
          app.ask("5.times { GATE << true }; nil")
          clients.each { |client| expect(client.connection.read_until("0\r\n\r\n")).to include("from another thread") }
          5.times { app.events.take(event: "written") }
        end
      end
    end

    describe "of whatever kind" do
      serve open, "--threads", "2"

      after { expect_workers(2) }

      it "is closed once" do
        { "/call-close" => "done", "/call-nothing" => "", "/call-twice" => "" }.each do |path, text|
          expect(get(path + named).body).to eq(text)
          expect_closed_once
        end
      end

      it "may be a lambda, or have a length" do
        expect(get("/call-lambda").body).to eq("a lambda")
        expect(get("/call-length")).to have_attributes(framing: :length, body: "12345")
      end

      it "ends with the connection on HTTP/1.0" do
        expect(get("/call-lambda", {}, version: "1.0")).to have_attributes(framing: :close, body: "a lambda")
      end

      it "is not called for HEAD, but closed" do
        response = http.request("HEAD", "/call-head#{named}")
        expect(response.status).to eq(200)
        expect_closed_once
        expect(app.events.all(event: "called", id: @name)).to be_empty
      end

      it "that raises is no whole body, is logged, and closed once" do
        client = http
        client.send_request("GET", "/call-raise#{named}")
        expect(client.read_head.status).to eq(200)
        expect(client.connection.read_to_end).not_to end_with("0\r\n\r\n")
        app.wait_for_line(/the stream failed/)
        expect_closed_once
      end

      it "that raises once it has closed the stream is whole" do
        expect(get("/call-raise-closed#{named}").body).to eq("whole")
        app.wait_for_line(/afterwards/)
        expect_closed_once
      end

      it "ends when its client is gone" do
        client = http(receive_buffer: 4096)
        client.send_request("GET", "/endless-call#{named}")
        client.read_head
        client.connection.reset
        told("ended")
        expect_closed_once
      end

      it "ends on another thread when its client is gone" do
        client = http(receive_buffer: 4096)
        client.send_request("GET", "/thread-endless#{named}")
        client.read_head
        client.connection.reset
        expect(told("ended")[:error]).to be_a(String)
      end
    end
  end

  describe "of Server-Sent Events, without rack.upgrade" do
    serve open, "--threads", "5"

    it "streams to 50 clients while 200 requests are answered; afterwards all is as it was" do
      expect_workers(5)
      streams = Array.new(50) { sse("/events") }
      expect(streams).to all(be_accepted)
      ticking = true
      ticks = Thread.new do
        count = 0
        while ticking
          feed("data: #{count += 1}\n\n")
          sleep Eventually::POLL
        end
        count
      end
      200.times { expect(get("/").body).to eq("plain") }
      ticking = false
      total = ticks.value
      expect(total).to be > 3
      streams.each { |client| expect(Array.new(total) { client.read_event.data.to_i }).to eq((1..total).to_a) }
      expect_workers(55)
      streams.each(&:close)
      eventually("the bodies to end") do
        feed(": anybody?\n\n")
        workers == 5
      end
      streams.each { |client| expect_closed_once(client.id) }
    end
  end

  describe "beyond max_streaming" do
    serve open, "--threads", "2", "--max-streaming", "2"

    it "is 503; other requests are answered, and the next stream when one has ended" do
      first = stream
      id = @name
      stream
      expect_workers(4)
      refused = get("/feed#{named}")
      expect(refused.status).to eq(503)
      expect(Integer(refused["retry-after"], 10)).to be >= 1
      expect(app.events.all(event: "streaming", id: @name)).to be_empty
      expect_closed_once
      5.times { expect(get("/").body).to eq("plain") }
      app.ask("FEEDS.first << nil; nil")
      expect(first.read_response.body).to eq("")
      told("ended", id)
      expect_workers(3)
      expect(stream).to be_a(HttpClient)
      feed(nil)
      expect_workers(2)
    end
  end

  describe "behind Rack::Lock" do
    serve "#{config}\nuse Rack::Lock\nrun app\n", "--threads", "3"

    it "is released by bodies that are arrays" do
      3.times { expect(get("/").body).to eq("plain") }
    end

    it "holds up others for as long as it lasts, and nobody for longer" do
      first = stream
      others = [http.send_request("GET", "/"), http.send_request("GET", "/feed#{named}"), http.send_request("GET", "/")]
      feed("part")
      feed(nil)
      expect(first.read_response.body).to eq("part")
      told("streaming")
      feed(nil)
      expect(others.map { |client| client.read_response.body }).to eq(["plain", "", "plain"])
      10.times { expect(get("/").body).to eq("plain") }
      expect_workers(3)
    end
  end

  describe "when the server stops" do
    it "that ends in time is sent whole; one that does not is cut" do
      app = start_app(open, "--threads", "1", "--drain-timeout", "1")
      clients = Array.new(2) do
        client = HttpClient.new(app.address)
        client.send_request("GET", "/feed#{named}")
        app.events.take(event: "streaming", id: @name)
        client
      end
      app.ask("FEEDS.each { |feed| feed << 'part' }; nil")
      app.signal("TERM")
      app.wait_for_line(/Stopping/)
      app.ask("FEEDS.first << nil; nil")
      expect(clients.first.read_response.body).to eq("part")
      clients.last.read_head
      expect(clients.last.connection.read_to_end).to eq("4\r\npart\r\n")
      expect(app.wait).to be_success
      expect(app.events.all(event: "closed").size).to eq(2)
    ensure
      clients&.each(&:close)
    end
  end
end
