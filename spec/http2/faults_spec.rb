# frozen_string_literal: true

require "spec_helper"

# Faults of a client in each state of a stream. Whatever happens, the other streams go on if the fault is one of the stream, other
# connections go on, nothing of the stream stays in the app, and the server still stops.
RSpec.describe "Faults over HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    PUSH = SpecApp::Recorder.new

    # A body that tells when it ends, and how.
    Endless = Struct.new(:id) do
      def each
        SpecApp.report(:begun, id: id)
        loop { yield "x" * 10_000 }
      end

      def close = SpecApp.report(:ended, id: id)
    end

    run(lambda do |env|
      id = env["QUERY_STRING"]
      case env["PATH_INFO"]
      when "/wait"
        SpecApp.report(:begun, id: id)
        GATE.pop
        [200, {}, ["waited"]]
      when "/big" then [200, {}, ["x" * 1_000_000]]
      when "/endless" then [200, {}, Endless.new(id)]
      when "/push"
        env["rack.upgrade"] = PUSH
        [200, {}, []]
      when "/hijack"
        io = env["rack.hijack"].call
        Thread.new do
          io.write("HTTP/1.1 101 Switching Protocols\r\n\r\n")
          SpecApp.report(:begun, id: id)
          io.read
        rescue Errno::ECONNRESET
          # The stream had ended before the server took what is written.
        ensure
          io.close
          SpecApp.report(:ended, id: id)
        end
        [-1, {}, []]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  # What brings stream 1 into each state. end: the event that shows that the app has learned of the stream's end, if it does.
  # over: the server has reset the stream, and ignores what is wrong with it.
  kind = Struct.new(:verb, :path, :fields, :ends, :begins, :end, :over, keyword_init: true)
  websocket = [["sec-websocket-version", "13"]]
  states = {
    "its head has come in part" => nil,
    "its body is coming" => kind.new(verb: "POST", path: "/", fields: [%w[content-length 10]], begins: :ping),
    "its body is coming, and was refused" => kind.new(verb: "POST", path: "/", fields: [%w[content-length 9999]], begins: :head,
                                                  over: true),
    "the app works" => kind.new(verb: "GET", path: "/wait", ends: true, begins: "begun"),
    "its response waits for a window" => kind.new(verb: "GET", path: "/big", ends: true, begins: :head),
    "the app streams" => kind.new(verb: "GET", path: "/endless", ends: true, begins: "begun", end: "ended"),
    "it is an event stream" => kind.new(verb: "GET", path: "/push", fields: [%w[accept text/event-stream]], ends: true, begins: "open",
                                       end: "close"),
    "it is a WebSocket" => kind.new(verb: "CONNECT", path: "/push", fields: websocket, begins: "open", end: "close"),
    "it is hijacked" => kind.new(verb: "CONNECT", path: "/hijack", fields: websocket, begins: "begun", end: "ended")
  }

  zero = [0].pack("N")
  # What the client then does. breaks: what it ends: its stream; or the connection; or either, as the crate likes; nothing at once.
  act = Struct.new(:breaks, :play, keyword_init: true)
  faults = {
    "resets it" => act.new(breaks: :stream, play: ->(one) { one.reset(1) }),
    "adds 0 to its window" => act.new(breaks: :either, play: ->(one) { one.frame(:window_update, zero, stream: 1) }),
    "makes its window too large" => act.new(breaks: :either, play: lambda do |one|
      2.times { one.add_window((1 << 31) - 1, stream: 1) }
    end),
    "begins it again" => act.new(breaks: :either, play: ->(one) { one.send_headers(1, [["x-late", "1"]]) }),
    "sends DATA behind its end, or too much" => act.new(breaks: :either, play: lambda do |one|
      one.frame(:data, "x" * 11, flags: Http2Client::END_STREAM, stream: 1)
      one.frame(:data, "x", stream: 1)
    end),
    "depends on itself" => act.new(breaks: :either, play: ->(one) { one.frame(:priority, [1, 16].pack("NC"), stream: 1) }),
    "takes its window away, and says goodbye" => act.new(breaks: :nothing, play: lambda do |one|
      one.send_settings({ initial_window_size: 0 })
      one.frame(:goaway, [0, 0].pack("NN"))
    end),
    "sends a broken frame" => act.new(breaks: :connection, play: ->(one) { one.frame(:ping, "1234567") }),
    "sends a broken header block" => act.new(breaks: :connection, play: ->(one) { one.frame(:headers, "\x80", flags: 5, stream: 9) }),
    "pushes" => act.new(breaks: :connection, play: ->(one) { one.frame(:push_promise, [2].pack("N"), flags: 4, stream: 1) }),
    "closes its side" => act.new(breaks: :socket, play: ->(one) { one.connection.finish_writing }),
    "resets the connection" => act.new(breaks: :socket, play: ->(one) { one.connection.reset })
  }

  serve config, "--threads", "4", "--max-streaming", "4", "--max-body-size", "1000"

  def client(**options) = closing(Http2Client.new(app.address, **options))

  def count(counter) = app.ask("PushServer.stats[#{counter.inspect}]")

  def gauges = app.ask("PushServer.stats.slice(:open_connections, :open_h2_connections, :open_websockets, :open_event_streams, :queued_bytes)")

  # Brings stream 1 into the state. Returns the name of its client.
  def bring_into(one, state)
    name = Serving.next_name
    unless state
      one.frame(:headers, Hpack.encode(":method" => "GET"), stream: 1)
      return name
    end
    pseudo = state.verb == "CONNECT" ? { protocol: "websocket" } : {}
    one.send_request(state.verb, "#{state.path}?#{name}", state.fields || [], ends: state.ends, stream: 1, **pseudo)
    case state.begins
    when :head then one.read_head(1)
    when :ping then one.ping
    else app.events.take(event: state.begins, id: name)
    end
    name
  end

  def expect_break(one, fault)
    case fault.breaks
    when :socket then expect_eventually("the connection to end") { count(:open_h2_connections).zero? }
    when :nothing then one.close
    when :connection then expect(one.read_end.error).not_to eq(:no_error)
    else
      one.wait_for("a reset") { |frame| %i[goaway rst_stream].include?(frame.type) && frame.error != :no_error } if fault.breaks == :either
      # Either another stream goes on, or the connection has ended.
      begin
        expect(one.get("/", stream: 7).body).to eq("hello")
      rescue RawConnection::Ended, Errno::EPIPE, Errno::ECONNRESET
        raise if fault.breaks == :stream
      end
    end
  end

  states.each do |in_which, state|
    describe "of a stream while #{in_which}:" do
      faults.each do |what, fault|
        # RFC 9113 section 4.3: within a header block, each other frame is an error of the connection.
        fault = fault.dup.tap { |it| it.breaks = :connection unless it.breaks == :socket } if state.nil?
        fault = fault.dup.tap { |it| it.breaks = :either_or_nothing if it.breaks == :either } if state&.over
        it "the client #{what}" do
          one = client(settings: { initial_window_size: 100 })
          one.read_settings
          name = bring_into(one, state)
          fault.play.call(one)
          expect_break(one, fault)
          one.close unless one.closed?
          app.events.take(event: state.end, id: name) if state&.end
          app.ask("GATE << true until GATE.num_waiting.zero?; GATE.clear; nil")
          expect(client.get("/").body).to eq("hello")
          close_clients
          expect_eventually("nothing to be left") { gauges.values.all?(&:zero?) }
        end
      end
    end
  end
end
