# frozen_string_literal: true

require "spec_helper"

# What goes wrong at a restart costs one clear line. The workers that serve go on.
RSpec.describe "A restart of a server with workers that cannot succeed", transport: :tcp do
  include Command

  # The app's answers name its code. Files in its folder hold it up or break it.
  source = <<~'CONFIG'
    wait = ->(name) { sleep 0.01 while File.exist?(name) }
    wait.call("hold_load")
    eval(File.read("loading"))
    RELEASE = File.read("release").strip

    run(lambda do |env|
      wait.call("hold_request") if env["PATH_INFO"] == "/held"
      [200, {}, [RELEASE]]
    end)
  CONFIG
  configuration = <<~'CONFIG'
    workers 2
    worker_boot_timeout 10
    before_worker_boot { sleep 0.01 while File.exist?("hold_boot") }
  CONFIG

  # Starts it, and remembers its workers.
  define_method(:start_cluster) do |*switches, **how|
    files = { "release" => "one", "loading" => "", "config/push_server.rb" => configuration }
    start_app(source, *switches, files: files, **how)
    @former = eventually("all workers to serve") { app.tree.workers.then { |all| all if all.size == 2 } }
    app.wait_for_line(/All 2 workers serve/)
  end

  attr_reader :former

  def write(name, text) = File.write(File.join(app.dir, name), text)
  def remove(name) = File.unlink(File.join(app.dir, name))
  def pids = app.tree.workers.map(&:pid).sort

  def fetch(target = "/")
    client = http
    client.get(target).body
  ensure
    client&.close
  end

  # The line is there, no worker was replaced, and the old code serves.
  def expect_no_restart(line)
    expect_line(line)
    eventually("only the former workers to run") { pids == former.map(&:pid).sort }
    expect(fetch).to eq("one")
  end

  # The next restart works.
  def expect_restart(signal = "USR1")
    before = pids
    write("release", "two")
    app.signal(signal)
    eventually("all workers to be replaced", seconds: 30) { (pids & before).empty? && pids.size == 2 }
    expect(fetch).to eq("two")
    expect(app.stop).to be_success
  end

  it "names the place of a mistake in the configuration" do
    start_cluster
    write("config/push_server.rb", "workers 2\nwrokers 3\n")
    app.signal("USR2")
    expect_no_restart(/not restarted: .*push_server\.rb:2.*wrokers.*Nothing has changed/)

    write("config/push_server.rb", configuration_for_restart)
    expect_restart("USR2")
  end

  define_method(:configuration_for_restart) { configuration }

  it "says which port is taken" do
    start_cluster(via: :configured, env: { "PORT" => "0" })
    taken = TCPServer.new("127.0.0.1", 0)
    write("config/push_server.rb", "#{configuration}bind 'tcp://127.0.0.1:#{taken.addr[1]}'\n")
    app.signal("USR2")
    expect_no_restart(/not restarted: cannot listen on tcp:.*the port is in use.*Nothing has changed/)

    taken.close
    expect(app.stop).to be_success
  end

  it "changes nothing for what the new version could not have, and says what it is" do
    start_cluster(via: :configured, env: { "PORT" => "0" })
    other = UNIXServer.new(File.join(app.dir, "other.sock"))
    write("other.pid", Process.pid.to_s)
    files = Dir.children(app.dir).sort
    mistakes = RestartMistakes::ALL.merge(RestartMistakes::OF_WORKERS)
    mistakes.each do |words, line|
      write("config/push_server.rb", "#{configuration_for_restart}#{words}\n")
      app.signal("USR2")
      expect_no_restart(/not restarted: .*#{line.source}.*Nothing has changed/)
    end
    expect(Dir.children(app.dir).sort).to eq(files)
    expect(app.lines.grep(/not restarted/).size).to eq(mistakes.size)

    write("config/push_server.rb", configuration_for_restart)
    expect_restart("USR2")
  ensure
    other&.close
  end

  it "takes a pidfile and a control socket that are new, and keeps those that it has" do
    start_cluster
    write("config/push_server.rb", "#{configuration_for_restart}pidfile 'server.pid'\ncontrol_socket 'control.sock'\n")
    2.times do |round|
      expect_configuration(round + 1)
      expect(File.read(File.join(app.dir, "server.pid")).to_i).to eq(app.pid)
      expect(push_server("status", dir: app.dir).out).to include("process #{app.pid}")
    end
    expect(app.stop).to be_success
  end

  it "refuses a configuration without workers" do
    start_cluster
    write("config/push_server.rb", "workers 0\n")
    app.signal("USR2")
    expect_no_restart(/not restarted: the new configuration has no workers, but this server has. Stop the server, and start it again/)
    expect(app.stop).to be_success
  end

  # Restarts with a configuration that is never loaded. Returns the pid of the process that checks it.
  def hang_check
    write("config/push_server.rb", %(File.write("checking", Process.pid)\nsleep\n))
    app.signal("USR2")
    eventually("the process that checks", seconds: 30) { Integer(File.read(File.join(app.dir, "checking")), exception: false) rescue nil } # rubocop:disable Style/RescueModifier
  end

  it "leaves no process behind that checks the new version if the server stops meanwhile, or is killed" do
    %w[TERM KILL].each do |signal|
      start_cluster
      check = hang_check
      app.signal(signal)
      app.wait
      expect_gone([check])
      expect(app.output).not_to include("not restarted")
    end
  end

  it "says so if the process that checks the new version ends" do
    start_cluster
    write("config/push_server.rb", "exit!(7)")
    app.signal("USR2")
    app.wait_for_line(/not restarted/, seconds: 30)
    expect_no_restart(/not restarted: the process ended with status 7 before it could serve\. Nothing has changed/)
    expect_eventually("it to be gone") { children.sort == app.tree.children.map(&:pid).sort }
    expect(app.stop).to be_success
  end

  it "says so if the process that checks the new version is killed" do
    start_cluster
    Process.kill(:KILL, hang_check)
    expect_no_restart(/not restarted: the process ended by the signal KILL before it could serve\. Nothing has changed/)

    write("config/push_server.rb", configuration)
    expect_restart("USR2")
  end

  def children = File.read("/proc/#{app.pid}/task/#{app.pid}/children").split.map(&:to_i)

  {
    "raises" => ["raise 'no database'", /given up: .*no database.* 2 old workers serve on/],
    "has a syntax error" => ["def", /given up: .* 2 old workers serve on/],
    "exits" => ["exit 3", /given up: .* 2 old workers serve on/],
    "ends without a word" => ["exit! 3", /given up: .*status 3.* 2 old workers serve on/],
    "is killed" => ["Process.kill(:KILL, Process.pid)", /given up: .*KILL.* 2 old workers serve on/]
  }.each do |what, (code, line)|
    [[], ["--no-preload"]].each do |switches|
      it "gives up if the app #{what} while it is loaded #{switches.join(" ")}".strip, full: switches.any? || nil do
        start_cluster(*switches)
        write("loading", code)
        app.signal("USR1")
        expect_no_restart(line)
        app.signal("USR2")
        eventually("the other restart to be given up") { app.lines.grep(line).size == 2 }
        expect_no_restart(line)

        write("loading", "")
        expect_restart
      end
    end
  end

  it "says that no worker accepts on new sockets if the new workers cannot boot, and serves there after the next restart" do
    start_cluster(via: :configured, env: { "PORT" => "0" })
    write("config/push_server.rb", %(#{configuration_for_restart}bind "tcp://localhost", "unix://\#{Dir.pwd}/new.sock"\n))
    write("loading", "raise 'no database'")
    app.signal("USR2")
    expect_no_restart(%r{no worker accepts on unix://\S+/new\.sock until a restart succeeds})
    expect(app.lines.grep(/given up: .*no database.* 2 old workers serve on/).size).to eq(1)
    expect(app.lines.grep(/Listening on .*new\.sock/)).to eq([])

    waiting = HttpClient.new(Addrinfo.unix(File.join(app.dir, "new.sock"))).tap { |client| client.send_request("GET", "/") }
    write("loading", "")
    write("release", "two")
    app.signal("USR1")
    expect_line(%r{Listening on unix://\S+/new\.sock})
    expect(waiting.read_response.body).to eq("two")
    expect(app.stop).to be_success
  ensure
    waiting&.close
  end

  it "gives up if no process can be forked" do
    start_cluster
    write("loading", <<~'RUBY')
      Process.singleton_class.prepend(Module.new { def _fork = File.exist?("no_forks") ? raise(Errno::EAGAIN, "fork(2)") : super })
    RUBY
    write("no_forks", "")
    app.signal("USR1")
    expect_no_restart(/given up: .*cannot fork.*Raise the system's limit on processes.* 2 old workers serve on/)

    remove("no_forks")
    expect_restart
  end

  it "gives up if the new workers do not boot in time" do
    start_cluster
    write("config/push_server.rb", configuration.sub("worker_boot_timeout 10", "worker_boot_timeout 6"))
    expect_configuration
    write("hold_boot", "")
    app.signal("USR1")
    app.wait_for_line(/given up: .*worker_boot_timeout/, seconds: 30)
    expect_no_restart(/given up: .*worker_boot_timeout.* 2 old workers serve on/)

    remove("hold_boot")
    expect_restart
  end

  # The configuration of the supervisor is that of the last USR2.
  # @param restarts [Integer] how many have ended then
  def expect_configuration(restarts = 1)
    before = pids
    app.signal("USR2")
    eventually("all workers to be replaced", seconds: 30) { (pids & before).empty? && pids.size == 2 }
    eventually("the restart to be done") { app.lines.grep(/the phased restart is done/).size == restarts }
    @former = app.tree.workers
  end

  # Holds the process that checks the new version, until the gate is removed. Other processes load the configuration at once.
  define_method(:hold_check) do |code = ""|
    write("hold_check", "")
    write("config/push_server.rb", <<~RUBY)
      if File.exist?("hold_check") && (Dir.mkdir("checking") rescue false)
        sleep 0.01 while File.exist?("hold_check")
        Dir.rmdir("checking")
        #{code}
      end
      #{configuration_for_restart}
    RUBY
  end

  def restart_with_held_check
    app.signal("USR2")
    eventually("the check") { File.directory?(File.join(app.dir, "checking")) }
  end

  describe "and another one during its check" do
    # A command that waits for the end of the phased restart.
    def phased_restart = Thread.new { push_server("phased-restart", "--control-socket", File.join(app.dir, "control.sock")) }

    before { start_cluster("--control-socket", "control.sock") }

    it "replaces each worker once, and answers the command when the new code serves" do
      hold_check
      before = pids
      restart_with_held_check
      command = phased_restart
      expect_line(/a restart is under way, which replaces the workers, too/)
      expect(pids).to eq(before)

      write("release", "two")
      remove("hold_check")
      expect(command.value.status).to be_success
      expect(fetch).to eq("two")
      expect_eventually("two new workers") { pids.size == 2 && (pids & before).empty? && app.tree.children.size == 4 }
      expect(app.lines.grep(/phased restart: the app is loaded anew/).size).to eq(1)
      expect(app.stop).to be_success
    ensure
      command&.kill
    end

    it "fails with it" do
      hold_check("raise 'no database'")
      restart_with_held_check
      command = phased_restart
      expect_line(/a restart is under way, which replaces the workers, too/)
      remove("hold_check")
      expect(command.value.err).to match(/given up: .*no database/)
      expect_no_restart(/not restarted: .*no database.*Nothing has changed/)
      expect(app.stop).to be_success
    ensure
      command&.kill
    end

    it "fails with it, if it was to follow a phased restart" do
      write("hold_load", "")
      app.signal("USR1")
      expect_line(/phased restart: the app is loaded anew/)
      command = phased_restart
      expect_line(/another restart follows it/)
      write("config/push_server.rb", "raise 'no database'")
      app.signal("USR2")
      eventually("both to be noted") { app.lines.grep(/another restart follows it/).size == 2 }
      remove("hold_load")
      expect(command.value.err).to match(/given up: .*no database/)
      expect(app.stop).to be_success
    ensure
      command&.kill
    end
  end

  it "works with a limit of 256 open files" do
    start_cluster
    write("config/push_server.rb", "Process.setrlimit(:NOFILE, 256)\n#{configuration_for_restart}")
    expect_restart("USR2")
  end

  it "works although the disk of the logs is full" do
    skip "cannot mount a small disk here" unless (disk = SmallDisk.make(64 * 1024))
    log = File.join(disk.path, "log")
    start_cluster
    write("config/push_server.rb", <<~RUBY)
      #{configuration_for_restart}
      $stdout.reopen(#{log.inspect}, "a")
      $stderr.reopen($stdout)
      access_log :common
      access_log_file #{File.join(disk.path, "access").inspect}
    RUBY
    before = pids
    app.signal("USR2")
    eventually("all workers to be replaced", seconds: 30) { (pids & before).empty? && pids.size == 2 }
    File.write(File.join(disk.path, "fill"), "x" * 100_000) rescue Errno::ENOSPC # rubocop:disable Style/RescueModifier
    expect { File.write(log, "x" * 8192, mode: "a") }.to raise_error(Errno::ENOSPC)
    Process.kill(:KILL, pids.first)
    eventually("the worker to be replaced") { pids.size == 2 }
    expect_restart
  ensure
    disk&.remove
  end

  # Each part of the server is killed in each phase of a restart. Whether this restart succeeds or not, the server serves
  # with all its parts afterwards.
  parts = {
    "hub" => ->(tree, _) { tree.hub },
    "first leader" => ->(tree, _) { tree.leaders.min_by(&:number) },
    "last leader" => ->(tree, _) { tree.leaders.max_by(&:number) },
    "old worker" => ->(tree, old) { tree.workers.find { |worker| old.include?(worker.pid) } },
    "last worker" => ->(tree, _) { tree.workers.max_by(&:process) }
  }

  # Restarts, and kills the part when the restart has got to the phase, where the gate holds it.
  def kill_in_restart(signal, gate, reached, choose)
    before, restarts = pids, endings
    @last_leader = [@last_leader, *app.tree.leaders.map(&:number)].compact.max
    write(gate, "")
    held = http.send_request("GET", "/held") if gate == "hold_request"
    app.signal(signal)
    eventually("the phase") { reached.call(app.tree, before, @last_leader) }
    choose.call(app.tree, before)&.then { |child| Process.kill(:KILL, child.pid) }
    expect(fetch).to eq("one")
    remove(gate)
    eventually("the restart to end", seconds: 30) { endings > restarts }
    held&.close
    eventually("two workers and a hub", seconds: 30) { pids.size == 2 && app.tree.hub && app.tree.children.size <= 4 }
  end

  # How many restarts have ended.
  def endings = app.lines.grep(/phased restart is (?:done|given up)/).size

  {
    "loads the app" => ["hold_load", ->(tree, _, last) { tree.leaders.any? { |leader| leader.number > last } }],
    "boots new workers" => ["hold_boot", ->(tree, *) { tree.workers.size == 4 }],
    "drains the old workers" => ["hold_request", ->(tree, old, _) { tree.workers.size > 2 && (tree.workers.map(&:pid) - old).size == 2 }]
  }.each do |phase, (gate, reached)|
    %w[USR1 USR2].each do |signal|
      # The second half of USR2 is that of USR1.
      it "serves on whichever part is killed while #{signal} #{phase}", full: signal == "USR1" || nil do
        start_cluster
        parts.each_value { |choose| kill_in_restart(signal, gate, reached, choose) }
        expect_restart
      end
    end
  end
end
