# frozen_string_literal: true

require "spec_helper"

# PushServer.stats about the work between reactor and app.
RSpec.describe "PushServer.stats" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new

    run(lambda do |env|
      if env["PATH_INFO"] == "/hold"
        SpecApp.report(:held)
        GATE.pop
      end
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, []]
    end)
  CONFIG

  serve config, "--threads", "1"

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

    # The worker takes the five without waiting, and counts them when it waits again.
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
end
