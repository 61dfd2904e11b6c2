# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The metrics of a single process", transport: :tcp do
  include Scraping

  context "while it serves" do
    serve <<~RUBY, *Scraping::METRICS
      require "spec_app"
      run(lambda do |env|
        next [200, {}, ["text"]] unless env["rack.upgrade?"]
        env["rack.upgrade"] = SpecApp::Recorder.new
        [200, {}, []]
      end)
    RUBY

    include_examples "metrics of a server"

    it "count streams while they are open, by kind" do
      opened(websocket)
      stream = opened(sse)
      expect(samples).to include("push_server_open_websockets" => 1, "push_server_open_event_streams" => 1)

      stream.close
      expect_eventually("the end of the stream") { sample("push_server_open_event_streams").zero? }
    end

    it "have no label for a worker, as there are none" do
      expect(scrape.body).not_to match(/worker="/)
      expect(JSON.parse(scrape("/stats").body)["workers"]).to eq([])
    end
  end

  # An app whose only thread is busy, and keeps Ruby's lock if it says so.
  def start_busy(work) = start_app("$stdout.sync = true\nrun ->(_) { puts 'called'; #{work} }", *Scraping::METRICS, "-t", "1")

  { "sleeps" => "sleep", "computes" => "loop { }" }.each do |what, work|
    it "do not wait for an app that #{what}" do
      start_busy(work)
      http.send_request("GET", "/")
      app.wait_for_line(/called/)

      expect(sample("push_server_requests_total")).to eq(1)
    end
  end

  it "are off unless an option says where they are" do
    start_app("run ->(_) { [404, {}, []] }")

    expect(get("/metrics").status).to eq(404)
    expect(app.output).not_to include("Metrics on")
  end

  it "can be on a Unix socket, whose file is there while the server runs" do
    Dir.mktmpdir("push_server-spec") do |folder|
      start_app("run ->(_) { [200, {}, []] }", "--metrics", "unix://#{folder}/metrics.sock?mode=0640")
      expect(scrape.status).to eq(200)
      expect(File.stat("#{folder}/metrics.sock").mode & 0o777).to eq(0o640)

      expect(app.stop).to be_success
      expect(Dir.children(folder)).to be_empty
    end
  end

  it "are served while the server drains" do
    start_app("$stdout.sync = true\nrun ->(_) { puts 'called'; sleep(0.01) until File.exist?('go'); [200, {}, []] }", *Scraping::METRICS)
    client = http.send_request("GET", "/")
    app.wait_for_line(/called/)
    app.signal("TERM")
    app.wait_for_line(/\* Stopping/)

    expect(sample("push_server_open_connections")).to eq(1)
    File.write(File.join(app.dir, "go"), "")
    expect(client.read_response.status).to eq(200)
    expect(app.wait).to be_success
  end

  it "go on at the same place over a restart" do
    start_app("run ->(_) { [200, {}, ['one']] }", *Scraping::METRICS)
    address = metrics_address
    File.write(File.join(app.dir, "config.ru"), "run ->(_) { [200, {}, ['two']] }")
    app.signal("USR2")
    expect_eventually("the new version", seconds: 60) { http.get("/", { "connection" => "close" }).body == "two" }

    expect(closing(HttpClient.new(address)).get("/metrics").status).to eq(200)
  end

  {
    "a port that is taken" => [->(taken) { "tcp://127.0.0.1:#{taken}" }, /there is no place for metrics: cannot listen on \S+: the port is in use.*--metrics/],
    "a URL without a scheme" => [->(_) { "9394" }, %r{--metrics cannot be "9394": give tcp://host:port or unix:///path, or off}],
    "a URL with a wrong port" => [->(_) { "tcp://127.0.0.1:99999" }, /--metrics: cannot listen on .*a port is a number from 0 to 65535/]
  }.each do |title, (url, message)|
    it "make the server end with one line for #{title}" do
      TCPServer.open("127.0.0.1", 0) do |taken|
        launch_app("run ->(_) { [200, {}, []] }", "--metrics", url.call(taken.local_address.ip_port))

        expect(app.wait).not_to be_success
        expect(app.output).to match(message)
        expect(app.lines.size).to eq(1)
      end
    end
  end

  it "keep the old version from restarting if their new place is taken" do
    TCPServer.open("127.0.0.1", 0) do |taken|
      start_app("run ->(_) { [200, {}, ['one']] }", "-C", "push_server.rb", files: { "push_server.rb" => "metrics 'tcp://127.0.0.1:0'" })
      File.write(File.join(app.dir, "push_server.rb"), "metrics 'tcp://127.0.0.1:#{taken.local_address.ip_port}'")
      app.signal("USR2")

      expect_line(/not restarted: .*there is no place for metrics: cannot listen on .*the port is in use/)
      expect(scrape.status).to eq(200)
    end
  end
end
