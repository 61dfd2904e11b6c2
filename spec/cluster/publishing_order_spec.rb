# frozen_string_literal: true

require "spec_helper"

# What a client may conclude from an answer, with several workers: what its request has published has its place among all
# messages, and a cursor of one worker is good for all others.
RSpec.describe "The order of messages and answers", transport: :tcp do
  config = <<~'CONFIG'
    require "spec_app"

    PushServer.channel "log", history: 10_000

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/publish" then PushServer.publish("log", env["QUERY_STRING"])
      when "/streamed"
        body = Enumerator.new do |parts|
          PushServer.publish("log", env["QUERY_STRING"])
          parts << "streamed"
        end
        next [200, {}, body]
      when "/history" then next [200, {}, [JSON.generate(PushServer.history("log", limit: 10_000).map(&:data))]]
      when "/since"
        since = env["QUERY_STRING"]
        past = PushServer.history("log", since: since, limit: 10)
        next [200, {}, [JSON.generate(complete: past.complete?, data: past.map(&:data))]]
      when "/cursor" then next [200, {}, [PushServer.cursor.to_s]]
      else
        env["rack.upgrade"] = SpecApp::Recorder.new(open: ->(client) { client.subscribe("log") }) if env["rack.upgrade?"]
      end
      [200, {}, ["#{Process.pid}"]]
    end)
  CONFIG

  before { start_cluster(config, workers: 3) }

  %w[/publish /streamed].each do |path|
    it "has what was published before an answer before all that is published after it (#{path})" do
      # Each request on a new connection, so that the workers take turns.
      expected = Array.new(150) { |number| number.to_s.tap { expect(get("#{path}?#{number}").status).to eq(200) } }
      # The worker that answers may get the last messages a moment later.
      history = eventually("all messages") { JSON.parse(get("/history").body).then { |all| all if all.size >= 150 } }
      expect(history).to eq(expected)
    end
  end

  it "has, for clients of all workers, the same order and no gap after a cursor that another worker gave out" do
    30.times do |number|
      get("/publish?#{number}")
      cursor = get("/cursor").body
      get("/publish?after-#{number}")
      stream = sse("/", headers: { "Last-Event-ID" => cursor })
      opening = stream.read_event
      expect(opening).to have_attributes(event: "push.open")
      expect(JSON.parse(opening.data)).to include("recovered" => true, "gap" => [])
      expect(stream.read_event.data).to eq("after-#{number}")
      past = JSON.parse(get("/since?#{cursor}").body)
      expect(past["complete"]).to be(true)
      expect([[], ["after-#{number}"]]).to include(past["data"])
    end
  end
end
