# frozen_string_literal: true

require "spec_helper"

# How an encrypted connection ends: each side says that nothing follows (close_notify), so that nobody can cut off what was sent.
RSpec.describe "The end of an encrypted connection" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    File.binwrite("large.bin", "0123456789" * 300_000)

    class Large
      def to_path = File.join(__dir__, "large.bin")
      def each = yield(File.binread(to_path))
    end

    class Broken
      def each
        yield "first"
        raise "broken"
      end
    end

    echo = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) })
    ticks = SpecApp::Recorder.new(open: ->(client) { client.write("tick") && client.close })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait"
        SpecApp.report(:called)
        GATE.pop
        [200, {}, ["answered"]]
      when "/large" then [200, {}, Large.new]
      when "/broken" then [200, {}, Broken.new]
      when "/length" then [200, {}, [SpecApp.report(:body, length: env["rack.input"].read.bytesize).to_s]]
      when "/hijack"
        io = env["rack.hijack"].call
        Thread.new do
          io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n#{io.class}\n")
          while (line = io.gets)
            io.write("you said #{line}")
          end
          io.write("goodbye")
          io.close
        end
        [-1, {}, []]
      when "/partial"
        [200, { "rack.hijack" => ->(io) { io.write("#{io.class} partial") && io.close } }, []]
      else
        env["rack.upgrade"] = env["PATH_INFO"] == "/ticks" ? ticks : echo if env["rack.upgrade?"]
        [200, {}, ["hello"]]
      end
    end)
  CONFIG

  serve(config, "-b", "ssl://127.0.0.1:0?#{CertificateAuthority.localhost.query}", "--keep-alive-timeout", "0.3", via: :configured)

  versions = { "1.2" => { max_version: OpenSSL::SSL::TLS1_2_VERSION }, "1.3" => { min_version: OpenSSL::SSL::TLS1_3_VERSION } }

  # A client that has sent a request with these options of TLS.
  def client(options, target = "/", headers = {}, **more)
    closing(HttpClient.new(app.address.with(**options))).send_request("GET", target, headers, **more)
  end

  def open_gate = app.ask("GATE << nil and nil")

  versions.each do |version, options|
    context "with TLS #{version}" do
      it "is told after the last response" do
        http = client(options, "/", { "connection" => "close" })
        expect(http.read_response.body).to eq("hello")
        expect(http.connection.ending).to eq(:fin)
      end

      it "is told when the connection was idle for too long" do
        http = client(options)
        http.read_response
        expect(http.connection.ending).to eq(:fin)
      end

      it "is told after a response without a length" do
        http = client(options, "/", version: "1.0")
        expect(http.read_response.body).to eq("hello")
        expect(http.connection.ending).to eq(:fin)
      end

      it "is not told after a response that was cut" do
        http = client(options, "/broken", version: "1.0")
        http.read_head
        expect(http.connection.read_to_end).to eq("first")
        expect(http.connection.ending).not_to eq(:fin)
      end

      it "is told after a WebSocket and after an event stream" do
        socket = closing(WebSocketClient.new(app.address.with(**options)))
        socket.send_close(1000)
        socket.connection.read_exactly(4)
        expect(socket.connection.ending).to eq(:fin)
        stream = client(options, "/ticks", { "accept" => "text/event-stream" })
        expect(stream.read_response.body).to end_with("tick\n\n")
        expect(stream.connection.ending).to eq(:fin)
      end

      it "is answered if the client of an event stream tells it first" do
        stream = closing(SseClient.new(app.address.with(**options), "/?#{id = Serving.next_name}", id: id))
        opened(stream).connection.send_close_notify
        expect(stream.connection.ending).to eq(:fin)
        expect_event(:close, stream)
      end

      it "is told by the app that has hijacked the connection" do
        http = client(options, "/partial")
        expect(http.read_response.body).to eq("UNIXSocket partial")
        expect(http.connection.ending).to eq(:fin)
      end

      it "comes after a whole file" do
        http = client(options, "/large", { "connection" => "close" })
        expect(http.read_response.body).to eq("0123456789" * 300_000)
        expect(http.connection.ending).to eq(:fin)
      end

      it "is a disconnect for a stream if the client tells it, and if it does not" do
        [:close, ->(it) { it.socket.close }].each do |how|
          socket = opened(closing(WebSocketClient.new(app.address.with(**options), "/?#{id = Serving.next_name}", id: id)))
          how.to_proc.call(socket.connection)
          expect(event(:close, socket)[:code]).to eq(1006)
        end
      end
    end
  end

  it "leaves the other direction open in TLS 1.3" do
    http = client(versions["1.3"], "/wait")
    expect(app.events.take(event: "called")).to be_truthy
    http.connection.finish_writing
    open_gate
    expect(http.read_response.body).to eq("answered")
    expect(http.connection.ending).to eq(:fin)
  end

  it "is the end of both directions in TLS 1.2" do
    http = client(versions["1.2"], "/wait")
    expect(app.events.take(event: "called")).to be_truthy
    http.connection.send_close_notify
    expect(http.connection.read_to_end).to eq("")
    open_gate
    expect(client({}).read_response.status).to eq(200)
  end

  it "does not make a body whole that was cut off" do
    versions.each_value do |options|
      http = client(options, "/length", { "content-length" => "10" })
      http.write("12345")
      http.connection.socket.close_write
      expect(http.connection.read_to_end).to match(/\A\z|\AHTTP\/1.1 400/)
    end
    expect(app.events.all(event: "body")).to eq([])
  end

  it "is told to a client of TLS 1.2 by the app that has hijacked the connection, too" do
    http = client(versions["1.2"], "/hijack")
    http.connection.read_until("UNIXSocket\n")
    http.write("one\n")
    expect(http.connection.read_until("\n")).to eq("you said one\n")
    http.connection.send_close_notify
    expect(http.connection.read_to_end).to match(/\A(goodbye)?\z/)
    expect(get("/").status).to eq(200)
  end

  it "lets the app that has hijacked the connection read the end of the client, and still answer" do
    http = client(versions["1.3"], "/hijack")
    http.connection.read_until("UNIXSocket\n")
    http.write("one\n")
    expect(http.connection.read_until("\n")).to eq("you said one\n")
    http.write("two\n")
    http.connection.finish_writing
    expect(http.connection.read_to_end).to eq("you said two\ngoodbye")
    expect(http.connection.ending).to eq(:fin)
  end

  it "waits for a client that reads slowly" do
    http = client({}, "/large", { "connection" => "close" })
    http.connection.read_until("\r\n\r\n")
    received = 0
    received += http.connection.read_exactly(100_000).bytesize while received < 3_000_000
    expect(http.connection.ending).to eq(:fin)
  end
end
