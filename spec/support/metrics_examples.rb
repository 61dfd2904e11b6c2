# frozen_string_literal: true

require_relative "scraping"

# What holds for the metrics of any server: the examples for its running `app`.
RSpec.shared_examples "metrics of a server" do
  include Scraping

  it "are in the text format of Prometheus, unless the client names OpenMetrics" do
    [{}, { "accept" => "*/*" }, { "accept" => "text/html,*/*;q=0.8" }].each do |headers|
      response = scrape("/metrics", headers)
      expect(response.status).to eq(200)
      expect(response["content-type"]).to eq("text/plain; version=0.0.4; charset=utf-8")
      expect(response.body).to match(/^# TYPE push_server_requests_total counter$/)
      expect(response.body).to match(/^push_server_info\{version="\d+\.\d+\.\d+"\} 1$/)
    end
  end

  it "are OpenMetrics for Prometheus" do
    response = scrape("/metrics", { "accept" => Scraping::ACCEPT })

    expect(response.status).to eq(200)
    expect(response["content-type"]).to eq("application/openmetrics-text; version=1.0.0; charset=utf-8")
    expect(response.body).to match(/^# TYPE push_server_requests counter$/).and(end_with("# EOF\n"))
  end

  it "count what clients do" do
    before = samples
    3.times { get("/") }

    expect_eventually("three more requests") do
      after = samples
      %w[push_server_requests_total push_server_connections_total].all? { |name| after[name] - before[name] == 3 }
    end
  end

  it "are JSON at /stats, with the names that PushServer.stats has" do
    response = scrape("/stats", { "accept" => Scraping::ACCEPT })
    stats = JSON.parse(response.body)

    expect(response["content-type"]).to eq("application/json")
    expect(stats["stats"]).to include("requests" => Integer, "open_connections" => Integer, "queue_microseconds" => Integer)
    expect(stats["histograms"]["queue_time"]).to include("count", "sum", "buckets")
    expect(stats["version"]).to match(/\A\d/)
  end

  it "are told by HEAD without a body" do
    head = scrape(method: "HEAD")

    expect(head.status).to eq(200)
    expect(head["content-length"].to_i).to be_positive
    expect(head.framing).to eq(:none)
  end

  it "are given once a connection" do
    client = metrics_client
    response = client.get("/metrics")

    expect(response["connection"]).to eq("close")
    expect(client.connection.ending).to eq(:fin)
  end

  {
    "404 for another path" => ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", 404],
    "405 for another method" => ["POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", 405],
    "400 for bytes that are no request" => ["\x16\x03\x01\x02\x00\r\n\r\n", 400],
    "400 for a request without Host" => ["GET /metrics HTTP/1.1\r\n\r\n", 400],
    "431 for a head of more than 8 KiB" => ["GET /metrics HTTP/1.1\r\nhost: a\r\nx: #{"x" * 9000}\r\n\r\n", 431],
    "431 for a head that has no end" => ["GET /#{"x" * 20_000}", 431]
  }.each do |title, (request, status)|
    it "has #{title}" do
      client = metrics_client
      client.connection.offer(request)

      expect(client.read_response.status).to eq(status)
      expect(client.connection.ending).to eq(:fin)
    end
  end

  it "reach a client whose request comes byte by byte" do
    client = metrics_client
    "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".each_char { |character| client.write(character) }

    expect(client.read_response.status).to eq(200)
  end

  it "reach others while clients say nothing, and only 32 of those at a time" do
    silent = Array.new(31) { metrics_client }
    silent.first.write("GET /metr")
    expect(scrape.status).to eq(200)

    silent << metrics_client
    late = metrics_client.send_request("GET", "/metrics")
    silent.each(&:close)
    expect(late.read_response.status).to eq(200)
  end

  it "cuts off a client that says nothing, which makes room for others", :full do
    silent = Array.new(32) { metrics_client }
    late = metrics_client.send_request("GET", "/metrics")

    expect(silent.map { |client| client.connection.ending(seconds: 30) }.uniq).to eq([:fin])
    expect(late.read_response.status).to eq(200)
  end
end
