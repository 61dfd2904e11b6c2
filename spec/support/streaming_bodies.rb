# frozen_string_literal: true

# For specs of streaming bodies: an app with bodies that have `each` or `call`, and last until the spec ends them.
module StreamingBodies
  # Defines `app`, and does not run it.
  CONFIG = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    FEEDS = []
    LOCK = Mutex.new
    $produced = 0

    # Yields the parts that it is fed, until it is fed nil.
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

    # Called with a stream.
    class Callable
      def initialize(name, &block)
        @name = name
        @block = block
      end

      def call(stream) = @block.call(stream)
      def close = SpecApp.report(:closed, id: @name)
    end

    # An Enumerator of which the app has taken the first part, so that its fiber belongs to the app's thread.
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
  APP = "#{CONFIG}\nrun app\n".freeze
  LINTED_APP = "#{CONFIG}\nuse Rack::Lint\nrun app\n".freeze

  def named = "?#{@name = Serving.next_name}"
  def told(event, id = @name, **fields) = app.events.take(event: event, id: id, **fields)

  def threads = app.ask('Thread.list.count { |thread| thread.name.to_s.start_with?("push_server thread") }')

  def expect_threads(count) = eventually("#{count} threads") { threads == count }

  # Starts a request, and waits until its body has begun.
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
end
