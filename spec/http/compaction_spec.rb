# frozen_string_literal: true

require "spec_helper"

# The garbage collector can move objects: when the app calls GC.compact or Process.warmup, or by itself with GC.auto_compact. Each
# example first uses everything, so that all that is looked up once has been looked up, and then moves the objects.
RSpec.describe "A server whose Ruby objects are moved" do
  before { skip Compaction.missing if Compaction.missing }

  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    class Parts
      def each = 3.times { |number| yield "part #{number}\n" }
      def close = SpecApp.report(:closed)
    end

    # Ends when its client has disconnected, and reports the error.
    class Endless
      def each
        loop { yield "x" * 65_536 }
      rescue IOError => e
        SpecApp.report(:gone, error: e.class.name)
        raise
      end
    end

    class Everything < SpecApp::Recorder
      def on_open(client)
        client[:kept] = "kept #{client.protocol}"
        client.subscribe("moving") { |channel, data| client.write("#{channel}: #{data}") }
        super
      end

      def on_message(client, data)
        client.handler = Everything.new(label: "second") if data == "swap"
        client.write("#{client[:kept]}, #{client.env["PATH_INFO"]}, #{data}")
      end

      def on_close(client, code, reason) = SpecApp.report(:close, client, kept: client[:kept], code: code)
    end

    PushServer.around_callback { |_client, _event, run| run.call }

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = Everything.new
        next [200, {}, []]
      end

      case env["PATH_INFO"]
      when "/each" then [200, {}, Parts.new]
      when "/call" then [200, {}, ->(stream) { stream << "called"; stream.close }]
      when "/endless" then [200, {}, Endless.new]
      when "/upload" then [200, {}, [env["rack.input"].class.name, " ", env["rack.input"].read.bytesize.to_s]]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n#{io.class}")
        io.close
        [-1, {}, []]
      when "/raise" then raise "on purpose"
      else [200, {}, [env.values_at("REQUEST_METHOD", "HTTP_HOST", "HTTP_ACCEPT").join(" ")]]
      end
    end)
  CONFIG

  def move(way) = app.ask(way, seconds: 60)

  def expect_requests_served
    expect(get("/", { "accept" => "text/x" }).body).to eq("GET localhost text/x")
    expect(get("/each").body).to eq("part 0\npart 1\npart 2\n")
    app.events.take(event: "closed")
    expect(get("/call").body).to eq("called")
    expect(http.request("POST", "/upload", body: "x" * 20_000).body).to eq("StringIO 20000")
    expect(http.request("POST", "/upload", body: "x" * 300_000).body).to eq("PushServer::SpooledInput 300000")
    expect(get("/hijack").body).to eq(transport == :unix ? "UNIXSocket" : "TCPSocket")
    expect(get("/raise").status).to eq(500)
    expect_body_ended
  end

  def expect_body_ended
    client = http
    client.send_request("GET", "/endless")
    client.read_head
    client.connection.reset
    expect(app.events.take(event: "gone")).to include(error: "PushServer::Disconnected")
  end

  def use_clients(clients)
    app.ask("PushServer.publish('moving', 'one'); nil")
    clients.each_value { |client| expect(client.first).to eq("moving: one") }
    clients.fetch(:websocket).text("hello")
    expect(clients.fetch(:websocket).first).to eq("kept websocket, /, hello")
  end

  def connect
    clients = { websocket: websocket, sse: sse }
    clients.each_value { |client| event(:open, client) }
    clients.fetch(:websocket).define_singleton_method(:first) { read_message }
    clients.fetch(:sse).define_singleton_method(:first) { read_event.data }
    clients
  end

  Compaction::WAYS.each do |name, way|
    describe "by #{name}" do
      it "still serves requests" do
        expect_requests_served
        2.times do
          move(way)
          expect_requests_served
        end
      end

      it "still calls its clients' handlers, up to on_close" do
        clients = connect
        use_clients(clients)
        move(way)
        use_clients(clients)
        clients.fetch(:websocket).text("swap")
        expect(clients.fetch(:websocket).first).to eq("kept websocket, /, swap")
        expect(event(:open, clients.fetch(:websocket))).to include(handler: "second")
        move(way)
        clients.each do |kind, client|
          client.close
          expect(event(:close, client, kept: "kept #{kind}")).to include(kept: "kept #{kind}")
        end
      end
    end
  end

  it "recognizes protocols by symbols that were made at run time before it was loaded" do
    source = <<~CONFIG
      # A symbol that is made of Strings is an object that can move, unlike a symbol in code.
      SYMBOLS = %w[web s].zip(%w[socket se]).map { |parts| parts.join.to_sym }
      require "push_server"
      require "spec_app"

      app = lambda do |env|
        upgrade = env["rack.upgrade?"]
        env["rack.upgrade"] = SpecApp::Recorder.new(open: ->(client) { client.write("\#{upgrade} \#{client.protocol}") })
        [200, {}, []]
      end
      PushServer.run(app, bind: "tcp://127.0.0.1:0")
    CONFIG
    start_app(source, via: :ruby)
    move(Compaction::VERIFY)
    expect(websocket.read_message).to eq("websocket websocket")
    expect(sse.read_event.data).to eq("sse sse")
    expect(app.stop).to be_success
  end
end
