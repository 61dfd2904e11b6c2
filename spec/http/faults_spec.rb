# frozen_string_literal: true

require "spec_helper"

# For any fault of an app: each request is answered or its connection ends, the process goes on, and no thread is lost. The response
# to an ordinary exception is in app_errors_spec.rb.
RSpec.describe "An app's fault" do
  config = <<~'CONFIG'
    require "spec_app"
    require "timeout"

    GATE = Queue.new

    # Ways to fail, wherever they are called.
    def self.dive = dive + 1
    def self.orphan = proc { return }

    FAULTS = {
      "raise" => -> { raise "a plain fault" },
      "throw" => -> { throw :nobody },
      "exit" => -> { exit 3 },
      "abort" => -> { abort "the abort" },
      "thread-exit" => -> { Thread.exit },
      "kill" => -> { Thread.current.kill },
      "kill-from-outside" => lambda do
        thread = Thread.current
        Thread.new { thread.kill }
        sleep
      end,
      "raise-from-outside" => lambda do
        thread = Thread.current
        Thread.new { thread.raise(IOError, "raised from outside") }
        sleep
      end,
      "deep" => -> { dive },
      "timeout" => -> { Timeout.timeout(0.05) { sleep } },
      "timeout-compute" => -> { Timeout.timeout(0.05) { loop {} } },
      "no-memory" => -> { raise NoMemoryError, "failed to allocate memory" },
      "exception" => -> { raise Exception, "not a StandardError" },
      "interrupt" => -> { raise Interrupt },
      "signal" => -> { raise SignalException, "TERM" },
      "not-implemented" => -> { raise NotImplementedError },
      "syntax" => -> { eval("1 +") },
      "fiber" => -> { Fiber.yield },
      "stop-iteration" => -> { raise StopIteration },
      "local-jump" => -> { orphan.call },
      "mutex" => -> { Mutex.new.tap(&:lock).lock },
      "no-message" => -> { raise Class.new(StandardError) { def message = raise("no message either") } },
      "nil-message" => -> { raise Class.new(StandardError) { def message = nil } },
      "binary-message" => -> { raise "bad \xff bytes".b },
      "no-backtrace" => -> { raise RuntimeError, "no backtrace", [] },
      "frozen" => -> { "".freeze << "x" }
    }.freeze

    text = { "content-type" => "text/plain" }

    # A body that fails in one of its methods.
    class Faulty
      def initialize(name, where, fault)
        @name, @where, @fault = name, where, fault
      end

      def each
        @fault.call if @where == "first"
        yield "part"
        @fault.call if @where == "later"
      end

      def close
        SpecApp.report(:closed, id: @name)
        @fault.call if @where == "close"
      end
    end

    RETURNED = {
      "nil" => ->(_) { nil },
      "false" => ->(_) { false },
      "a String" => ->(_) { "200 OK" },
      "a Hash" => ->(_) { { status: 200 } },
      "an empty array" => ->(_) { [] },
      "a 2-array" => ->(_) { [200, {}] },
      "a 4-array" => ->(_) { [200, {}, [], 1] },
      "status 99" => ->(_) { [99, {}, []] },
      "status 0" => ->(_) { [0, {}, []] },
      "status 2**70" => ->(_) { [2**70, {}, []] },
      "status nil" => ->(_) { [nil, {}, []] },
      "nil headers" => ->(_) { [200, nil, []] },
      "a String for headers" => ->(_) { [200, "x-a: b", []] },
      "a number in a header" => ->(_) { [200, { "x-a" => 1 }, []] },
      "nil in a header" => ->(_) { [200, { "x-a" => nil }, []] },
      "a number as name" => ->(_) { [200, { 1 => "a" }, []] },
      "an empty name" => ->(_) { [200, { "" => "a" }, []] },
      "CRLF in a value" => ->(_) { [200, { "x-a" => "b\r\nx-evil: 1" }, []] },
      "CRLF in a name" => ->(_) { [200, { "x-a: b\r\nx-evil" => "1" }, []] },
      "headers whose each raises" => ->(_) { [200, Class.new { def to_h = raise("to_h") }.new, []] },
      "a nil body" => ->(_) { [200, {}, nil] },
      "a String as body" => ->(_) { [200, {}, "text"] },
      "numbers in the body" => ->(_) { [200, {}, [1, 2]] },
      "nil in the body" => ->(_) { [200, {}, ["a", nil]] },
      "a body whose to_ary raises" => ->(_) { [200, {}, Class.new { def to_ary = raise("to_ary") }.new] },
      "a body whose to_ary returns no Array" => ->(_) { [200, {}, Class.new { def to_ary = 1 }.new] },
      "a body whose to_path raises" => ->(_) { [200, {}, Class.new { def to_path = raise("to_path"); def each; end }.new] },
      "a body whose each yields a number" => ->(_) { [200, {}, [1].each] },
      "a BasicObject" => ->(_) { BasicObject.new },
      "a BasicObject as body" => ->(_) { [200, {}, BasicObject.new] }
    }.freeze

    # Unusual responses that are not faults.
    FINE = {
      "status \"201\"" => ["201", {}, ["fine"]],
      "frozen things" => [201, { "x-a" => "b".freeze }.freeze, ["fine".freeze].freeze].freeze,
      "symbol keys" => [201, { "x-a": "b" }, ["fine"]],
      "no content type" => [201, {}, ["fine"]],
      "a wrong length" => [201, { "content-length" => "1" }, ["fine"]],
      # Ruby's own rule for to_ary; Rails has such bodies up to 7.0.
      "a body whose to_ary returns nil" => [201, {}, Class.new { def to_ary = nil; def each = yield("fine") }.new]
    }.freeze

    run(lambda do |env|
      _, kind, what, fault = env["PATH_INFO"].split("/")
      name = env["QUERY_STRING"]
      case kind
      when "app" then FAULTS.fetch(what).call.then { [200, text, ["survived"]] }
      when "body" then [200, text, Faulty.new(name, what, FAULTS.fetch(fault))]
      when "stream"
        [200, text, lambda do |stream|
          stream << "part" if what == "later"
          FAULTS.fetch(fault).call
        end]
      when "finished"
        env["rack.response_finished"] << ->(*) { FAULTS.fetch(what).call }
        [200, text, ["finished"]]
      when "returned" then RETURNED.fetch(Rack::Utils.unescape(what)).call(name)
      when "fine" then FINE.fetch(Rack::Utils.unescape(what))
      when "meet"
        SpecApp.report(:met)
        GATE.pop
        [200, text, ["met"]]
      when "push"
        env["rack.upgrade"] = SpecApp::Recorder.new(**{
          open: ->(_) { FAULTS.fetch(fault).call if what == "open" },
          message: lambda do |client, data|
            FAULTS.fetch(fault).call if data == "fault"
            client.write("echo: #{data}")
          end,
          drained: ->(_) { FAULTS.fetch(fault).call if what == "drained" },
          close: ->(*) { FAULTS.fetch(fault).call if what == "close" }
        })
        [200, {}, []]
      when "twice"
        body = Faulty.new(name, "nowhere", -> {})
        body.close
        [200, text, body]
      else [200, text, ["plain"]]
      end
    end)
  CONFIG

  threads = 2
  serve config, "--threads", threads.to_s

  faults = %w[raise throw exit abort thread-exit kill kill-from-outside raise-from-outside deep timeout timeout-compute
              no-memory exception interrupt signal not-implemented syntax fiber stop-iteration local-jump mutex no-message
              nil-message binary-message no-backtrace frozen]
  # These end the thread without an exception that could be rescued.
  killing = %w[thread-exit kill kill-from-outside]

  def named = "?#{@name = Serving.next_name}"

  # Expects that all threads are there: as many requests are in the app at once.
  def expect_all_workers(count)
    clients = Array.new(count) { http.send_request("GET", "/meet") }
    clients.each { app.events.take(event: "met") }
    count.times { app.ask("GATE << true; nil") }
    clients.each { |client| expect(client.read_response.body).to eq("met") }
    expect(app).to be_running
  end

  # Everything until the end of the connection.
  def raw(target)
    client = http
    client.send_request("GET", target, { "connection" => "close" })
    client.connection.read_to_end
  end

  after { expect_all_workers(threads) }

  faults.each do |fault|
    describe "of kind #{fault}" do
      it "is answered with 500 when it happens in the app" do
        3.times { expect(get("/app/#{fault}").status).to eq(500) }
      end

      it "is answered with 500 in a body's each before its first part; later, the response looks incomplete" do
        expect(raw("/body/first/#{fault}#{named}")).to start_with("HTTP/1.1 500 ").or eq("")
        app.events.take(event: "closed", id: @name)
        text = raw("/body/later/#{fault}#{named}")
        expect(text).to start_with("HTTP/1.1 200 ").and include("part")
        expect(text).not_to end_with("0\r\n\r\n")
        app.events.take(event: "closed", id: @name)
      end

      it "does not change the response in a body's close or in rack.response_finished" do
        expect(get("/body/close/#{fault}#{named}").body).to eq("part")
        app.events.take(event: "closed", id: @name)
        expect(get("/finished/#{fault}").body).to eq("finished") if Rack.release >= "3"
      end

      it "leaves the response incomplete in a body's call", if: Rack.release >= "3" do
        expect(raw("/stream/first/#{fault}")).not_to end_with("0\r\n\r\n")
        text = raw("/stream/later/#{fault}")
        expect(text).to include("part")
        expect(text).not_to end_with("0\r\n\r\n")
      end

      it "does not disturb the client in on_message or on_drained" do
        %i[websocket sse].each do |protocol|
          # Event streams have no messages.
          where = protocol == :sse ? "drained" : "message"
          client = public_send(protocol, "/push/#{where}/#{fault}")
          event(:open, client)
          protocol == :sse ? ask(client, 'client.write("x")') : client.text("fault")
          event(protocol == :sse ? :drained : :message, client)
          expect_alive(client)
        end
      end

      it "does not disturb the client in on_open or on_close" do
        client = opened(websocket("/push/open/#{fault}"))
        expect_alive(client)
        client = opened(websocket("/push/close/#{fault}"))
        expect(client.finish(1000)).to eq([1000, ""])
        event(:close, client)
        expect(story(client)).to eq(%i[open close])
      end
    end
  end

  # Expects that messages are still answered, and that on_close is called once.
  def expect_alive(client)
    if client.is_a?(SseClient)
      expect(ask(client, 'client.write("again")')).to be(true)
      nil until client.read_event.data == "again"
      client.close
    else
      client.text("again")
      expect(client.read_message).to eq("echo: again")
      expect(client.finish(1000)).to eq([1000, ""])
    end
    event(:close, client)
    expect(story(client).count(:close)).to eq(1)
  end

  ["nil", "false", "a String", "a Hash", "an empty array", "a 2-array", "a 4-array", "status 99", "status 0", "status 2**70",
   "status nil", "nil headers", "a String for headers", "a number in a header", "nil in a header", "a number as name",
   "an empty name", "CRLF in a value", "CRLF in a name", "headers whose each raises", "a nil body", "a String as body",
   "numbers in the body", "nil in the body", "a body whose to_ary raises", "a body whose to_ary returns no Array",
   "a body whose to_path raises", "a body whose each yields a number", "a BasicObject", "a BasicObject as body"].each do |what|
    it "is answered with 500, without the app's headers: the app returns #{what}" do
      response = get("/returned/#{Rack::Utils.escape_path(what)}")
      expect(response.status).to eq(500)
      expect(response.headers.keys).not_to include("x-a", "x-evil")
    end
  end

  ['status "201"', "frozen things", "symbol keys", "no content type", "a wrong length"].each do |what|
    it "is not what is merely unusual: #{what}" do
      2.times { expect(get("/fine/#{Rack::Utils.escape_path(what)}")).to have_attributes(status: 201, framing: :length, body: "fine") }
    end
  end

  it "is not a to_ary that returns nil: the body is sent by each" do
    response = get("/fine/#{Rack::Utils.escape_path("a body whose to_ary returns nil")}")
    expect(response).to have_attributes(status: 201, framing: :chunked, body: "fine")
  end

  it "is not a body that the app has closed: the server closes it, too, once" do
    expect(get("/twice#{named}").body).to eq("part")
    2.times { app.events.take(event: "closed", id: @name) }
    get("/")
    expect(app.events.all(event: "closed", id: @name).size).to eq(2)
  end

  it "in many requests at once costs no thread" do
    clients = Array.new(60) { |number| http.send_request("GET", "/app/#{(faults - killing)[number % (faults.size - killing.size)]}") }
    expect(clients.map { |client| client.read_response.status }).to all(eq(500))
    clients = Array.new(20) { http.send_request("GET", "/app/kill") }
    expect(clients.map { |client| client.read_response.status }).to all(eq(500))
  end
end
