# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A browser while the queue of requests is full" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve <<~'CONFIG', "--threads", "1", "--max-queue", "1", "--retry-min", "200", "--retry-max", "300"
    require "spec_app"

    GATE = Queue.new
    handler = SpecApp::Recorder.new(open: ->(client) { client.write("here you are") })

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/page" then [200, { "content-type" => "text/html" }, ["<title>page</title>"]]
      when "/events"
        env["rack.upgrade"] = handler
        [200, {}, []]
      when "/wait"
        SpecApp.report(:waiting)
        GATE.pop
        [200, {}, []]
      else [200, {}, []]
      end
    end)
  CONFIG

  # One request runs, one waits, and the next is refused.
  def fill_queue
    http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    candidates = Array.new(3) { http.send_request("GET", "/queued") }
    eventually("a request too many") { candidates.any? { |client| client.connection.anything? } }
  end

  it "has an EventSource that gets 200 and `retry:`, and reconnects by itself" do
    script = Script.new("full_queue.js", app.url)
    script.wait_for("ready")
    fill_queue
    script.tell("go")
    script.wait_for("waiting")
    app.ask("GATE << true; nil")
    result = script.results
    expect(result[:message]).to eq("here you are")
    # 0 is CONNECTING: the browser will reconnect. It would not after 2, which is CLOSED.
    expect(result[:states]).to all(eq(0))
    expect(result[:statuses].size).to be >= 2
    expect(result[:statuses]).to all(eq(200))
  ensure
    script&.stop
  end
end
