# frozen_string_literal: true

require "spec_helper"

# What a stream or a connection needed is free when it has ended, however it ended.
RSpec.describe "Memory over HTTP/2", :full do
  serve <<~'CONFIG', "--threads", "4", "--max-h2-resets", "1000000", env: { "MALLOC_ARENA_MAX" => "1" }
    require "spec_app"

    TALLY = Hash.new(0)
    LOCK = Mutex.new

    class Tallying
      def on_open(_) = LOCK.synchronize { TALLY[:opened] += 1 }
      def on_message(client, data) = client.write(data)
      def on_close(*) = LOCK.synchronize { TALLY[:closed] += 1 }
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/push"
        env["rack.upgrade"] = Tallying.new
        [200, {}, []]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      when "/big" then [200, {}, ["x" * 100_000]]
      when "/endless" then [200, {}, Enumerator.new { |body| loop { body << "x" * 1000 } }]
      else [200, {}, ["hello"]]
      end
    end)
  CONFIG

  # In KiB. What allocators keep varies. If each stream left 500 bytes, it would be more.
  tolerance = 4 * 1024

  def client(**options) = Http2Client.new(app.address, **options)

  def gauges = app.ask("PushServer.stats.slice(:open_connections, :open_h2_connections, :open_websockets, :open_event_streams, :queued_bytes)")

  def descriptors = Dir.children("/proc/#{app.pid}/fd").size

  # Memory in KiB, when everything has ended.
  def settle
    expect_eventually("all streams and connections to end") do
      gauges.values.all?(&:zero?) && app.ask("TALLY[:opened] == TALLY[:closed]")
    end
    app.ask("3.times { GC.start }; nil")
    app.resident
  end

  # What is done in each kind of stream. They begin together, then each is ended.
  begun = {
    get: ->(one) { one.send_request("GET", "/") },
    upload: ->(one) { one.send_request("POST", "/echo", body: "x" * 1000) },
    stalled_upload: ->(one) { one.send_request("POST", "/echo", { "content-length" => "10" }, ends: false) },
    stalled: ->(one) { one.send_request("GET", "/big") },
    endless: ->(one) { one.send_request("GET", "/endless") },
    events: ->(one) { one.send_request("GET", "/push", { "accept" => "text/event-stream" }) },
    websocket: lambda do |one|
      stream = one.send_request("CONNECT", "/push", { "sec-websocket-version" => "13" }, ends: false, protocol: "websocket")
      one.send_data(stream, WebSocketFrame.encode(:text, "hello"))
      stream
    end
  }
  ended = %i[get upload]

  # One stream of each of the seven kinds. The client ends those that do not end by themselves.
  use = lambda do |one|
    streams = begun.transform_values { |begin_it| begin_it.call(one) }
    ended.each { |kind| one.wait_for("the end") { |it| it.stream == streams[kind] && it.end_stream? } }
    streams.except(*ended).each_value { |stream| one.reset(stream) }
  end

  it "is the same after 10 000 streams on one connection" do
    one = client
    run = ->(rounds) { rounds.times { use.call(one) && one.ping && one.forget } }
    run.call(250)
    expect_eventually("the streams to end") { gauges.slice(:open_websockets, :open_event_streams, :queued_bytes).values.all?(&:zero?) }
    before = app.resident
    run.call(1430)
    expect_eventually("the streams to end") { gauges.slice(:open_websockets, :open_event_streams, :queued_bytes).values.all?(&:zero?) }
    app.ask("3.times { GC.start }; nil")
    expect(app.resident - before).to be < tolerance
    expect(one.get("/").body).to eq("hello")
    one.close
    settle
  end

  it "and descriptors are the same after 1000 connections" do
    ways = [
      ->(one) { one.connection.close },
      ->(one) { one.connection.reset },
      ->(one) { one.frame(:goaway, [0, 0].pack("NN")).connection.close },
      ->(one) { one.frame(:ping, "broken").read_end && one.close },
      ->(one) { one.connection.write(Http2Client.encode(:headers, "", stream: 99)[0, 5]) && one.connection.close }
    ]
    run = lambda do |count|
      count.times do |index|
        one = client(settings: { initial_window_size: 100 })
        begun.each_value { |begin_it| begin_it.call(one) }
        ways[index % ways.size].call(one)
      end
      settle
    end
    before = run.call(200)
    open = descriptors
    expect(run.call(1000) - before).to be < tolerance
    expect(descriptors).to eq(open)
  end
end
