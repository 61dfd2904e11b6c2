# frozen_string_literal: true

require "spec_helper"
require "json"
require "push_server/version"

RSpec.describe "The commands to a server in a single process" do
  include ServerCommands

  it "stop: finishes what is open, and waits until the process has ended" do
    serve
    client = waiting_client
    stop = meanwhile("stop")
    app.wait_for_line(/Stopping/)
    expect(stop).to be_alive
    app.ask("$go << 1; nil")
    expect(client.read_response.body).to eq("one")
    result = stop.value
    expect([result.out.lines.last, result.err, result.exitstatus]).to eq(["Stopped\n", "", 0])
    expect(app).not_to be_running
    expect(app.wait.exitstatus).to eq(0)
    expect(Dir.children(@folder)).to eq([])
  end

  it "stop: waits no longer than --timeout" do
    serve
    waiting_client
    result = command("stop", "--timeout", "0.1")
    expect([result.complaint, result.exitstatus])
      .to eq([["push_server stop: the server has not finished within 0.1 s, and goes on with it"], 1])
    app.ask("$go << 1; nil")
    expect(app.wait.exitstatus).to eq(0)
  end

  it "answer when the server has got a descriptor again, and refuse a restart until then" do
    start_app("Process.setrlimit(:NOFILE, 128)\n#{app_of("one")}", "--control-socket", control)
    client = http
    client.get("/")
    app.ask("$held = []; begin; loop { $held << File.open(File::NULL) }; rescue Errno::EMFILE; nil; end")
    app.signal("USR2")
    expect_line(/not restarted: cannot start a process: Too many open files.* Nothing has changed/)
    status = meanwhile("status")
    expect_line(/cannot accept a command at the control socket: Too many open files/)
    expect(client.get("/").body).to eq("one")
    app.ask("$held.each(&:close); nil")
    expect(status.value.exitstatus).to eq(0)
    expect(command("restart").exitstatus).to eq(0)
  end

  it "stop, twice: both wait for the same end" do
    serve
    waiting_client
    stops = Array.new(2) { meanwhile("stop") }
    expect(command("status", "--json").out).to include('"state": "stopping"').or include('"state": "serving"')
    eventually("both to be accepted") { JSON.parse(command("status", "--json").out)["state"] == "stopping" }
    app.ask("$go << 1; nil")
    expect(stops.map { |stop| stop.value.exitstatus }).to eq([0, 0])
  end

  it "restart: says how far it is, and waits until the new version serves" do
    serve
    change("two")
    pid = app.pid
    result = command("restart")
    expect(result.err).to eq("")
    expect(result.out.lines).to match([/being loaded/, /It can/, /\ARestarted: push_server #{PushServer::VERSION}, process #{pid}$/])
    expect([answer, result.exitstatus]).to eq(["two", 0])
    expect(command("stop").exitstatus).to eq(0)
  end

  it "restart: fails with the reason, and the old version serves on" do
    serve
    change("two", "raise 'no database'")
    result = command("restart")
    expect(result.complaint)
      .to eq(["push_server restart: not restarted: the new version cannot serve: config.ru:1: no database (RuntimeError). " \
              "Nothing has changed"])
    expect([answer, result.exitstatus]).to eq(["one", 1])
  end

  it "restart: tells if the server is stopped instead" do
    serve
    waiting_client
    restart = meanwhile("restart")
    app.wait_for_line(/\* Restarting/, seconds: 60)
    app.signal("TERM")
    app.wait_for_line(/\* Stopping/)
    app.ask("$go << 1; nil")
    expect([restart.value.complaint, restart.value.exitstatus]).to eq([["push_server restart: the server was stopped instead"], 1])
  end

  it "reload: opens the log file anew" do
    log = File.join(@folder, "access.log")
    serve("--access-log", "common", "--access-log-file", log)
    answer
    eventually { File.read(log).include?("GET") }
    File.rename(log, "#{log}.1")
    expect(command("reload").exitstatus).to eq(0)
    answer
    expect_eventually("the new file") { File.exist?(log) && File.read(log).include?("GET") }
  end

  it "backtraces: names the app's own lines in the log, with a mark" do
    serve
    waiting_client
    result = command("backtraces")
    expect([result.out, result.exitstatus]).to match([/\AThe backtraces of \d+ threads are in the server's log\n\z/, 0])
    expect_line(/^ *\* config\.ru:5:in .*in_the_app'/)
    expect(app.output).to match(/^ *thread "push_server thread \d" \(sleep/)
  end

  it "PWR: does the same, at any log level, and the server goes on", if: Signal.list.key?("PWR") do
    port = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }
    launch_app(app_of("one"), "--log-level", "error", "-b", "tcp://127.0.0.1:#{port}")
    client = eventually do
      HttpClient.new(Addrinfo.tcp("127.0.0.1", port))
    rescue Errno::ECONNREFUSED
      nil
    end
    client.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    app.signal("PWR")
    expect_line(/^ *\* config\.ru:5:in .*in_the_app'/)
    app.ask("$go << 1; nil")
    expect(client.read_response.body).to eq("one")
    client.close
    expect(app.stop.exitstatus).to eq(0)
  end

  it "stats: prints counters, for people and as JSON" do
    serve
    answer
    expect(command("stats").out).to match(/^requests +\d+$/)
    expect(JSON.parse(command("stats", "--json").out)["stats"]).to include("requests" => (a_value >= 1))
  end

  it "status: says what runs where" do
    serve
    expect(command("status").out)
      .to eq("push_server #{PushServer::VERSION}, process #{app.pid}, serving, one process\n  listening on #{app.url}\n")
    expect(JSON.parse(command("status", "--json").out))
      .to include("pid" => app.pid, "mode" => "single", "state" => "serving", "urls" => [app.url], "version" => PushServer::VERSION)
  end

  {
    %w[phased-restart] => /this server is one process.*push_server restart.*-w 1/,
    %w[workers +1] => /this server is one process without workers.*-w N/,
    %w[workers -1] => /this server is one process without workers.*-w N/,
    %w[drain 1] => /this server is one process without workers.*-w N/
  }.each do |words, explanation|
    it "#{words.join(" ")}: explains what is missing" do
      serve
      result = command(*words)
      expect([result.complaint, result.exitstatus]).to match([[explanation], 1])
      expect(answer).to eq("one")
    end
  end
end
