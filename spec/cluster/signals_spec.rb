# frozen_string_literal: true

require "spec_helper"

# The table of docs/signals.md, with and without preload. A signal that ends no server is sent to one server, in turn with the others.
# spec/cluster/commands_spec.rb has the commands, spec/cluster/single_signals_spec.rb the server without workers.
RSpec.describe "Signals to a server with workers", transport: :tcp do
  # A request for /wait is answered when the file that its query names is there. An output says that it has begun.
  source = <<~'CONFIG'
    Echo = Class.new do
      def on_open(client) = client.write("in #{Process.pid}")
      def on_message(client, data) = client.write(data)
    end

    def in_the_app(file)
      $stdout.syswrite("begun #{file} in #{Process.pid}\n")
      sleep 0.01 until File.exist?(file)
    end

    run(lambda do |env|
      env["rack.upgrade"] = Echo.new if env["rack.upgrade?"]
      in_the_app(env["QUERY_STRING"]) if env["PATH_INFO"] == "/wait"
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  modes = { "with preload" => [], "without preload" => %w[--no-preload] }

  # A client with a request that is answered after {#finish}.
  def waiting_client
    @file = Serving.next_name
    http.tap do |client|
      client.send_request("GET", "/wait?#{@file}")
      @asked = app.wait_for_line(/begun #{@file} in \d+/)[/\d+$/].to_i
    end
  end

  def finish = File.write(File.join(app.dir, @file), "")

  # Sends the signal. From then on, {#news} are the lines after it.
  def send_signal(signal, target)
    @before = app.lines.size
    Clusters::TARGETS.fetch(target).call(all_pids, signal)
  end

  def news = app.lines.drop(@before)

  def expect_news(pattern) = expect_eventually("the line #{pattern.inspect}", seconds: 30) { news.grep(pattern).any? }

  # On a busy machine, it may take a moment until the hub that USR2 has started is there.
  def expect_no_complaint = expect(news.grep(/error|warn/).grep_v(/the hub is gone|connected to the hub again/)).to eq([])

  # A WebSocket and an event stream.
  def open_streams = [websocket.tap(&:read_message), sse.tap(&:read_event)]

  # Whether no client has noticed anything.
  def expect_undisturbed(socket, stream)
    socket.text("still here")
    expect(socket.read_message).to eq("still here")
    expect(stream.connection.anything?).to be(false)
  end

  # The server closes the WebSocket, and does not wait for its client.
  def expect_close(socket, code)
    expect(socket.read_close.first).to eq(code)
    socket.send_close(code)
    socket.close
  end

  # Each worker is replaced, and none of them twice.
  def expect_restart(signal, target)
    before = workers.values
    client = waiting_client
    socket, stream = open_streams
    send_signal(signal, target)
    expect_eventually("a new worker that serves", seconds: 30) { !before.include?(fetch.to_i) }
    finish
    expect(client.read_response.body.to_i).to eq(@asked)
    client.close # An idle connection would be kept for a while.
    expect_close(socket, 1012)
    expect(stream.read_to_end).to match(/^retry: ?\d+/)
    expect_news(/the phased restart is done/)
    expect_new_workers([1, 2], before: before)
    expect(news.grep(/phased restart: the app is loaded anew/).size).to eq(1)
  end

  modes.each do |mode, switches|
    describe "#{mode}, that do not stop it:" do
      serve(source, "-w", 2, *switches, "--access-log", "common", "--access-log-file", "access.log")

      before(:context) { @app.wait_for_line(/All 2 workers serve/) }

      Clusters::TARGETS.each_key do |target|
        it "HUP to #{target} opens the log files of all workers anew" do
          streams = open_streams
          file = File.join(app.dir, "access.log")
          fetch
          File.rename(file, "#{file}.#{Serving.next_name}")
          send_signal("HUP", target)

          expect_eventually("the new file to be open in all workers") do
            workers.values.all? { |pid| ProcessCost.descriptors(pid).value?(File.realpath(file)) if File.exist?(file) }
          end
          expect_undisturbed(*streams)
          expect_no_complaint
        end

        it "PWR to #{target} logs the backtraces of all threads of all workers, with the app's lines" do
          streams = open_streams
          client = waiting_client
          send_signal("PWR", target)

          [1, 2].each { |number| expect_news(/\[worker #{number}\] backtraces of \d+ threads/) }
          expect_news(/^ *\* config.ru:[78]:in .*in_the_app/)
          finish
          expect(client.read_response.status).to eq(200)
          expect_undisturbed(*streams)
          expect(news.grep(/backtraces of/).size).to eq(2)
        end

        it "TTIN to #{target} starts one more worker, and TTOU drains it" do
          before = workers
          streams = open_streams
          send_signal("TTIN", target)
          expect_eventually("a third worker that serves", seconds: 30) { (now = workers).keys.sort == [1, 2, 3] && answering.include?(now[3]) }
          send_signal("TTOU", target)

          expect_eventually("two workers", seconds: 30) { workers == before && tree.workers.size == 2 }
          expect_undisturbed(*streams)
          expect_no_complaint
        end

        it "USR1 to #{target} replaces each worker once" do
          expect_restart("USR1", target)
          expect_no_complaint
        end

        it "USR2 to #{target} replaces the supervisor's program and each worker once" do
          hub = tree.hub.pid
          expect_restart("USR2", target)
          expect(news.grep(/Executed push_server/).size).to eq(1)
          expect_eventually("a new hub alone") { tree.all(:hub).map(&:pid).then { |hubs| hubs.size == 1 && hubs != [hub] } }
          expect_no_complaint
        end
      end

      it "TERM to a worker drains it, and another one takes its place at once" do
        client = waiting_client
        other = (workers.values - [@asked]).first
        Process.kill("TERM", @asked)
        expect_eventually("another worker", seconds: 30) { workers.size == 2 && tree.workers.size == 3 && answering.size == 2 }
        finish

        expect(client.read_response.body.to_i).to eq(@asked)
        expect_gone([@asked])
        expect(workers.values).to include(other)
      end

      ignored = %w[INT HUP QUIT USR1 USR2 TTIN TTOU PWR]
      { worker: ignored, hub: ignored + ["TERM"], leader: ignored + ["TERM"] }.each do |role, signals|
        next if role == :leader && switches.any?

        it "to the #{role} alone have no effect: #{signals.join(", ")}" do
          before = tree.children
          streams = open_streams
          signals.each { |signal| Process.kill(signal, tree.all(role).first.pid) }

          expect(answering).to eq(workers.values.sort)
          expect_undisturbed(*streams)
          expect(tree.children).to match_array(before)
        end
      end
    end

    describe "#{mode}, that stop it:" do
      %w[TERM INT QUIT].each do |signal|
        Clusters::TARGETS.each_key do |target|
          it "#{signal} to #{target} finishes what is open, refuses what is new, and ends all processes with status 0" do
            start_cluster(source, *switches)
            pids = all_pids
            client = waiting_client
            socket, stream = open_streams
            send_signal(signal, target)
            expect_close(socket, 1001)
            stream.read_to_end
            expect_eventually("no listener") { !accepting_connections? }
            finish

            expect(client.read_response.body.to_i).to eq(@asked)
            client.close
            expect(app.wait).to be_success
            expect(news.grep(/Stopping: up to 25 s/).size).to eq(1)
            expect_no_complaint
            expect_gone(pids)
          end
        end
      end

      # Ctrl-C twice sends INT to the group twice.
      { "TERM" => "the supervisor", "INT" => "the process group", "QUIT" => "each process, the supervisor last" }.each do |signal, target|
        it "#{signal} to #{target}, twice, ends all processes at once, with status 1" do
          start_cluster(source, *switches)
          pids = all_pids
          waiting_client
          send_signal(signal, target)
          expect_news(/Stopping: up to 25 s/)
          send_signal(signal, target)

          expect(app.wait.exitstatus).to eq(1)
          expect(app.lines.last).to eq("* Stopped at once\n")
          expect_gone(pids)
        end
      end

      it "TERM cuts what is open after drain_timeout" do
        start_cluster(source, *switches, "--drain-timeout", 0.2)
        waiting_client
        app.signal("TERM")

        expect_line(/\[worker \d\] the drain took longer than 0.2 s/)
        expect(app.wait).to be_success
      end

      it "TERM ends it while the app is still loading" do
        launch_app("$stdout.syswrite(\"loading\\n\")\nsleep", "-w", 2, *switches)
        app.wait_for_line(/loading/)
        pids = all_pids
        app.signal("TERM")

        expect(app.wait).to be_success
        expect_gone(pids)
      end

      it "TERM ends it while workers are booting" do
        launch_app(Clusters::PIDS, "-w", 2, *switches, files: { "config/push_server.rb" => <<~'RUBY' })
          before_worker_boot { $stdout.syswrite("booting\n"); sleep }
        RUBY
        app.wait_for_line(/booting/)
        app.signal("TERM")

        expect(app.wait).to be_success
      end
    end
  end

  it "TTOU leaves one worker, and the log says so" do
    start_cluster
    app.signal("TTOU")
    app.wait_for_line(/1 worker instead of 2/)
    expect_eventually("one worker") { workers.keys == [1] }
    app.signal("TTOU")

    expect_line(/there is one worker left/)
    expect(answering).to eq(workers.values)
  end

  it "are all handled, even if the action of one of them fails" do
    start_cluster(files: { "config/push_server.rb" => "PushServer::Supervisor.prepend(Module.new { def reload = raise('broken') })\n" })
    # Both signals arrive at the same time.
    app.signal("STOP")
    %w[HUP TERM].each { |signal| app.signal(signal) }
    app.signal("CONT")
    expect(app.wait).to be_success
    expect(app.output).to include("going on after an error", "broken")
  end
end
