# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A process of a server that dies", transport: :tcp do
  [%w[--preload], %w[--no-preload]].each do |switches|
    it "is replaced if it is a worker, and the log says how it ended: #{switches.first}" do
      start_cluster(Clusters::PIDS, *switches)
      killed = workers[1]
      Process.kill("KILL", killed)

      expect_line(/worker 1 \(pid #{killed}\): it ended by the signal KILL. It is started again at once/)
      expect_eventually("another worker 1") { (now = workers)[1] && now[1] != killed && answering.size == 2 }
    end
  end

  it "is replaced after longer and longer waits if the workers end soon after their start" do
    start_cluster
    3.times do
      before = workers[2]
      Process.kill("KILL", before)
      expect_eventually("another worker 2") { (now = workers)[2] && now[2] != before && answering.include?(now[2]) }
    end

    ["at once", "in 0.1 s", "in 0.2 s"].each { |wait| expect_line(/worker 2 .* It is started again #{wait}/) }
  end

  it "is replaced if it is the hub, and the workers serve on" do
    start_cluster
    before = workers
    hub = tree.hub.pid
    Process.kill("KILL", hub)

    expect_line(/the hub \(pid #{hub}\) ended by the signal KILL. It is started again at once/)
    expect_another_hub(hub)
    expect(answering).to eq(workers.values.sort)
    expect(workers).to eq(before)
  end

  it "is killed and replaced if it is the hub, and its loop does not answer for 10 s", :full do
    start_cluster
    hub = tree.hub.pid
    Process.kill("STOP", hub)

    app.wait_for_line(/hub \(pid #{hub}\) is killed: it has not answered for 10 s/, seconds: 20)
    expect_another_hub(hub)
  end

  it "is replaced when the next worker is forked, if it is the leader; the log says which code was loaded" do
    start_cluster
    leader, before = tree.leaders.first.pid, workers
    Process.kill("KILL", leader)
    expect_line(/leader 1 \(pid #{leader}\) ended by the signal KILL. Another one is started when a worker is to be forked/)
    expect(answering).to eq(before.values.sort)
    expect(tree.leaders).to be_empty

    Process.kill("KILL", before[2])
    expect_line(/leader 2 \(pid \d+\) has loaded #{Regexp.escape(File.realpath(app.dir))}/)
    expect_eventually("another worker 2") { (now = workers)[2] && now[2] != before[2] && answering.include?(now[2]) }
    expect(workers[1]).to eq(before[1])
  end

  it "is replaced, also if all children of the supervisor are killed at once" do
    start_cluster
    pids = [*workers.values, tree.hub.pid, tree.leaders.first.pid]
    pids.each { |pid| Process.kill("KILL", pid) }

    expect_new_workers([1, 2], before: pids)
    expect(app.stop).to be_success
  end

  it "ends all other processes if it is the supervisor" do
    start_cluster("run ->(env) { sleep if env['PATH_INFO'] == '/sleep'; [200, {}, []] }")
    pids = tree.children.map(&:pid)
    http.send_request("GET", "/sleep")
    Process.kill("KILL", app.pid)

    expect_gone(pids, seconds: 5)
    expect(accepting_connections?).to be(false)
  end

  it "leaves files that the next server replaces without a warning, if it is the supervisor" do
    Dir.mktmpdir do |dir|
      names = %w[server.sock control.sock publish.sock server.pid]
      words = ["-b", "unix://#{dir}/server.sock", "--control-socket", "control.sock", "--publish-socket", "publish.sock", "--pidfile", "server.pid"]
      File.write("#{dir}/config.ru", Clusters::PIDS)
      start_cluster("config.ru", *words, dir: dir)
      pids = all_pids
      Process.kill("KILL", app.pid)
      expect_gone(pids, seconds: 5)
      left = names.select { |name| File.exist?("#{dir}/#{name}") }

      start_cluster("config.ru", *words, dir: dir)
      expect([left, names.select { |name| File.exist?("#{dir}/#{name}") }]).to eq([names, names])
      expect(File.read("#{dir}/server.pid").to_i).to eq(app.pid)
      expect(workers.values).to include(fetch.to_i)
      expect(app.lines.grep(/warn|error/)).to eq([])
      expect(app.stop).to be_success
      expect(Dir.children(dir)).to eq(["config.ru"])
    end
  end

  it "leaves no descriptor open in the supervisor" do
    start_cluster
    3.times { |round| replace_all(round) }
    before = app.descriptors.size
    6.times { |round| replace_all(round) }

    expect_eventually("no more descriptors than #{before}") { app.descriptors.size <= before }
  end

  # Kills a worker, the hub or the leader, restarts all, and waits until two workers serve.
  def replace_all(round)
    before = workers
    victim = [tree.hub, tree.leaders.first, tree.workers.first][round % 3]
    Process.kill("KILL", victim.pid)
    expect_eventually("the death of #{victim}") { !alive?(victim.pid) }
    app.signal("USR1")
    expect_new_workers([1, 2], before: before.values)
    expect_eventually("one leader and one hub") { tree.children.map(&:role).tally == { hub: 1, leader: 1, worker: 2 } }
  end

  describe "while it starts" do
    it "ends the server with the app's error, as with one process, if the app does not load" do
      [%w[--preload], %w[--no-preload]].each do |switches|
        launch_app("raise 'broken'", "-w", 2, *switches)

        expect(app.wait.exitstatus).to eq(1)
        expect(app.lines.grep(/broken/).size).to eq(1)
        expect(app.output).to match(/^push_server: config.ru:1: broken \(RuntimeError\)$/)
      end
    end

    it "ends the server with one line if the app ends its process" do
      launch_app("exit 3", "-w", 2)

      expect(app.wait.exitstatus).to eq(1)
      expect(app.output).to match(/^push_server: the leader could not load the app: it ended with status 3$/)
    end

    it "is tried again and again if a hook of its boot raises, and the others serve" do
      start_app(Clusters::PIDS, "-w", 2, files: { "config/push_server.rb" => "before_worker_boot { |n| raise 'no luck' if n == 2 }" })

      expect_line(%r{worker 2 \(pid \d+\): before_worker_boot \(config/push_server.rb:1\) raises: no luck \(RuntimeError\). It is started again at once})
      expect_line(/It is started again in 0.1 s/)
      expect(answering).to eq([workers[1]])
      expect(app.stop).to be_success
    end

    it "is tried again if it is killed" do
      start_app(Clusters::PIDS, "-w", 2, files: { "config/push_server.rb" => <<~'RUBY' })
        before_worker_boot { |n| Process.kill("KILL", Process.pid) if n == 2 && !File.exist?("go") }
      RUBY
      expect_line(/worker 2 .* it ended by the signal KILL. It is started again in 0.1 s/)
      File.write(File.join(app.dir, "go"), "")

      expect_line(/All 2 workers serve/)
    end

    it "is killed and tried again if it does not begin to serve in time" do
      start_app(Clusters::PIDS, "-w", 2, "--worker-boot-timeout", 4, files: { "config/push_server.rb" => <<~'RUBY' })
        before_worker_boot { |n| sleep if n == 2 && !File.exist?("go") }
      RUBY
      expect_line(/worker 2 \(pid \d+\) is killed: it has not begun to serve within 4 s \(worker_boot_timeout\)/)
      File.write(File.join(app.dir, "go"), "")

      expect_line(/All 2 workers serve/)
    end
  end

  it "is killed and started again if it is a leader that does not fork a worker in time" do
    start_cluster(Clusters::PIDS, "--worker-boot-timeout", 3)
    leader, before = tree.leaders.first.pid, workers
    Process.kill("STOP", leader)
    Process.kill("KILL", before[1])

    expect_line(/leader 1 \(pid #{leader}\) is killed: it has not forked a worker within 3 s \(worker_boot_timeout\)/)
    expect_eventually("another worker 1") { (now = workers)[1] && now[1] != before[1] && answering.size == 2 }
  end

  it "ends the server if it is the first leader and does not load the app in time" do
    launch_app("sleep", "-w", 2, "--worker-boot-timeout", 1)

    expect(app.wait.exitstatus).to eq(1)
    expect_line(/leader 1 \(pid \d+\) is killed: it has not loaded the app within 1 s \(worker_boot_timeout\)/)
  end

  describe "because the system gives no process" do
    no_fork = <<~'RUBY'
      Process.singleton_class.prepend(Module.new do
        def fork(...) = File.exist?("full") ? raise(Errno::EAGAIN, "fork(2)") : super
      end)
    RUBY

    it "is tried again, with one clear line each time, while the others serve" do
      start_cluster("#{no_fork}\n#{Clusters::PIDS}")
      before = workers
      File.write(File.join(app.dir, "full"), "")
      Process.kill("KILL", before[1])
      expect_line(/worker 1: cannot fork: Resource temporarily unavailable.* Raise the system's limit on processes. It is started again in 0.1 s/)
      expect(answering).to eq([before[2]])
      File.delete(File.join(app.dir, "full"))

      expect_eventually("another worker 1") { answering.size == 2 }
    end
  end

  # A limit that the system itself enforces. It does not hold for root.
  describe "because of a limit on processes" do
    limit = <<~'RUBY'
      def limit_processes
        Process::UID.change_privilege(54_000 + Process.pid % 10_000) if Process.uid.zero?
        Process.setrlimit(:NPROC, 1)
      end
    RUBY

    before { skip "there is no such limit" unless Process.const_defined?(:RLIMIT_NPROC) }

    it "has one clear line if it cannot be forked, and the others serve on" do
      start_cluster(Clusters::PIDS, files: { "config/push_server.rb" => <<~RUBY })
        #{limit}
        before_worker_fork { limit_processes if File.exist?("full") }
      RUBY
      File.chmod(0o755, app.dir)
      leader, before = tree.leaders.first.pid, workers
      File.write(File.join(app.dir, "full"), "")
      Process.kill("KILL", before[1])
      expect_line(/worker 1: cannot fork: Resource temporarily unavailable.* It is started again in 0.2 s/)
      expect(answering).to eq([before[2]])
      File.delete(File.join(app.dir, "full"))
      Process.kill("KILL", leader)

      expect_eventually("another worker 1") { answering.size == 2 }
    end

    it "ends the server with one clear line if not even a leader can be started" do
      launch_app(Clusters::PIDS, "-w", 2, files: { "config/push_server.rb" => "#{limit}\nFile.chmod(0o755, '.')\nlimit_processes" })

      expect(app.wait.exitstatus).to eq(1)
      expect_line(/^push_server: the leader could not load the app: cannot start a process: Resource temporarily unavailable/)
    end

    it "has one clear line if it can start no thread, and the others serve on" do
      skip "Ruby 3.3 itself hangs when it cannot make a thread" if RUBY_VERSION.start_with?("3.3.")
      start_app(Clusters::PIDS, "-w", 2, files: { "config/push_server.rb" => <<~RUBY })
        #{limit}
        before_worker_boot { |number| limit_processes if number == 2 }
      RUBY

      expect_line(/worker 2 \(pid \d+\): cannot start .* It is started again in 0.1 s/)
      expect(answering).to eq([workers[1]])
    end
  end

  describe "because Ruby does not answer" do
    stuck = <<~'CONFIG'
      require "fiddle"
      sleep_in_c = Fiddle::Function.new(Fiddle::Handle::DEFAULT["sleep"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
      run ->(env) { sleep_in_c.call(1000) if env["PATH_INFO"] == "/stuck"; [200, {}, [Process.pid.to_s]] }
    CONFIG

    it "is killed and replaced, after its native threads were logged" do
      start_cluster(stuck, "--worker-timeout", 2)
      before = workers.values
      http.send_request("GET", "/stuck")

      expect_line(/\[worker \d\] .* native threads:/)
      line = app.wait_for_line(/worker \d \(pid \d+\) is killed: Ruby has not answered in it for 2 s \(worker_timeout\)/)
      # Until it has ended, its core accepts connections.
      expect_gone([line[/pid (\d+)/, 1].to_i])
      expect_eventually("two workers") { (workers.values - before).size == 1 && answering.size == 2 }
    end

    it "is killed and replaced if it is suspended" do
      start_cluster(Clusters::PIDS, "--worker-timeout", 2)
      before = workers
      Process.kill("STOP", before[1])

      expect_line(/worker 1 \(pid #{before[1]}\) is killed: Ruby has not answered/)
      expect_gone([before[1]])
      expect_eventually("another worker 1") { (now = workers)[1] && now[1] != before[1] && answering.size == 2 }
    end

    it "is not killed because the supervisor was suspended" do
      start_cluster(Clusters::PIDS, "--worker-timeout", 2)
      before = workers
      Process.kill("STOP", app.pid)
      # There is no event for the passing of time.
      sleep 3
      Process.kill("CONT", app.pid)
      app.signal("TTIN")

      expect_eventually("a third worker") { workers.size == 3 }
      expect(workers.slice(1, 2)).to eq(before)
    end
  end

  # As on systems where no process adopts the orphans of its descendants: the leader stays the parent of its workers.
  describe "on a system other than Linux" do
    def start_there
      start_cluster(env: { "RUBYOPT" => "-r./other.rb" }, files: { "other.rb" => <<~'RUBY', "config.ru" => Clusters::PIDS })
        require "push_server"
        PushServer.const_get(:NativeProcess).define_singleton_method(:become_subreaper) { false }
      RUBY
    end

    it "is replaced by its leader if it is a worker, and the log says how it ended" do
      start_there
      pid = answering.first
      Process.kill("KILL", pid)

      expect_line(/worker \d \(pid #{pid}\): it ended by the signal KILL. It is started again at once/)
      expect_eventually("two workers") { answering.size == 2 && !answering.include?(pid) }
      expect(app.stop).to be_success
    end

    it "leaves no leader and no worker behind at a restart, nor at the end" do
      start_there
      before = [*answering, *tree.children.map(&:pid)]
      app.signal("USR1")
      app.wait_for_line(/the phased restart is done/)
      expect_gone(before - [tree.hub.pid])
      after = answering
      expect(app.stop).to be_success

      expect_gone(after)
    end
  end
end
