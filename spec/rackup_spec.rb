# frozen_string_literal: true

require "spec_helper"
require "push_server/version"
require "socket"

# The command rackup, of Rackup 2 or of Rack 2.2: the one with which the specs run.
RSpec.describe "rackup" do
  include Command

  source = <<~RUBY
    require "spec_app"
    $go = Thread::Queue.new
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/wait"
        SpecApp.report(:waiting)
        $go.pop
      when "/push"
        env["rack.upgrade"] = SpecApp::Recorder.new
      end
      [200, { "content-type" => "text/plain" }, [env["SERVER_SOFTWARE"], " ", env["rack.multithread"].inspect]]
    end)
  RUBY

  def start(source, *options, **how)
    start_app(source, *options, via: :rackup, **how)
  end

  def waiting_client
    http.send_request("GET", "/wait").tap { app.events.take(event: "waiting") }
  end

  it "runs this server by name" do
    start(source, "-s", "push_server")
    expect(get("/").body).to eq("push_server/#{PushServer::VERSION} true")
  end

  it "runs this server without -s if the config.ru requires it" do
    start("require 'push_server'\n#{source}")
    expect(get("/").body).to start_with("push_server/")
  end

  it "runs this server when the library was loaded before rackup" do
    start(source, env: { "RUBYOPT" => "#{ENV.fetch("RUBYOPT", nil)} -rpush_server" })
    expect(get("/").body).to start_with("push_server/")
  end

  it "sets no environment variable that other processes would inherit" do
    start("require 'push_server'\n#{source}")
    expect(app.ask("ENV.keys.grep(/HANDLER/)")).to eq([])
    expect(app.ask("`env`.lines.grep(/HANDLER/)")).to eq([])
  end

  it "runs another server when the environment says so" do
    other = { "RACKUP_HANDLER" => "none_such", "RACK_HANDLER" => "none_such" }
    result = run_command(RbConfig.ruby, AppProcess.rackup, env: other,
                                                          files: { "config.ru" => "require 'push_server'\nrun ->(_) {}" })
    expect(result.out).not_to include("Listening")
    expect(result.exitstatus).not_to eq(0)
  end

  it "takes options, CamelCase or not" do
    start(source, "-s", "push_server", "-O", "Threads=1", "-O", "max_uri_size=100", "-O", "DrainTimeout=0.2")
    expect(app.output).to include("* 1 thread, ")
    expect(get("/").body).to end_with(" false")
    expect(get("/#{"x" * 200}").status).to eq(414)
  end

  it "warns about an unknown option, and starts" do
    start(source, "-s", "push_server", "-O", "Thread=1")
    expect(app.wait_for_line(/rackup option Thread is ignored/)).to include("did you mean :threads?")
  end

  it "upgrades through the middleware that rackup adds in development" do
    start(source, "-s", "push_server", "-E", "development")
    expect_event(:open, websocket("/push"))
    expect_event(:open, sse("/push"))
  end

  ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)

  it "serves localhost on both families", if: ipv6 do
    start(source, "-s", "push_server", "-o", "localhost")
    %w[127.0.0.1 ::1].each do |host|
      expect(closing(HttpClient.new(Addrinfo.tcp(host, app.port))).get("/").status).to eq(200)
    end
  end

  it "listens on a Unix socket" do
    Dir.mktmpdir do |dir|
      start(source, "-s", "push_server", "-O", "Bind=unix://#{dir}/s?mode=0600")
      expect(app.url).to eq("unix://#{dir}/s")
      expect(get("/").body).to start_with("push_server/")
      expect(app.stop).to be_success
      expect(Dir.children(dir)).to eq([])
    end
  end

  it "lists our options in its help" do
    result = run_command(RbConfig.ruby, AppProcess.rackup, "-s", "push_server", "-h")
    expect(result.out).to match(/-O Threads=N/).and match(/-O MaxMessageSize=BYTES/)
  end

  %w[INT TERM QUIT].each do |signal|
    it "finishes requests on #{signal} and exits 0" do
      start(source, "-s", "push_server")
      client = waiting_client
      app.signal(signal)
      app.wait_for_line(/Stopping/)
      app.ask("$go << 1; nil")
      expect(client.read_response.status).to eq(200)
      expect(app.wait.exitstatus).to eq(0)
    end

    it "stops at once on the second #{signal}, with status 1" do
      start(source, "-s", "push_server")
      waiting_client
      app.signal(signal)
      app.wait_for_line(/Stopping/)
      app.signal(signal)
      expect(app.wait.exitstatus).to eq(1)
    end
  end

  it "shows the exception of a config.ru that raises, with its lines" do
    result = run_command(RbConfig.ruby, AppProcess.rackup, "-s", "push_server",
                         files: { "config.ru" => "\nraise ArgumentError, 'told you'" })
    expect(result.err).to match(/config.ru:2:in .+told you \(ArgumentError\)/)
    expect(result.exitstatus).to eq(1)
  end

  it "says in one line that the port is in use" do
    taken = TCPServer.new("127.0.0.1", 0)
    port = taken.local_address.ip_port
    result = run_command(RbConfig.ruby, AppProcess.rackup, "-s", "push_server", "-o", "127.0.0.1", "-p", port,
                         files: { "config.ru" => "run ->(_) { [200, {}, []] }" })
    expect(result.complaint).to match([%r{\Apush_server: cannot listen on tcp://127.0.0.1:#{port}: the port is in use}])
    expect(result.exitstatus).to eq(1)
  ensure
    taken.close
  end
end
