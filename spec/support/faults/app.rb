# frozen_string_literal: true

module Faults
  # Everything that waits in this app waits at GATE, which the spec opens and shuts.
  APP = <<~'CONFIG'
    require "spec_app"
    require "digest"

    # A write beyond the limit on file sizes fails, as on a full disk, instead of ending the process.
    Signal.trap("XFSZ", "IGNORE")

    # Threads wait in `pass` while the gate is shut.
    class Gate
      def initialize
        @mutex, @changed, @open, @inside = Mutex.new, ConditionVariable.new, false, 0
      end

      def pass
        @mutex.synchronize do
          @inside += 1
          @changed.wait(@mutex) until @open
        ensure
          @inside -= 1
        end
      end

      def open = set(true)
      def shut = set(false)
      def open? = @mutex.synchronize { @open }

      # The number of threads that wait.
      def inside = @mutex.synchronize { @inside }

      private

      def set(open)
        @mutex.synchronize do
          @open = open
          @changed.broadcast
        end
      end
    end

    GATE = Gate.new
    # Requests in /meet at the same time.
    MEETING = Mutex.new
    MET = ConditionVariable.new
    $met = 0

    # While $no_threads is true, the server cannot make threads.
    module NoThreads
      def new(*)
        denied = $no_threads && caller_locations(1, 1).first.path.include?("/lib/push_server/")
        denied ? raise(ThreadError, "can't create Thread: Resource temporarily unavailable") : super
      end
    end
    Thread.singleton_class.prepend(NoThreads)

    def self.dive = dive + 1

    # Raised by FAULTS: while it is logged, its message does what `fault` says.
    class LoggedFault < StandardError
      def initialize(fault)
        super()
        @fault = fault
      end

      def message = @fault.call
    end

    FAULTS = {
      "raise" => -> { raise "a plain fault" },
      "exception" => -> { raise Exception, "no StandardError" },
      "throw" => -> { throw :nobody },
      "exit" => -> { exit 3 },
      "thread-exit" => -> { Thread.exit },
      "kill" => -> { Thread.current.kill },
      "deep" => -> { dive },
      "kill-while-logged" => -> { raise LoggedFault.new(-> { Thread.current.kill }) },
      "raise-while-logged" => -> { raise LoggedFault.new(-> { raise "no message either" }) },
      "collect" => -> { GC.start; GC.compact; "nothing wrong" }
    }.freeze

    # Waits at the gate between its parts.
    class Body
      def initialize(fault) = @fault = fault

      def each
        yield "first,"
        @fault ? @fault.call : GATE.pass
        yield "last"
      end

      def call(stream)
        each { |part| stream.write(part) }
      ensure
        stream.close
      end
    end
    class Parts < Body
      undef_method :call
    end
    class Streaming < Body
      undef_method :each
      def call(stream)
        stream.write("first,")
        @fault ? @fault.call : GATE.pass
        stream.write("last")
      ensure
        stream.close
      end
    end

    # Yields more than any socket takes, until the gate is open.
    class Endless
      def each = (yield LARGE until GATE.open?)
    end

    # Does what a message says, and then answers it.
    module Handler
      def self.on_open(client)
        client.subscribe("faults")
        client.write("open") unless client.env["QUERY_STRING"].include?("push_wait")
        client.write(LARGE) if client.env["QUERY_STRING"] == "flood"
      end

      def self.on_message(client, message)
        case message
        when "wait" then GATE.pass
        when "close" then client.close
        when "flood" then client.write(LARGE)
        else FAULTS[message]&.call
        end
        client.write("answer to #{message}")
      end
    end

    TEXT = { "content-type" => "text/plain" }.freeze
    LARGE = ("0123456789abcdef" * 64 * 1024 * 8).freeze

    def self.meet(size)
      MEETING.synchronize do
        $met += 1
        MET.broadcast
        MET.wait(MEETING) until $met >= size
      end
      [200, TEXT, ["met"]]
    end

    def self.hijack(env)
      io = env["rack.hijack"].call
      io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfirst,")
      Thread.new do
        GATE.pass
        io.write("last")
      rescue SystemCallError, IOError
        nil # The client has gone.
      ensure
        io.close
      end
      [-1, {}, []]
    end

    run(lambda do |env|
      if env["rack.upgrade?"]
        GATE.pass if env["PATH_INFO"] == "/push-wait"
        env["rack.upgrade"] = Handler
        next [200, {}, []]
      end
      fault = FAULTS[env["QUERY_STRING"]]
      case env["PATH_INFO"]
      when "/hello" then [200, TEXT, ["Hello"]]
      when "/wait" then GATE.pass.then { [200, TEXT, ["waited"]] }
      when "/hints"
        env["rack.early_hints"].call("link" => "</style.css>; rel=preload")
        GATE.pass
        [200, TEXT, ["waited"]]
      when "/endless" then [200, TEXT.dup, Endless.new]
      when "/fault" then [200, TEXT, [fault.call.to_s]]
      when "/each" then [200, TEXT.dup, Parts.new(fault)]
      when "/call" then [200, TEXT.dup, Streaming.new(fault)]
      when "/large" then [200, TEXT, [LARGE]]
      when "/hijack" then hijack(env)
      when "/digest" then [200, TEXT, [Digest::SHA256.hexdigest(env["rack.input"].read)]]
      when "/meet" then meet(Integer(env["QUERY_STRING"]))
      else [404, TEXT, ["nothing here"]]
      end
    end)
  CONFIG

  # Served by the server itself, with these options.
  FILES = { "public/file.bin" => "0123456789" * 1_000_000 }.freeze
  PUBLIC = ["--public", "public"].freeze
end
