# frozen_string_literal: true

require "spec_helper"
require "json"
require "tmpdir"
require "push_server/version"

# `push_server stop` and the like, with real servers and clients.
RSpec.describe "The commands" do
  include Command

  around do |example|
    Dir.mktmpdir("push_server-spec") { |dir| (@folder = dir) && example.run }
  end

  versioned = lambda do |version|
    <<~RUBY
      require "spec_app"
      $go = Thread::Queue.new
      # One process is told by the spec; workers look for a file.
      def in_the_app
        sleep(0.01) until File.exist?("go") || !$go.empty?
      end
      run(lambda do |env|
        if env["rack.upgrade?"]
          env["rack.upgrade"] = SpecApp::Recorder.new
          next [200, {}, []]
        end
        if env["PATH_INFO"] == "/wait"
          SpecApp.report(:waiting)
          in_the_app
        end
        [200, { "content-type" => "text/plain" }, [#{version.inspect}]]
      end)
    RUBY
  end

  define_method(:app_of) { |version| versioned.call(version) }

  def control = File.join(@folder, "control.sock")

  def serve(*options) = start_app(app_of("one"), "--control-socket", control, *options)

  # Runs a command of a user to this server.
  def command(*words, **how) = push_server(*words, "--control-socket", control, **how)

  # Runs a command while the example goes on.
  def meanwhile(*words) = Thread.new { command(*words) }

  def change(version, source = app_of(version)) = File.write(File.join(app.dir, "config.ru"), source)

  def answer
    client = HttpClient.new(app.address)
    client.get("/", { "connection" => "close" }).body
  ensure
    client&.close
  end

  def waiting_client
    http.send_request("GET", "/wait").tap { app.events.take(event: "waiting") }
  end

  describe "to a server in a single process" do
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
      expect(app.output).to match(/^ *thread "push_server worker \d" \(sleep/)
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

  { "with preload" => [], "without preload" => %w[--no-preload] }.each do |how, switches|
    describe "to a server with workers, #{how}," do
      define_method(:serve) do |*options|
        start_cluster(app_of("one"), "--control-socket", control, *switches, *options)
      end

      def status = JSON.parse(command("status", "--json").out, symbolize_names: true)

      # The workers that serve: number => pid.
      def serving = status[:workers].select { |worker| worker[:state] == "ready" }.to_h { |worker| worker.values_at(:number, :pid) }

      it "stop: finishes what is open, and waits until all processes have ended" do
        serve
        pids = [app.pid, *tree.children.map(&:pid)]
        client = waiting_client
        stop = meanwhile("stop")
        app.wait_for_line(/Stopping/)
        expect(status[:state]).to eq("stopping")
        File.write(File.join(app.dir, "go"), "")
        expect(client.read_response.body).to eq("one")
        expect([stop.value.out.lines.last, stop.value.exitstatus]).to eq(["Stopped\n", 0])
        expect(app.wait.exitstatus).to eq(0)
        expect_gone(pids)
        expect(Dir.children(@folder)).to eq([])
      end

      it "phased-restart: says how far it is, and waits until the new code serves" do
        serve
        before = serving
        change("two")
        result = command("phased-restart")
        expect([result.err, result.exitstatus]).to eq(["", 0])
        expect(result.out.lines.first).to match(/being loaded anew/)
        expect(result.out).to match(/^New workers? .*1.* ready/).and end_with("Restarted\n")
        expect(Array.new(8) { answer }.uniq).to eq(["two"])
        expect(serving.keys).to eq(before.keys)
        expect(serving.values & before.values).to eq([])
      end

      it "phased-restart: fails with the reason, and the old workers serve on" do
        serve
        before = serving
        change("two", "raise 'no database'")
        result = command("phased-restart")
        expect(result.complaint).to match([/\Apush_server phased-restart: given up: .*config\.ru:1: no database/])
        expect([result.exitstatus, serving, answer, status[:state]]).to eq([1, before, "one", "serving"])
      end

      it "restart: waits until the new version and its workers serve, in the same process" do
        serve
        before = status
        change("two")
        result = command("restart")
        expect([result.complaint, result.exitstatus]).to eq([[], 0])
        expect(result.out).to end_with("Restarted: push_server #{PushServer::VERSION}, process #{app.pid}\n")
        expect(Array.new(8) { answer }.uniq).to eq(["two"])
        expect(status).to include(pid: before[:pid], urls: before[:urls], state: "serving")
        expect(status[:instance]).not_to eq(before[:instance])
        expect(command("stop").exitstatus).to eq(0)
      end

      it "restart: fails with the reason, and the old version serves on" do
        serve
        FileUtils.mkdir_p(File.join(app.dir, "config"))
        File.write(File.join(app.dir, "config/push_server.rb"), "treads 3")
        before = serving
        result = command("restart")
        expect(result.complaint).to match([%r{\Apush_server restart: not restarted: config/push_server\.rb:1: .*treads}])
        expect([result.exitstatus, serving, answer]).to eq([1, before, "one"])
      end

      it "restart: fails if the new version serves, but the app cannot be loaded" do
        serve
        change("two", "raise 'no database'")
        result = command("restart")
        expect(result.complaint).to match([/\Apush_server restart: .*no database/])
        expect([result.exitstatus, answer]).to eq([1, "one"])
      end

      it "workers: starts and stops some" do
        serve
        expect(command("workers", "+1").out).to eq("3 workers\n")
        expect_eventually("three workers") { serving.keys.sort == [1, 2, 3] }
        expect(command("workers", "-2").out).to eq("1 workers\n").or eq("1 worker\n")
        expect_eventually("one worker") { serving.keys == [1] && status[:workers].size == 1 }
        expect(command("workers", "2").exitstatus).to eq(0)
        result = command("workers", "0")
        expect([result.complaint, result.exitstatus]).to match([[/must be at least 1/], 1])
        result = command("workers", "1001")
        expect([result.complaint, result.exitstatus]).to match([[/workers: cannot be 1001: give .* to 1000/], 1])
        expect_eventually("two workers") { serving.keys.sort == [1, 2] }
      end

      it "drain: replaces one worker" do
        serve
        before = serving
        expect(command("drain", "2").exitstatus).to eq(0)
        expect_eventually("another worker 2") { serving[2] && serving[2] != before[2] }
        expect(serving[1]).to eq(before[1])
        expect(command("drain", "7").complaint).to match([/there is no worker 7/])
      end

      it "backtraces: logs those of all workers, with the app's own lines" do
        serve
        waiting_client
        expect(command("backtraces").exitstatus).to eq(0)
        [1, 2].each { |number| expect_line(/\[worker #{number}\] backtraces of \d+ threads/) }
        expect_line(/^ *\* config\.ru:5:in .*in_the_app'/)
      end

      it "stats: adds up what all workers have counted" do
        serve
        10.times { answer }
        stats = JSON.parse(command("stats", "--json").out, symbolize_names: true)
        expect(stats[:workers].map { |worker| worker[:number] }).to contain_exactly(1, 2)
        expect(stats[:workers].sum { |worker| worker[:stats][:requests] }).to eq(stats[:stats][:requests])
        expect(stats[:stats][:requests]).to be >= 10
      end

      it "stats: does not wait for a worker that is stopped" do
        serve
        Process.kill("STOP", serving[2])
        stats = JSON.parse(command("stats", "--json").out, symbolize_names: true)
        expect(stats[:workers].map { |worker| worker[:number] }).to eq([1])
        Process.kill("CONT", tree.workers.find { |worker| worker.number == 2 }.pid)
      end

      it "status: names the workers" do
        serve
        result = command("status")
        expect(result.out.lines.first).to eq("push_server #{PushServer::VERSION}, process #{app.pid}, serving, 2 workers\n")
        expect(result.out).to match(/^  worker 1: pid \d+, process \d+, generation 1, state ready$/)
      end
    end
  end

  describe "without a server" do
    %w[stop restart phased-restart reload backtraces stats status].each do |name|
      it "#{name}: says where it has looked, and what to do" do
        result = command(name)
        expect(result.complaint)
          .to match([/\Apush_server #{name}: no server .*#{Regexp.escape(control)} \(there is no such file\).*--control-socket/])
        expect([result.out, result.exitstatus]).to eq(["", 3])
      end
    end

    it "says that the server which made the socket has ended" do
      serve
      app.kill
      expect(command("status").complaint).to match([/the server that made this file has ended/])
    end

    it "stop: uses the pidfile if the socket is dead" do
      pidfile = File.join(@folder, "pid")
      serve("--pidfile", pidfile)
      File.unlink(control)
      result = command("stop", "--pidfile", pidfile)
      expect([result.out.lines.last, result.exitstatus]).to eq(["Stopped\n", 0])
      expect(app.wait.exitstatus).to eq(0)
      expect(command("stop", "--pidfile", pidfile).exitstatus).to eq(3)
    end

    it "stop: sends no signal to a process that has got the pid of a dead server", if: File.exist?("/proc/self/stat") do
      pidfile = File.join(@folder, "pid")
      File.write(pidfile, Process.pid.to_s)
      File.utime(0, 0, pidfile)
      expect(command("stop", "--pidfile", pidfile).exitstatus).to eq(3)
    end
  end

  describe "to a server that does not answer" do
    it "give up, with a reason" do
      serve
      app.signal("STOP")
      result = command("status")
      expect([result.complaint, result.exitstatus]).to match([[/the server does not answer/], 1])
      app.signal("CONT")
      expect(command("status").exitstatus).to eq(0)
    end

    it "say that what listens there is no push_server" do
      UNIXServer.open(control) do |server|
        talker = Thread.new { server.accept.then { |socket| socket.gets && socket.puts("hello") } }
        expect(command("status").complaint).to match([/is not the control socket of a push_server/])
        talker.join
      end
    end

    it "say that it has ended the connection" do
      UNIXServer.open(control) do |server|
        killer = Thread.new { server.accept.then { |socket| socket.gets && socket.close } }
        expect([command("status").exitstatus, killer.join && nil]).to eq([1, nil])
      end
    end
  end

  describe "as command lines" do
    it "each have a --help of at most 80 columns, and are named by --help" do
      names = %w[stop restart phased-restart reload workers drain backtraces stats status]
      names.each do |name|
        result = push_server(name, "--help")
        expect([result.exitstatus, result.err]).to eq([0, ""])
        expect(result.out).to start_with("Usage: push_server #{name} ").and include("--control-socket", "Exit status")
        expect(result.out.lines.map { |line| line.chomp.size }.max).to be <= 80
      end
      expect(push_server("--help").out).to match(/^Commands to a running server/).and match(/^  #{names.join(".*^  ")}/m)
    end

    {
      ["status", "--threads", "3"] => "push_server status: status takes no option --threads: push_server status --help",
      ["stop", "--prot", "3"] => "push_server stop: there is no option --prot: did you mean --port?",
      %w[stop now] => 'push_server stop: stop takes no "now"',
      ["stop", "--json"] => "push_server stop: stop prints no JSON, only stats and status do",
      ["stop", "--timeout", "soon"] => 'push_server stop: --timeout needs a number of seconds, not "soon"',
      ["stop", "--timeout"] => "push_server stop: --timeout needs a number of seconds, not nil",
      %w[workers] => "push_server workers: workers needs +1|-1|N",
      %w[workers many] => 'push_server workers: workers needs +1, -1 or a number, not "many"',
      %w[drain] => "push_server drain: drain needs WORKER",
      %w[drain first] => "push_server drain: drain needs a worker's number: push_server status"
    }.each do |words, complaint|
      it "refuse #{words.join(" ")} in one line" do
        result = push_server(*words)
        expect([result.complaint, result.out, result.exitstatus]).to eq([[complaint], "", 2])
      end
    end

    it "do not hide a folder or a file of the same name" do
      Dir.mktmpdir do |dir|
        Dir.mkdir("#{dir}/stop")
        File.write("#{dir}/stop/config.ru", app_of("served"))
        start_app("./stop", dir: dir)
        expect(answer).to eq("served")
        expect(app.stop.exitstatus).to eq(0)
      end
    end

    it "find the server by the app's folder" do
      Dir.mktmpdir("push_server-spec") do |dir|
        Dir.mkdir("#{dir}/tmp")
        File.write("#{dir}/config.ru", app_of("one"))
        start_app("config.ru", "-e", "production", dir: dir)
        expect(push_server("status", dir: dir).out).to include("process #{app.pid}")
        expect(push_server("status", "--directory", dir).out).to include("process #{app.pid}")
        expect(File.stat("#{dir}/tmp/sockets/push_server.control.sock").mode & 0o777).to eq(0o600)
        expect(push_server("stop", dir: dir).exitstatus).to eq(0)
      end
    end

    it "find the server by its configuration file" do
      Dir.mktmpdir("push_server-spec") do |dir|
        Dir.mkdir("#{dir}/config")
        File.write("#{dir}/config/push_server.rb", "control_socket #{control.inspect}\n")
        File.write("#{dir}/config.ru", app_of("one"))
        start_app("config.ru", dir: dir)
        expect(push_server("stop", dir: dir).exitstatus).to eq(0)
        expect(app.wait.exitstatus).to eq(0)
      end
    end
  end

  it "do not reach a second server in the same folder, which serves all the same" do
    Dir.mktmpdir("push_server-spec") do |dir|
      Dir.mkdir("#{dir}/tmp")
      File.write("#{dir}/config.ru", app_of("one"))
      first = start_app("config.ru", "-e", "production", dir: dir)
      second = start_app("config.ru", "-e", "production", dir: dir)
      expect(second.output).to include("do not reach this server")
      expect(push_server("status", dir: dir).out).to include("process #{first.pid}")
      [second, first].each { |server| expect(server.stop.exitstatus).to eq(0) }
    end
  end
end
