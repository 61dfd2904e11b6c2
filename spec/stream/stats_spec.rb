# frozen_string_literal: true

require "spec_helper"

counting = <<~'CONFIG'
  require "spec_app"

  GATE = Queue.new
  PushServer.channel("news", history: 5)

  class Listener < SpecApp::Recorder
    def on_open(client)
      super
      client.subscribe("news")
    end
  end

  run(lambda do |env|
    if env["PATH_INFO"] == "/hold"
      SpecApp.report(:held)
      GATE.pop
    end
    env["rack.upgrade"] = Listener.new if env["rack.upgrade?"]
    [200, { "content-type" => "text/plain" }, []]
  end)
CONFIG

# PushServer.stats about the work between reactor and app.
RSpec.describe "PushServer.stats" do
  serve counting, "--threads", "1"

  def stats = app.ask("PushServer.stats")

  # Waits until the block is true of the statistics, and returns them.
  def stats_when(what)
    eventually(what) do
      now = stats
      now if yield now
    end
  end

  it "counts jobs and batches, how long jobs waited, and how often the standby thread drove the reactor" do
    before = stats
    held = http.send_request("GET", "/hold")
    app.events.take(event: "held")
    busy = stats_when("the standby thread drives") { |now| now[:standby_turns] > before[:standby_turns] }
    expect(busy).to include(requests: before[:requests] + 1, jobs: before[:jobs] + 1)

    waiting = Array.new(5) { http.send_request("GET", "/") }
    stats_when("all are there") { |now| now[:requests] == before[:requests] + 6 }
    expect(stats).to include(jobs: before[:jobs] + 1)
    app.ask("GATE << true; nil")
    expect([held, *waiting].map { |request| request.read_response.status }).to all(eq(200))

    # The thread takes the five without waiting, and counts them when it waits again.
    after = stats_when("the batch is counted") { |now| now[:largest_batch] >= 6 }
    expect(after).to include(jobs: before[:jobs] + 6)
    expect(after[:batches] - before[:batches]).to be <= 1
    expect(after[:longest_queue_microseconds]).to be > before[:longest_queue_microseconds]
    expect(after[:queue_microseconds] - before[:queue_microseconds]).to be > after[:longest_queue_microseconds]
  end

  it "counts a run of a client's events as a job" do
    before = stats
    socket = opened(websocket)
    socket.text("a")
    event(:message, socket)
    # The second event may have come in time for the run of the first.
    expect(stats).to include(websockets: before[:websockets] + 1, jobs: be_between(before[:jobs] + 2, before[:jobs] + 3))
    socket.finish
    event(:close, socket)
  end

  it "is a Hash of numbers" do
    expect(stats).to include(:connections, :standby_turns, :log_lines_lost)
    expect(stats.values).to all(be_an(Integer).and(be >= 0))
  end

  it "has all of the server with :all, also in one process, and refuses other words" do
    all = app.ask("PushServer.stats(:all)")
    expect(all[:stats].keys).to eq(stats.keys)
    expect(all).to include(workers: [])
    expect(all[:histograms].keys).to include(:queue_time, :request_time_2xx, :delivery_time)
    expect(app.ask("PushServer.stats(:some) rescue $!.message")).to eq("PushServer.stats takes nothing or :all, not :some")
  end
end

# With a server of its own: a slow app changes how the reactor is driven.
RSpec.describe "The statistics of an app that keeps Ruby busy" do
  serve <<~'CONFIG', "--threads", "1"
    require "spec_app"

    GATE = Queue.new
    run ->(_env) { [200, {}, []] }
  CONFIG

  it "have the time that threads with a job have waited for Ruby's lock" do
    app.ask("Thread.new { nil while GATE.empty? }; nil")
    3.times { http.get("/") }
    app.ask("GATE << true; nil")
    expect(app.ask("PushServer.stats[:gvl_wait_microseconds]")).to be_positive
  end
end

RSpec.describe "Histograms" do
  serve counting, "--threads", "1"

  def stats = app.ask("PushServer.stats")

  def counted(name) = app.ask("PushServer.stats(:all)[:histograms][:#{name}][:count]")

  # How much each has grown meanwhile.
  def growth(*names)
    before = names.map { |name| counted(name) }
    yield
    names.zip(before).to_h { |name, count| [name, counted(name) - count] }
  end

  def classes = %i[request_time_1xx request_time_2xx request_time_4xx]

  it "have an upgrade when the stream begins" do
    expect(growth(*classes) { opened(websocket) }).to eq(request_time_1xx: 1, request_time_2xx: 0, request_time_4xx: 0)
    expect(growth(*classes) { opened(sse) }).to eq(request_time_1xx: 0, request_time_2xx: 1, request_time_4xx: 0)
  end

  it "have a long poll when the app has let it in, and not again when it is answered" do
    client = PollClient.new(app.address, "/?push_wait=20", id: "poll")
    client.poll
    before = counted(:request_time_2xx)
    client.ask
    eventually("the poll to be let in") { counted(:request_time_2xx) == before + 1 }
    app.ask("PushServer.publish('news', 'a'); nil")
    expect(client.answer.data).to eq(["a"])
    expect(counted(:request_time_2xx)).to eq(before + 1)
  end

  it "have the time of a message's delivery, and not that of a message in the history" do
    opened(sse)
    cursor = app.ask("PushServer.cursor.to_s")
    delivered = stats[:delivered]
    live = growth(:delivery_time) do
      app.ask("PushServer.publish('news', 'live'); nil")
      eventually("the delivery") { stats[:delivered] > delivered && counted(:delivery_time).positive? }
    end
    expect(live[:delivery_time]).to be >= 1

    delivered = stats[:delivered]
    missed = growth(:delivery_time) do
      late = opened(sse("/", headers: { "last-event-id" => cursor }))
      expect(Array.new(2) { late.read_event.data }.last).to eq("live")
    end
    expect([stats[:delivered] - delivered, missed]).to eq([1, { delivery_time: 0 }])
  end
end
