# frozen_string_literal: true

require "spec_helper"

# Prometheus reads the metrics, with the configuration of docs/metrics.md.
RSpec.describe "Prometheus", :full, transport: :tcp do
  include Scraping
  include Clusters

  before { skip "There is no Prometheus here" unless Prometheus.version }

  after { @prometheus&.stop }

  def start(*options)
    start_app(Clusters::PIDS, *Scraping::METRICS, *options)
    app.wait_for_line(/All \d workers serve/) if options.include?("-w")
  end

  def start_prometheus
    @prometheus = Prometheus.new(metrics_address)
    eventually("Prometheus to be ready", seconds: 30) { @prometheus.ready? }
  end

  def expect_value(expression, expected)
    value = nil
    expect_eventually("#{expression} to be #{expected}", seconds: 30) { (value = @prometheus.value(expression)) == expected }
  end

  { "a single process" => [], "workers" => %w[-w 2] }.each do |title, options|
    it "finds nothing to criticise in the metrics of #{title} (promtool check metrics)" do
      start(*options)
      fetch

      expect(Prometheus.tool("check", "metrics", scrape.body)).to eq(["", true])
    end
  end

  it "takes the configuration and the alerts of the documentation" do
    %w[scrape_configs: config groups: rules].each_slice(2) do |beginning, kind|
      output, content = Prometheus.tool("check", kind, :file, Prometheus.documented(beginning))
      expect(output).to include("SUCCESS")
      expect(content).to be(true)
    end
  end

  it "sees what clients have counted, over the deaths of a worker and the hub, and over USR2" do
    start("-w", "2")
    start_prometheus
    faults = [
      -> { Process.kill("KILL", workers.fetch(1)) },
      -> { Process.kill("KILL", tree.hub.pid) },
      -> { app.signal("USR2") && app.wait_for_line(/Executed/) }
    ]
    sent = 0
    [nil, *faults].each do |fault|
      before = workers.values
      fault&.call
      expect_eventually("two workers", seconds: 60) { (now = workers).size == 2 && (fault.nil? || fault == faults[1] || now.values != before) }
      20.times { fetch }
      expect_value("push_server_requests_total", sent += 20)
    end

    expect_value("sum(push_server_request_duration_seconds_count)", sent)
    expect(@prometheus.value("resets(push_server_requests_total[10m])")).to eq(0)
    expect(@prometheus.query("push_server_open_connections").map { |result| result["metric"]["worker"] }.sort).to eq(%w[1 2])
    expect_value("push_server_workers", 2)
  end

  it "answers all queries of the dashboard" do
    start("-w", "2")
    fetch
    start_prometheus
    expect_value("up", 1)
    dashboard = JSON.parse(File.read(File.join(AppProcess::ROOT, "docs/grafana/push_server.json")))
    queries = dashboard["panels"].flat_map { |panel| panel.fetch("targets", []).map { |target| target["expr"] } }
    queries.each do |query|
      filled = query.gsub("$job", "push_server").gsub("$instance", ".*").gsub("$__rate_interval", "1m")
      expect_eventually("an answer to #{filled}") { @prometheus.query(filled).any? }
    end
  end
end
