# frozen_string_literal: true

require "spec_helper"

# What all workers have counted, in the memory that they share.
RSpec.describe "Statistics of several processes", transport: :tcp do
  include Command

  # Answers with the pid of the process that serves. /status/N: with this status. /stats: what that process knows of all. /events: an
  # event stream with messages of a channel.
  source = <<~'CONFIG'
    require "json"

    class Events
      def on_open(client) = client.subscribe("news")
    end
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/stats" then [200, {}, [JSON.generate(PushServer.stats(:all))]]
      when "/own" then [200, {}, [JSON.generate(PushServer.stats)]]
      when "/publish" then [200, {}, [PushServer.publish("news", "hello").to_s]]
      when "/events" then [200, {}, []].tap { env["rack.upgrade"] = Events.new }
      when %r{\A/status/(\d+)} then [$1.to_i, {}, []]
      else [200, {}, [Process.pid.to_s]]
      end
    end)
  CONFIG

  before do |example|
    start_cluster(source, *example.metadata.fetch(:options, []), workers: 2,
                  files: { "config/push_server.rb" => "control_socket 'control.sock'" })
    @sent = 0
  end

  def totals
    result = push_server("stats", "--json", "--control-socket", File.join(app.dir, "control.sock"))
    raise result.err unless result.exitstatus.zero?

    JSON.parse(result.out, symbolize_names: true)
  end

  def numbers = totals[:stats]

  # Sends requests, and returns the pids that have answered.
  def send_requests(count = 6, path = "/")
    @sent += count
    Array.new(count) { fetch(path) }
  end

  # What a request counts, it counts before its answer is sent.
  def expect_all_counted
    expect(numbers[:requests]).to eq(@sent)
  end

  def kill_worker
    number, pid = workers.first
    Process.kill("KILL", pid)
    expect_eventually("worker #{number} in the place of #{pid}") { (now = tree.workers).size == 2 && now.none? { |worker| worker.pid == pid } }
    expect_eventually("both to serve") { (@sent += 1) && workers.value?(fetch.to_i) }
    pid
  end

  # Does something that replaces all workers, while requests are served.
  def replace_workers(signal, line)
    before = workers.values
    app.signal(signal)
    app.wait_for_line(line)
    expect_eventually("new workers alone") { send_requests(1) && (now = tree.workers).size == 2 && (now.map(&:pid) & before).empty? }
  end

  it "have all requests that clients have sent, whatever becomes of the workers" do
    send_requests
    expect_all_counted
    kill_worker
    send_requests
    expect_all_counted
    expect(numbers).to include(worker_restarts: 1, hub_restarts: 0)

    replace_workers("USR1", /the phased restart is done/)
    send_requests
    expect_all_counted

    replace_workers("USR2", /the phased restart is done/)
    send_requests
    expect_all_counted
    expect(app.lines.grep(/statistics/)).to eq([])
    expect(numbers).to include(worker_restarts: 1, hub_restarts: 0)
    expect_eventually("the end of all connections") { numbers[:open_connections].zero? }
    all = totals
    expect(all[:workers].map { |worker| worker.values_at(:number, :pid) }).to match_array(workers.to_a)
    # Those that have ended have counted the rest.
    expect(all[:workers].sum { |worker| worker[:stats][:requests] }).to be < all[:stats][:requests]
  end

  it "show a worker that is stopped, with what it has counted and has open" do
    clients = Array.new(6) { HttpClient.new(app.address).tap { |client| client.get("/") } }
    stopped = workers.fetch(2)
    open = totals[:workers].to_h { |worker| [worker[:pid], worker[:stats].slice(:requests, :open_connections)] }
    Process.kill("STOP", stopped)
    all = totals
    expect(all[:workers].to_h { |worker| [worker[:pid], worker[:stats].slice(:requests, :open_connections)] }).to eq(open)
    expect(all[:stats]).to include(requests: 6, open_connections: 6)
  ensure
    Process.kill("CONT", stopped)
    clients&.each(&:close)
  end

  it "forget what a dead worker had open, and keep what it has counted, also if the hub has died" do
    clients = Array.new(6) { HttpClient.new(app.address).tap { |client| client.get("/") } }
    @sent = 6
    by_pid = totals[:workers].to_h { |worker| [worker[:pid], worker[:stats][:open_connections]] }
    expect_another_hub(kill_hub)
    pid = kill_worker
    expect(numbers).to include(hub_restarts: 1, worker_restarts: 1)
    expect_eventually("the connections of the worker that lives alone") { numbers[:open_connections] == 6 - by_pid.fetch(pid) }
    expect_all_counted
  ensure
    clients&.each(&:close)
  end

  it "have the times of requests by class of status, and are known in each worker" do
    send_requests(3)
    { 301 => 1, 404 => 2, 500 => 3 }.each { |status, count| send_requests(count, "/status/#{status}") }
    # A request ends a moment after its client has the response.
    expect_eventually("all requests to have ended") { counted_by_status(totals[:histograms]) == [0, 3, 1, 2, 3] }
    all = totals
    all[:histograms].each_value do |durations|
      expect(durations[:buckets].values).to eq(durations[:buckets].values.sort)
      expect(durations[:buckets].values.last).to be <= durations[:count]
    end
    expect(all[:histograms][:queue_time][:count]).to eq(all[:stats][:jobs])
    expect_known_in_workers
  end

  def counted_by_status(histograms) = (1..5).map { |digit| histograms[:"request_time_#{digit}xx"][:count] }

  def expect_known_in_workers
    all = JSON.parse(fetch("/stats"), symbolize_names: true)
    expect(all[:stats]).to include(requests: @sent + 1)
    expect(all[:workers].map { |worker| worker.values_at(:number, :pid) }).to match_array(workers.to_a)
    own = JSON.parse(fetch("/own"), symbolize_names: true)
    expect(totals[:workers].map { |worker| worker[:stats][:requests] }).to include(own[:requests])
  end

  it "have gauges that another process counts for the workers, and the times of deliveries" do
    clients = Array.new(4) { SseClient.new(app.address, "/events") }
    expect_eventually("all to be readers") { numbers[:readers] == 4 }
    fetch("/publish")
    # The first event says that the channels are open.
    clients.each { |client| expect(Array.new(2) { client.read_event.data }.last).to eq("hello") }
    # It is known a moment after the client has the message.
    expect_eventually("four deliveries") { totals[:histograms][:delivery_time][:count] == 4 }
    expect(numbers).to include(published: 1, delivered: 4, open_event_streams: 4)
    clients.each(&:close)
    expect_eventually("no readers") { numbers.values_at(:readers, :open_event_streams) == [0, 0] }
    expect(numbers).to include(published: 1, delivered: 4, event_streams: 4)
  end

  # Makes the memory that of another version of push_server.
  def change_layout
    file = Dir.glob("/proc/#{app.pid}/fd/*").find { |fd| File.readlink(fd).include?("push_server_statistics") }
    File.open(file, "r+b") { |memory| memory.write([7].pack("Q")) }
  end

  it "begin anew under a version of push_server that counts other things" do
    send_requests
    change_layout
    replace_workers("USR2", /the phased restart is done/)
    expect(app.lines.grep(/statistics begin anew/).size).to eq(1)
    before = numbers[:requests]
    send_requests
    expect(numbers[:requests]).to eq(before + 6)
  end

  it "miss a worker of such a version, which serves and says so" do
    change_layout
    pid = kill_worker
    app.wait_for_line(/\[worker 1\] `push_server stats` does not know what this worker counts: .* another version of push_server\. Use push_server restart/)
    expect(totals[:workers].map { |worker| worker[:pid] }).to eq(workers.values - [pid, workers.fetch(1)])
    expect_eventually("worker 1 to serve") { fetch.to_i == workers.fetch(1) }
  end
end
