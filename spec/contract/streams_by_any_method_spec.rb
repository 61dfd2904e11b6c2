# frozen_string_literal: true

require "spec_helper"

# A request of any method can be answered with an event stream. Datastar, MCP's Streamable HTTP and pages that
# stream an answer by fetch need this.
RSpec.describe "An event stream in answer to a request with a body" do
  config = <<~'CONFIG'
    require "push_server"
    require "spec_app"
    require "stringio"

    PushServer.channel "kept*", history: 100

    class Answer < SpecApp::Recorder
      def on_open(client)
        channel = client.env["HTTP_X_CHANNEL"]
        client.subscribe(channel) if channel
        super
      end
    end

    recorder = Answer.new

    # The second part comes when the spec opens GATE.
    class Parts
      def each
        yield "data: first\n\n"
        GATE.pop
        yield "data: last\n\n"
      end
    end
    GATE = Thread::Queue.new

    run(lambda do |env|
      type = { "content-type" => "application/json" }
      case env["PATH_INFO"]
      when "/json" then [200, type, [JSON.generate(env["rack.input"].read)]]
      when "/accepted" then [202, {}, []]
      when "/body" then [200, { "content-type" => "text/event-stream" }, Parts.new]
      when "/refused"
        env["rack.upgrade"] = recorder
        [422, type, ["no"]]
      else
        read = env["rack.input"].read unless env["PATH_INFO"] == "/unread"
        SpecApp.report(:call, id: env["QUERY_STRING"], method: env["REQUEST_METHOD"], size: read&.bytesize, sum: read&.sum(32))
        env["rack.upgrade"] = recorder
        [200, { "set-cookie" => "a=1" }, []]
      end
    end)
  CONFIG

  context "with the usual limits" do
    serve config, "--threads", "2"

    # A stream that the app has accepted.
    def asking(path = "/", **how) = opened(sse(path, **how))

    %w[POST PUT PATCH DELETE QUERY].each do |method|
      it "comes from a handler, as for a GET: #{method}" do
        client = asking(method: method, body: "grüße")
        expect(event(:call, client)).to include(method: method, size: "grüße".bytesize, sum: "grüße".b.sum(32))
        expect(client.response).to have_attributes(version: Transport.http_version, status: 200)
        expect(client.response["content-type"]).to eq("text/event-stream; charset=utf-8")
        expect(client.response["set-cookie"]).to eq("a=1")
        expect(ask(client, "[client.protocol, client.env['REQUEST_METHOD'], client.write('answer')]")).to eq(["sse", method, true])
        expect(client.read_event.data).to eq("answer")
        ask(client, "client.close")
        expect(client.ending).to eq(:fin)
        event(:close, client)
      end
    end

    it "lets the app read a request body of any size and framing" do
      large = "x" * 300_000
      framings = { { body: large } => large, { headers: { "content-length" => "0" } } => "", { version: "1.0", body: "old" } => "old" }
      if Transport.protocol == :h1
        framings[{ headers: { "transfer-encoding" => "chunked" }, body: "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" }] = "hello world"
        framings[{ headers: { "upgrade" => "h2c" }, body: "x" }] = "x"
      end
      framings.each do |how, read|
        client = asking(method: "POST", **how)
        expect(event(:call, client)).to include(size: read.bytesize, sum: read.sum(32))
        ask(client, "client.write('answer')")
        expect(client.read_event.data).to eq("answer")
      end
    end

    it "can follow 100 Continue, and another request on the same connection" do
      client = http1
      expect(client.request("POST", "/json", {}, body: "x").status).to eq(200)
      client.send_request("POST", "/?#{name = Serving.next_name}",
                          { "accept" => "text/event-stream", "expect" => "100-continue", "content-length" => "4" })
      expect(client.read_head.status).to eq(100)
      client.write("late")
      expect(client.read_head).to have_attributes(status: 200, headers: include("content-type" => ["text/event-stream; charset=utf-8"]))
      expect(app.events.take(event: "call", id: name)).to include(size: 4)
    end

    it "resumes after the client's Last-Event-ID" do
      channel = "kept-#{Serving.next_name}"
      publish = ->(data) { app.ask("PushServer.publish(#{channel.inspect}, #{data.inspect})") }
      cursor = publish.call("1")
      publish.call("2")
      client = asking(method: "POST", body: "question", headers: { "last-event-id" => cursor, "x-channel" => channel })
      expect([client.read_event.data, client.read_event.data]).to eq(['{"recovered":true,"gap":[]}', "2"])
      client = sse("/?last_event_id=#{cursor}&", method: "POST", body: "question", headers: { "x-channel" => channel })
      expect([client.read_event.data, client.read_event.data]).to eq(['{"recovered":true,"gap":[]}', "2"])
    end

    it "is never a long poll, because the client would have to repeat the request" do
      client = sse("/?push_wait=0&", method: "POST", body: "x", headers: { "prefer" => "wait=0" })
      id = app.events.take(event: "open", id: /\Apush_wait=0/)[:id]
      expect(client.response.headers.keys).not_to include("content-length")
      app.ask("client.write('still open')", id: id)
      expect(client.read_event.data).to eq("still open")
    end

    it "needs a handler; without one the app's response is sent" do
      accept = { "accept" => "application/json, text/event-stream" }
      expect(http.request("POST", "/json", accept, body: "x")).to have_attributes(status: 200, body: '"x"', framing: :length)
      expect(http.request("POST", "/accepted", accept, body: "x")).to have_attributes(status: 202, body: "")
      expect(http.request("POST", "/refused", accept, body: "x")).to have_attributes(status: 422, body: "no")
      app.ask("GATE << true; nil")
      expect(http.request("POST", "/body", accept, body: "x"))
        .to have_attributes(status: 200, framing: Transport.protocol == :h1 ? :chunked : :length, body: "data: first\n\ndata: last\n\n")
    end

    it "does not keep the request's body, read or unread" do
      bodies = -> { app.ask("3.times { GC.start }; ObjectSpace.each_object(StringIO).count") }
      before = [app.descriptors.size, bodies.call]
      # The larger bodies are in files, the others in memory.
      clients = [300_000, 50_000].product(%w[/ /unread], [*1..10]).map { |size, path, _| asking(path, method: "POST", body: "x" * size) }
      expect(ask(clients.first, "client.env.key?('rack.input')")).to be(false)
      # Each client has a socket. The collector may still find a few bodies on a stack.
      expect(app.descriptors.size).to be <= before.first + clients.size + 2
      expect(bodies.call).to be <= before.last + 5
      clients.each { |client| expect(ask(client, "client.write('still here')")).to be(true) }
      expect(clients.map { |client| client.read_event.data }).to all(eq("still here"))
    end
  end

  context "from a handler, for 130 clients at once with 5 threads" do
    serve config, "--threads", "5"

    def threads = app.ask("Thread.list.size")

    it "is accepted for each, and occupies no thread" do
      opened(sse(method: "POST", body: "x"))
      before = threads
      clients = Array.new(130) { sse(method: "POST", body: "x") }
      expect(clients.map { |it| it.response.status }).to all(eq(200))
      clients.each { |it| event(:open, it) }
      # `ask` makes threads, too, which end soon.
      eventually("no more threads than with one stream") { threads <= before }
      app.ask("SpecApp.clients.each { |client| client.write('answer') }; nil")
      expect(clients.map { |it| it.read_event.data }).to all(eq("answer"))
    end
  end

  # Each such body occupies a thread.
  context "from the body of a response, for 130 clients at once with 5 threads" do
    serve config, "--threads", "5"

    it "is accepted up to max_streaming, and then answered with 503" do
      clients = Array.new(130) { http.send_request("POST", "/body", { "accept" => "text/event-stream" }, body: "x") }
      heads = clients.map(&:read_head)
      # A body counts once it has lasted for 50 ms. By then, each thread may have begun one more.
      expect(heads.map(&:status).tally).to match(200 => be_between(100, 105), 503 => be_between(25, 30))
      expect(heads.select { |head| head.status == 503 }.map { |head| Integer(head["retry-after"], 10) }).to all(be >= 1)
      app.ask("130.times { GATE << true }; nil")
      clients.zip(heads).each { |client, head| client.connection.read_until("data: last\n\n") if head.status == 200 }
    end
  end
end
