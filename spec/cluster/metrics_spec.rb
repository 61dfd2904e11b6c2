# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The metrics of a server with workers", transport: :tcp do
  include Scraping

  context "while it serves" do
    serve Clusters::PIDS, "-w", "2", *Scraping::METRICS
    before(:context) { @app.wait_for_line(/All 2 workers serve/) }

    include_examples "metrics of a server"

    it "have each worker's gauges, which together are the whole server's" do
      clients = Array.new(6) { http.tap { |client| client.get("/") } }
      open = nil
      # The server may not have seen yet that those of the example before are gone.
      expect_eventually("six connections, there are #{open}") do
        open = samples.select { |name, _| name.start_with?("push_server_open_connections{") }
        open.values.sum == clients.size
      end
      expect(open.keys).to match_array([1, 2].map { |number| "push_server_open_connections{worker=\"#{number}\"}" })
      expect(sample("push_server_workers")).to eq(2)
    end

    it "have each worker's counters as JSON, with its pid" do
      3.times { get("/") }
      stats = JSON.parse(scrape("/stats").body)
      listed = stats["workers"].to_h { |worker| [worker["number"], worker["pid"]] }

      expect(listed).to eq(workers)
      expect(stats["workers"].sum { |worker| worker["stats"]["requests"] }).to eq(stats["stats"]["requests"])
    end
  end

  def start(*options, **how) = start_cluster(Clusters::PIDS, *Scraping::METRICS, *options, **how)

  # Sends so many requests, each on a connection of its own.
  def send_requests(count) = count.times { fetch }

  def expect_requests(count) = expect_eventually("#{count} requests") { sample("push_server_requests_total") == count }

  it "do not wait for workers that are stopped" do
    start
    send_requests(5)
    workers.each_value { |pid| Process.kill("STOP", pid) }

    expect(sample("push_server_requests_total")).to eq(5)
  end

  # What happens between the first ten requests and the next ten.
  {
    "a worker is killed" => lambda do |spec|
      before = spec.workers
      Process.kill("KILL", before.fetch(1))
      spec.expect_eventually("another worker") { (now = spec.workers).size == 2 && now[1] != before[1] }
    end,
    "a worker drains" => lambda do |spec|
      before = spec.workers
      Process.kill("TERM", before.fetch(2))
      spec.expect_eventually("another worker") { (now = spec.workers).keys.sort == [1, 2] && now[2] != before[2] }
    end,
    "the hub is killed" => ->(spec) { Process.kill("KILL", spec.tree.hub.pid) },
    "all workers are replaced by a phased restart" => lambda do |spec|
      before = spec.workers.values
      spec.app.signal("USR1")
      spec.eventually("new workers", seconds: 60) { (now = spec.workers).size == 2 && (now.values & before).empty? }
    end,
    "the server executes itself anew" => lambda do |spec|
      before = [*spec.workers.values, spec.tree.hub.pid]
      spec.app.signal("USR2")
      spec.eventually("a new hub and new workers", seconds: 60) do
        (now = spec.workers).size == 2 && ([*now.values, spec.tree.hub&.pid] & before).empty?
      end
    end
  }.each do |title, fault|
    it "lose no count when #{title}" do
      start
      send_requests(10)
      expect_requests(10)
      instance_exec(self, &fault)

      # Workers may have served the spec's own requests while it waited: it sends none.
      expect(sample("push_server_requests_total")).to eq(10)
      send_requests(10)
      expect_requests(20)
    end
  end

  # Those that count something, or remember the highest number.
  def growing(samples) = samples.select { |name, _| name.match?(/(_total|_count|_sum|_bucket\{.*\})\z/) }

  it "answer each request while all processes are replaced, and no counter goes back" do
    start
    send_requests(10)
    before = [*workers.values, tree.hub.pid]
    app.signal("USR2")
    last = growing(samples)
    expect_eventually("a new hub and new workers", seconds: 60) do
      this = growing(samples)
      expect(last.select { |name, number| this.fetch(name) < number }).to eq({})
      last = this
      (now = workers).size == 2 && ([*now.values, tree.hub&.pid] & before).empty?
    end
    expect(sample("push_server_requests_total")).to eq(10)
  end

  it "count workers and hubs that end unexpectedly, and no others" do
    start
    names = %w[push_server_worker_restarts_total push_server_hub_restarts_total]
    expect(samples.values_at(*names)).to eq([0, 0])
    before = workers.values
    app.signal("USR1")
    expect_line(/the phased restart is done/)
    expect(workers.values & before).to eq([])
    expect(samples.values_at(*names)).to eq([0, 0])

    Process.kill("KILL", workers.fetch(1))
    expect_eventually("a restart of a worker") { samples.values_at(*names) == [1, 0] }
    Process.kill("KILL", tree.hub.pid)
    expect_eventually("a restart of the hub") { samples.values_at(*names) == [1, 1] }
  end

  it "forget the gauges of a worker that was killed" do
    start(workers: 1)
    clients = Array.new(3) { http.tap { |client| client.get("/") } }
    expect(sample("push_server_open_connections")).to eq(clients.size)
    Process.kill("KILL", workers.fetch(1))

    expect_eventually("no connections of the former worker") do
      samples["push_server_open_connections{worker=\"1\"}"]&.zero?
    end
  end

  # A request that comes while there is no hub waits for the next one.
  it "are served again when the hub was killed, and no connection is refused meanwhile" do
    start
    5.times do
      pid = tree.hub&.pid
      Process.kill("KILL", pid) if pid
      expect(scrape.status).to eq(200)
    end
  end

  it "end with the server, and leave no file of a Unix socket" do
    Dir.mktmpdir("push_server-spec") do |folder|
      start_cluster(Clusters::PIDS, "--metrics", "unix://#{folder}/metrics.sock?mode=0640")
      expect(scrape.status).to eq(200)
      expect(File.stat("#{folder}/metrics.sock").mode & 0o777).to eq(0o640)
      expect(app.stop).to be_success
      expect(Dir.children(folder)).to be_empty
    end
  end

  it "make the server end with one line if their port is taken" do
    TCPServer.open("127.0.0.1", 0) do |taken|
      launch_app(Clusters::PIDS, "-w", "2", "--metrics", "tcp://127.0.0.1:#{taken.local_address.ip_port}")

      expect(app.wait).not_to be_success
      expect(app.lines.size).to eq(1)
      expect(app.output).to match(/there is no place for metrics: cannot listen on \S+: the port is in use.*--metrics/)
    end
  end

  describe "when the option changes" do
    def configure(text) = File.write(File.join(app.dir, "push_server.rb"), text)

    def start_configured(text) = start_cluster(Clusters::PIDS, "-C", "push_server.rb", files: { "push_server.rb" => text })

    # Restarts by USR2, and waits for its end.
    def restart
      before = [*workers.values, tree.hub.pid]
      app.signal("USR2")
      expect_eventually("a new hub and new workers", seconds: 60) do
        (now = workers).size == 2 && ([*now.values, tree.hub&.pid] & before).empty?
      end
    end

    def scrape_at(address) = closing(HttpClient.new(address)).get("/metrics").status

    def free_port = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }

    it "are at the new place after USR2, and no longer at the old one" do
      start_configured("metrics 'tcp://127.0.0.1:0'")
      old = metrics_address
      new = Addrinfo.tcp("127.0.0.1", free_port)
      configure("metrics 'tcp://127.0.0.1:#{new.ip_port}'")
      restart

      expect(scrape_at(new)).to eq(200)
      expect_eventually("the end of the old place") do
        RawConnection.new(old).close && false
      rescue *RawConnection::REFUSED
        true
      end
    end

    it "are switched on, and off, by USR2" do
      start_configured("")
      address = Addrinfo.tcp("127.0.0.1", free_port)
      configure("metrics 'tcp://127.0.0.1:#{address.ip_port}'")
      restart
      expect(scrape_at(address)).to eq(200)
      configure("metrics nil")
      restart

      expect_eventually("no metrics") do
        RawConnection.new(address).close && false
      rescue *RawConnection::REFUSED
        true
      end
    end

    it "stay where they are if the new place is taken: nothing changes, and one line says so" do
      TCPServer.open("127.0.0.1", 0) do |taken|
        start_configured("metrics 'tcp://127.0.0.1:0'")
        pids = all_pids
        configure("metrics 'tcp://127.0.0.1:#{taken.local_address.ip_port}'")
        app.signal("USR2")

        expect_line(/not restarted: there is no place for metrics: cannot listen on .*the port is in use.*Nothing has changed/)
        expect(scrape.status).to eq(200)
        expect(all_pids).to match_array(pids)
      end
    end
  end
end
