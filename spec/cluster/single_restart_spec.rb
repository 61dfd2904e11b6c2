# frozen_string_literal: true

require "spec_helper"
require "tmpdir"
require "push_server/process/pidfile"

# A server in a single process that restarts: USR2, or `push_server restart`, which spec/cluster/commands_spec.rb is about.
RSpec.describe "A restart of a server in a single process" do
  # Each load of the app has another version. A request for /wait is held until the spec says `$go << 1`.
  versioned = lambda do |version|
    <<~RUBY
      require "spec_app"
      $go = Thread::Queue.new
      SpecApp.report(:loaded, version: #{version.inspect}, role: ENV["PUSH_SERVER_ROLE"])
      run(lambda do |env|
        if env["rack.upgrade?"]
          env["rack.upgrade"] = SpecApp::Recorder.new
          next [200, {}, []]
        end
        if env["PATH_INFO"] == "/wait"
          SpecApp.report(:waiting)
          $go.pop
        end
        [200, { "content-type" => "text/plain" }, [#{version.inspect}]]
      end)
    RUBY
  end

  define_method(:app_of) { |version| versioned.call(version) }

  def change(version, source = app_of(version)) = File.write(File.join(app.dir, "config.ru"), source)

  # The answer to a request on a connection of its own.
  def answer(target = "/")
    client = HttpClient.new(app.address)
    client.get(target, { "connection" => "close" }).body
  ensure
    client&.close
  end

  def restart(version, signal: "USR2")
    change(version)
    app.signal(signal)
    expect_eventually("version #{version} to answer", seconds: 60) { answer == version }
  end

  # Clients that ask all the time, each request on a new connection, until the block has ended.
  # @return [Array] what was answered, and what was raised
  def asking_meanwhile(count = 4)
    done = false
    answers = Thread::Queue.new
    askers = Array.new(count) do
      Thread.new do
        answers << begin
          answer
        rescue StandardError => e
          e
        end until done
      end
    end
    yield
    done = true
    askers.each(&:join)
    Array.new(answers.size) { answers.pop }
  ensure
    done = true
    askers&.each(&:kill)
  end

  %i[tcp unix].each do |transport|
    context "over #{transport}", transport: transport do
      it "serves new code in the same process, at the same place, and refuses no connection" do
        start_app(app_of("one"))
        place = app.url
        answers = asking_meanwhile { restart("two") }
        expect(answers.grep(Exception)).to eq([])
        expect(answers.uniq).to match_array(%w[one two]).or eq(["two"])
        # Nobody hears from the old version after somebody has heard from the new one.
        expect(answers.slice_when { |one, other| one != other }.count).to be <= 2 + 4
        expect(app.lines.grep(/Listening on/).map { |line| line[AppProcess::LISTENING, :url] }).to eq([place, place])
        expect(app.stop.exitstatus).to eq(0)
      end
    end
  end

  it "can be done again and again, and keeps nothing open" do
    start_app(app_of("0"))
    restart("1")
    http.get("/")
    close_clients
    # The last connection is closed a moment later.
    first = eventually { app.descriptors.size if app.descriptors.values.grep(/socket/).size <= 2 }
    3.times do |round|
      restart((round + 2).to_s)
      expect_eventually("no more descriptors than after the first restart") { app.descriptors.size <= first }
    end
    expect(app.stop.exitstatus).to eq(0)
  end

  it "tells clients that they may come back: 1012 for WebSockets, the delay for event streams" do
    start_app(app_of("one"))
    socket = opened(websocket)
    stream = opened(sse)
    change("two")
    app.signal("USR2")
    expect(socket.read_close.first).to eq(1012)
    expect_event(:shutdown, socket)
    expect(event(:close, socket)).to include(code: 1012)
    expect(stream.connection.read_to_end).to match(/^retry: ?\d+/)
    expect_eventually("the new version to answer", seconds: 60) { answer == "two" }
    expect(opened(websocket).response.status).to eq(101)
  end

  it "finishes what is open, and lets new connections wait meanwhile" do
    start_app(app_of("one"))
    slow = http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    stream = opened(websocket)
    change("two")
    app.signal("USR2")
    # Now the old version accepts no more, but for what was in the backlog.
    stream.read_close(seconds: 60)
    late = Array.new(5) { http.send_request("GET", "/") }
    app.ask("$go << 1; nil")
    expect(slow.read_response.body).to eq("one")
    bodies = late.map { |client| client.read_response.body }
    expect(bodies).to end_with("two").and all(eq("one").or(eq("two")))
  end

  it "cuts what takes longer than the drain timeout" do
    start_app(app_of("one"), "--drain-timeout", "0.2")
    slow = http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    restart("two")
    expect(slow.connection.ending).not_to be_nil
  end

  it "works with rackup, too" do
    start_app(app_of("one"), "-s", "push_server", via: :rackup)
    restart("two")
    expect(app.stop.exitstatus).to eq(0)
  end

  it "follows a symlink in the app's folder anew" do
    Dir.mktmpdir do |dir|
      %w[one two].each do |release|
        Dir.mkdir("#{dir}/#{release}")
        File.write("#{dir}/#{release}/config.ru", app_of(release))
      end
      File.symlink("one", "#{dir}/current")
      start_app("config.ru", dir: "#{dir}/current", env: { "PWD" => "#{dir}/current" })
      expect(answer).to eq("one")
      File.unlink("#{dir}/current")
      File.symlink("two", "#{dir}/current")
      app.signal("USR2")
      expect_eventually("the other release to answer", seconds: 60) { answer == "two" }
      app.stop
    end
  end

  describe "that cannot succeed changes nothing, and one line says why:" do
    def expect_refusal(reason)
      before = app.lines.size
      app.signal("USR2")
      line = app.wait_for_line(/not restarted/, seconds: 60)
      expect(line).to match(/\A\[push_server\] error: not restarted: #{reason}.* Nothing has changed$/)
      # The app under test may print lines of its own while it is loaded.
      expect(app.lines.drop(before).grep(/\[push_server\]/).size).to eq(2)
      expect(answer).to eq("one")
    end

    it "an app that raises when it is loaded" do
      start_app(app_of("one"))
      stream = opened(websocket)
      change("two", "raise 'no database'")
      expect_refusal("the new version cannot serve: config.ru:1: no database \\(RuntimeError\\)\\.")
      # The connections are still there.
      stream.ping("still here")
      expect(stream.read_frame.payload).to eq("still here")
      restart("three")
    end

    it "an app with a syntax error" do
      start_app(app_of("one"))
      change("two", "run(")
      expect_refusal("the new version cannot serve: config.ru:1: syntax error")
    end

    it "an app that ends the process while it is loaded" do
      start_app(app_of("one"))
      change("two", "exit! 7")
      expect_refusal("the new version cannot serve: the process ended with status 7 before it could serve\\.")
      change("two", "Process.kill(:KILL, Process.pid); sleep")
      app.signal("USR2")
      expect(app.wait_for_line(/by the signal KILL/, seconds: 60)).to include("Nothing has changed")
    end

    it "an app that does not end to load" do
      start_app(app_of("one"), "--worker-boot-timeout", "1")
      change("two", "sleep")
      expect_refusal("the new version cannot serve: it has not loaded within 1 s\\.")
    end

    it "an app that is no longer there" do
      start_app(app_of("one"))
      File.unlink("#{app.dir}/config.ru")
      expect_refusal("the new version cannot serve: there is no config.ru")
    end

    describe "in a configuration file" do
      before do
        @taken = TCPServer.new("127.0.0.1", 0)
        @dir = Dir.mktmpdir
        FileUtils.mkdir_p("#{@dir}/config")
        configure("tcp://127.0.0.1:0")
        File.write("#{@dir}/config.ru", app_of("one"))
        start_app("config.ru", dir: @dir)
      end

      after do
        @taken.close
        kill_apps
        FileUtils.rm_rf(@dir)
      end

      # The command line's --bind of the helpers goes before, so the file is about something else.
      def configure(*binds, word: nil)
        File.write("#{@dir}/config/push_server.rb", [*binds.map { |url| "bind #{url.inspect}" }, word].compact.join("\n"))
      end

      it "a word that does not exist" do
        configure(word: "treads 3")
        expect_refusal(%r{the new version cannot serve: config/push_server\.rb:1: .*treads.*threads})
      end

      it "what Ruby cannot read" do
        configure(word: "threads (")
        expect_refusal(%r{the new version cannot serve: config/push_server\.rb:\d: .*syntax error})
      end
    end
  end

  # A program that reads where to listen from a file, since the command line cannot change.
  describe "with other endpoints" do
    program = <<~RUBY
      require "push_server"
      require "spec_app"
      PushServer.run(->(_env) { [200, {}, ["one"]] }, bind: File.read("binds").split, environment: "test")
    RUBY

    before do
      @places = Array.new(2) { TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port } }
      start_app(program, via: :ruby, files: { "binds" => "tcp://127.0.0.1:#{@places.first}" })
    end

    def listen_on(*ports) = File.write("#{app.dir}/binds", ports.map { |port| "tcp://127.0.0.1:#{port}" }.join(" "))

    # A connection in the backlog of a socket that is closed is reset.
    def answers?(port)
      client = HttpClient.new(Addrinfo.tcp("127.0.0.1", port))
      client.get("/", { "connection" => "close" }).body == "one"
    rescue Errno::ECONNREFUSED, RawConnection::Ended
      false
    ensure
      client&.close
    end

    it "opens new ones and closes those that are gone" do
      listen_on(*@places)
      app.signal("USR2")
      expect_eventually("the second port to answer", seconds: 60) { answers?(@places.last) }
      expect(answers?(@places.first)).to be(true)
      listen_on(@places.last)
      app.signal("USR2")
      expect_eventually("the first port to refuse", seconds: 60) { !answers?(@places.first) }
      expect(answers?(@places.last)).to be(true)
      expect(app.wait_for_line(%r{no longer listening on http://127\.0\.0\.1:#{@places.first}$})).to be_truthy
    end

    it "changes nothing if a port is taken, and keeps none of the others" do
      free = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }
      taken = TCPServer.new("127.0.0.1", @places.last)
      listen_on(@places.first, free, @places.last)
      app.signal("USR2")
      expect(app.wait_for_line(/not restarted/, seconds: 60))
        .to include("cannot listen on tcp://127.0.0.1:#{@places.last}: the port is in use", "Nothing has changed")
      expect([@places.first, free].map { |port| answers?(port) }).to eq([true, false])
    ensure
      taken&.close
    end
  end

  it "changes nothing for what the new version could not have, and says what it is" do
    start_app(app_of("one"), via: :configured, env: { "PORT" => "0" }, files: { "config/push_server.rb" => "control_socket 'control.sock'\n" })
    other = UNIXServer.new(File.join(app.dir, "other.sock"))
    File.write(File.join(app.dir, "other.pid"), Process.pid.to_s)
    files = Dir.children(app.dir).sort
    RestartMistakes::ALL.each do |words, line|
      File.write(File.join(app.dir, "config/push_server.rb"), "#{words}\n")
      app.signal("USR2")
      expect_line(/not restarted: .*#{line.source}.*Nothing has changed/)
      expect(answer).to eq("one")
    end
    expect(Dir.children(app.dir).sort).to eq(files)
    expect(app.lines.grep(/not restarted/).size).to eq(RestartMistakes::ALL.size)

    File.write(File.join(app.dir, "config/push_server.rb"), "control_socket 'control.sock'\n")
    restart("two")
    expect(app.stop.exitstatus).to eq(0)
  ensure
    other&.close
  end

  describe "and signals" do
    it "is not disturbed by any signal that is no stop, at any moment" do
      start_app(app_of("one"))
      change("two")
      app.signal("USR2")
      nagging = Thread.new do
        %w[HUP USR1 USR2 PWR TTIN TTOU].&(Signal.list.keys).cycle do |signal|
          app.signal(signal)
          sleep 0.003 # so that the server has time for something else
        end
      end
      expect_eventually("the new version to answer", seconds: 60) { answer == "two" }
      nagging.kill.join
      expect_eventually("a restart under way to end", seconds: 60) { answer == "two" }
      expect(app.stop.exitstatus).to eq(0)
    end

    it "survives USR2 to the whole process group, and refuses a second one until the first is done" do
      start_app(app_of("one"))
      change("two", "require 'spec_app'\nSpecApp.report(:loading)\nsleep 0.01 until File.exist?('load')\n#{app_of("two")}")
      Process.kill("USR2", -app.pid)
      app.events.take(event: "loading")
      Process.kill("USR2", -app.pid)
      expect_line(/not restarted: a restart is under way already/)
      File.write(File.join(app.dir, "load"), "")
      expect_eventually("the new version to answer", seconds: 60) { answer == "two" }
      expect(app.stop.exitstatus).to eq(0)
    end

    it "and other signals to the whole process group, with a child of the app, do what they do to the server alone" do
      start_app(<<~RUBY)
        require "spec_app"
        child = fork { %w[TERM HUP USR1 USR2 PWR].each { |name| trap(name) { nil } if Signal.list.key?(name) }; sleep }
        SpecApp.report(:forked, pid: child)
        at_exit { Process.kill(:KILL, child) }
        run ->(_env) { [200, {}, ["one"]] }
      RUBY
      app.events.take(event: "forked")
      %w[HUP PWR USR1 TTIN TTOU].&(Signal.list.keys).each { |signal| Process.kill(signal, -app.pid) }
      expect_line(/backtraces of \d+ threads/)
      expect_line(/the signal TTOU has no meaning here/)
      expect(answer).to eq("one")
      Process.kill("TERM", -app.pid)
      expect(app.wait.exitstatus).to eq(0)
    end

    it "survives USR2 to the whole process group at any moment" do
      start_app(app_of("0"))
      3.times do |round|
        change((round + 1).to_s)
        2.times { Process.kill("USR2", -app.pid) }
        expect_eventually("the new version to answer", seconds: 60) { answer == (round + 1).to_s }
      end
    end

    it "is given up for a stop that comes while the new version is loaded, and leaves no process behind" do
      start_app(app_of("one"))
      change("two", "require 'spec_app'\nSpecApp.report(:loading, pid: Process.pid)\nsleep")
      app.signal("USR2")
      child = app.events.take(event: "loading").fetch(:pid)
      app.signal("TERM")
      expect(app.wait.exitstatus).to eq(0)
      expect(app.lines.last.chomp).to eq("* Stopped")
      expect_eventually("the child to end") { !PushServer::Pidfile.alive?(child) }
    end

    it "becomes a stop when a stop comes while it drains" do
      start_app(app_of("one"))
      slow = http.send_request("GET", "/wait")
      app.events.take(event: "waiting")
      app.signal("USR2")
      app.wait_for_line(/\* Restarting/)
      app.signal("TERM")
      app.wait_for_line(/\* Stopping/)
      eventually("new connections to be refused") { !accepting_connections? }
      app.ask("$go << 1; nil")
      expect(slow.read_response.body).to eq("one")
      expect(app.wait.exitstatus).to eq(0)
      expect(app.lines.grep(/Listening/).size).to eq(1)
    end

    it "ends at once on a second stop" do
      start_app(app_of("one"))
      http.send_request("GET", "/wait")
      app.events.take(event: "waiting")
      app.signal("USR2")
      app.wait_for_line(/\* Restarting/)
      app.signal("TERM")
      app.wait_for_line(/\* Stopping/)
      app.signal("INT")
      expect(app.wait.exitstatus).to eq(1)
    end

    it "leaves USR2 to an app that has taken it" do
      start_app("require 'spec_app'\ntrap('USR2') { SpecApp.report(:heard) }\n#{app_of("one")}")
      app.signal("USR2")
      app.events.take(event: "heard")
      expect(answer).to eq("one")
      expect(app.output).not_to include("restart")
    end
  end

  it "is given up when the system does not execute the command, and the old version serves on" do
    parent = Dir.mktmpdir
    Dir.mkdir("#{parent}/app")
    File.write("#{parent}/app/config.ru", app_of("one"))
    start_app("config.ru", dir: "#{parent}/app")
    # The sockets that a program inherits which the app starts.
    inherited = -> { app.ask("IO.popen(%w[ls -l /proc/self/fd], &:read).scan('socket:').size") }
    before = inherited.call
    slow = http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    app.signal("USR2")
    app.wait_for_line(/\* Restarting/, seconds: 60)
    # Since the check, somebody has moved the folder away.
    File.rename("#{parent}/app", "#{parent}/moved")
    late = http.send_request("GET", "/")
    app.ask("$go << 1; nil")
    expect(slow.read_response.body).to eq("one")
    expect(app.wait_for_line(/not restarted: cannot execute/)).to include("Serving on with the old version")
    expect(late.read_response.body).to eq("one")
    expect(inherited.call).to eq(before)
    File.rename("#{parent}/moved", "#{parent}/app")
    File.write("#{parent}/app/config.ru", app_of("two"))
    app.signal("USR2")
    expect_eventually("the new version to answer", seconds: 60) { answer == "two" }
    expect(app.stop.exitstatus).to eq(0)
  ensure
    kill_apps
    FileUtils.rm_rf(parent)
  end
end
