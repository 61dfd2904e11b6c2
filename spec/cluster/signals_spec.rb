# frozen_string_literal: true

require "spec_helper"

RSpec.describe "Signals to a server with workers", transport: :tcp do
  # A request for /wait is answered when the file "go" is there. The first output says that it has begun.
  slow = <<~'CONFIG'
    run(lambda do |env|
      if env["PATH_INFO"] == "/wait"
        $stdout.syswrite("begun in #{Process.pid}\n")
        sleep 0.01 until File.exist?("go")
      end
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  # Sends a request that is answered when {#finish} was called. Returns the client and the pid of the worker.
  def begin_request
    client = http
    client.send_request("GET", "/wait")
    [client, app.wait_for_line(/begun in \d+/)[/\d+/].to_i]
  end

  def finish = File.write(File.join(app.dir, "go"), "")

  describe "to the supervisor" do
    %w[TERM INT QUIT].each do |signal|
      it "#{signal} finishes what is open, refuses what is new, and ends all processes with status 0" do
        start_cluster(slow)
        pids = all_pids
        client, = begin_request
        app.signal(signal)
        app.wait_for_line(/Stopping: up to 25 s/)
        expect_eventually("no listener") { !accepting_connections? }
        finish

        expect(client.read_response.status).to eq(200)
        expect(app.wait).to be_success
        expect_gone(pids)
      end

      it "a second #{signal} ends all processes at once, with status 1" do
        start_cluster(slow)
        pids = all_pids
        begin_request
        app.signal(signal)
        app.wait_for_line(/Stopping: up to 25 s/)
        app.signal(signal)

        expect(app.wait.exitstatus).to eq(1)
        expect(app.lines.last).to eq("* Stopped at once\n")
        expect_gone(pids)
      end
    end

    it "TERM cuts what is open after drain_timeout" do
      start_cluster(slow, "--drain-timeout", 0.2)
      begin_request
      app.signal("TERM")

      expect_line(/\[worker \d\] gave up after 0.2 s/)
      expect(app.wait).to be_success
    end

    it "TERM ends a server whose app is still loading" do
      launch_app("$stdout.syswrite(\"loading\\n\")\nsleep", "-w", 2)
      app.wait_for_line(/loading/)
      pids = all_pids
      app.signal("TERM")

      expect(app.wait).to be_success
      expect_gone(pids)
    end

    it "TERM ends a server whose workers are booting" do
      launch_app(Clusters::PIDS, "-w", 2, files: { "config/push_server.rb" => <<~'RUBY' })
        before_worker_boot { $stdout.syswrite("booting\n"); sleep }
      RUBY
      app.wait_for_line(/booting/)
      app.signal("TERM")

      expect(app.wait).to be_success
    end

    it "TTIN adds a worker and TTOU takes one away, down to one" do
      start_cluster
      app.signal("TTIN")
      expect_eventually("three workers") { workers.keys.sort == [1, 2, 3] && answering(20).size == 3 }
      app.signal("TTOU")
      app.wait_for_line(/2 workers instead of 3/)
      app.signal("TTOU")
      app.wait_for_line(/1 worker instead of 2/)
      expect_eventually("one worker") { workers.keys == [1] }
      app.signal("TTOU")

      expect_line(/there is one worker left/)
      expect(answering).to eq(workers.values)
    end

    it "are all heard, if the action of one of them fails" do
      start_cluster(files: { "config/push_server.rb" => "PushServer::Supervisor.prepend(Module.new { def reload = raise('broken') })\n" })
      # Both signals arrive at the same time.
      app.signal("STOP")
      %w[HUP TERM].each { |signal| app.signal(signal) }
      app.signal("CONT")
      expect(app.wait).to be_success
      expect(app.output).to include("going on after an error", "broken")
    end

    it "HUP opens the log files of all workers anew" do
      start_cluster(Clusters::PIDS, "--access-log", "common", "--access-log-file", "access.log")
      file = File.join(app.dir, "access.log")
      answering
      File.rename(file, "#{file}.1")
      app.signal("HUP")

      expect_eventually("a new file") { File.exist?(file) }
      expect_eventually("no worker that has the old file open") do
        workers.values.none? { |pid| ProcessCost.descriptors(pid).value?("#{file}.1") }
      end
      before = File.size("#{file}.1")
      served = answering(20).size
      expect(served).to eq(2)
      expect_eventually("20 lines") { File.readlines(file).size == 20 }
      expect(File.size("#{file}.1")).to eq(before)
    end

    it "PWR logs the backtraces of all threads of all workers, with the app's lines" do
      start_cluster(slow)
      begin_request
      app.signal("PWR")

      expect_line(/config.ru:4/)
      [1, 2].each { |number| expect_line(/\[worker #{number}\] backtraces of \d+ threads/) }
    end
  end

  describe "to a worker" do
    it "TERM drains it, and another one takes its place at once" do
      start_cluster(slow)
      client, pid = begin_request
      other = (workers.values - [pid]).first
      Process.kill("TERM", pid)
      expect_eventually("another worker") { workers.size == 2 && tree.workers.size == 3 && answering.size == 2 }
      finish

      expect(client.read_response.body.to_i).to eq(pid)
      expect_gone([pid])
      expect(workers.values).to include(other)
    end
  end

  ignored = %w[INT HUP QUIT USR1 USR2 TTIN TTOU PWR]
  { worker: ignored, hub: ignored + ["TERM"], leader: ignored + ["TERM"] }.each do |role, signals|
    it "to the #{role} alone have no effect: #{signals.join(", ")}" do
      start_cluster
      before = tree.children
      victim = tree.all(role).first.pid
      signals.each { |signal| Process.kill(signal, victim) }

      expect(answering).to eq(workers.values.sort)
      expect(tree.children).to match_array(before)
    end
  end

  describe "to all of its processes" do
    # As a terminal and systemd do it, or a script.
    { "their group" => ->(app, _, signal) { Process.kill(signal, -app.pid) },
      "each, the supervisor first" => ->(_, pids, signal) { pids.each { |pid| Process.kill(signal, pid) } },
      "each, the supervisor last" => ->(_, pids, signal) { pids.reverse_each { |pid| Process.kill(signal, pid) } } }.each do |how, kill|
      %w[TERM INT QUIT].each do |signal|
        it "#{signal} stops the server once: #{how}" do
          start_cluster(slow)
          pids = all_pids
          client, = begin_request
          kill.call(app, pids, signal)
          app.wait_for_line(/Stopping: up to 25 s/)
          finish

          expect(client.read_response.status).to eq(200)
          expect(app.wait).to be_success
          expect(app.output).not_to match(/error|warn/)
          expect_gone(pids)
        end
      end

      it "TERM tells WebSockets that the server stops, and not that it restarts: #{how}" do
        start_cluster("run ->(env) { env['rack.upgrade'] = Object.new; [200, {}, []] }")
        sockets = Array.new(4) { websocket("/") }
        kill.call(app, all_pids, "TERM")

        expect(sockets.map { |socket| socket.read_close.first }).to all(eq(1001))
        expect(app.wait).to be_success
      end

      it "USR1 restarts the workers once: #{how}" do
        start_cluster
        before = workers.values
        kill.call(app, all_pids, "USR1")

        app.wait_for_line(/the phased restart is done: generation 2/)
        expect_new_workers([1, 2], before: before)
        expect(app.output).not_to match(/error|warn/)
      end

      it "USR2 restarts the server once, in the same process: #{how}" do
        start_cluster
        before = workers.values
        kill.call(app, all_pids, "USR2")

        app.wait_for_line(/the phased restart is done: generation 2/, seconds: 60)
        expect_new_workers([1, 2], before: before)
        expect(app.lines.grep(/Executed push_server/).size).to eq(1)
        expect(app.output).not_to match(/error|warn/)
      end

      it "USR1, then TERM, without preload: #{how}" do
        start_cluster(Clusters::PIDS, "--no-preload")
        before = workers.values
        kill.call(app, all_pids, "USR1")
        app.wait_for_line(/the phased restart is done: generation 2/, seconds: 60)
        expect_new_workers([1, 2], before: before)
        pids = all_pids
        kill.call(app, pids, "TERM")

        expect(app.wait).to be_success
        expect(app.output).not_to match(/error|warn/)
        expect_gone(pids)
      end

      it "HUP, PWR, TTIN and TTOU end none of them: #{how}" do
        start_cluster
        before = workers
        %w[HUP PWR TTIN].each { |signal| kill.call(app, all_pids, signal) }
        expect_eventually("three workers") { workers.size == 3 }
        app.wait_for_line(/\[worker 2\] backtraces/)
        kill.call(app, all_pids, "TTOU")

        expect_eventually("two workers") { workers == before && answering.size == 2 }
        expect(app.output).not_to match(/error|warn/)
      end
    end
  end
end
