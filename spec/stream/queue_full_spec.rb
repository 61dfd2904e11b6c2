# frozen_string_literal: true

require "spec_helper"

# Requests wait for a thread of the app in a bounded queue. While it is full, the server answers further requests itself.
RSpec.describe "While the queue of requests is full" do
  serve <<~'CONFIG', "--threads", "1", "--max-queue", "2", "--retry-min", "1000", "--retry-max", "2000"
    require "spec_app"

    GATE = Queue.new
    run(lambda do |env|
      SpecApp.report(:call, path: env["PATH_INFO"])
      GATE.pop if env["PATH_INFO"] == "/wait"
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, ["served"]]
    end)
  CONFIG

  # Yields the responses to refused requests while one request runs and two wait. These three are served afterwards.
  def with_full_queue
    waiting = [http.send_request("GET", "/wait")]
    app.events.take(event: "call", path: "/wait")
    refused = []
    while refused.empty?
      candidates = Array.new(3) { http.send_request("GET", "/queued") }
      eventually("an answer to a request too many") { candidates.any?(&:answered?) }
      refused, queued = candidates.partition(&:answered?)
      waiting += queued
    end
    yield refused.map(&:read_response)
  ensure
    app.ask("GATE << true; nil")
    waiting.each { |client| expect(client.read_response.body).to eq("served") }
  end

  it "a further request gets 503 with Retry-After; those that wait are served" do
    with_full_queue do |refused|
      expect(refused.map(&:status)).to all(eq(503))
      expect(refused.map { |response| Integer(response["retry-after"], 10) }).to all(be >= 1)
      expect(get("/another").status).to eq(503)
    end
    expect(app.events.all(path: "/another")).to be_empty
    expect(get("/after").body).to eq("served")
  end

  # A browser's EventSource does not reconnect after any status but 200.
  it "an EventSource gets an empty event stream with `retry:`" do
    with_full_queue do
      response = get("/", { "accept" => "text/event-stream" })
      expect(response.status).to eq(200)
      expect(response["content-type"]).to start_with("text/event-stream")
      expect(response["cache-control"]).to eq("no-cache, no-store")
      retry_after = response.body[/\Aretry: (\d+)\n\z/, 1]
      expect(Integer(retry_after, 10)).to be_between(1000, 2000)
    end
  end

  # A client that sent another method would take an empty stream for the answer.
  %w[POST PUT PATCH DELETE QUERY].each do |method|
    it "a #{method} that accepts an event stream gets 503 with Retry-After" do
      with_full_queue do
        response = http.request(method, "/", { "accept" => "text/event-stream" }, body: "question")
        expect(response.status).to eq(503)
        expect(response.body).not_to include("retry:")
        expect(Integer(response["retry-after"], 10)).to be >= 1
      end
    end
  end

  it "a WebSocket handshake gets 503" do
    with_full_queue { expect { websocket }.to raise_error(WebSocketClient::Refused, /503/) }
  end
end
