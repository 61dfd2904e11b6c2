# frozen_string_literal: true

require "spec_helper"
require "json"
require "tmpdir"

# PushServer.publish in processes without a server: consoles, jobs, forked children. docs/publishing.md.
RSpec.describe "Publishing from a process without a server" do
  include ChannelClients
  include Command

  # What a request to a path does, besides what ChannelClients::APP does.
  forks = <<~'CONFIG'
    require "push_server"
    require "forked_child"
    PushServer.channel "a", history: 1000
    WAYS = {
      "/fork" => -> { ForkedChild.run { PushServer.publish("a", "with a block").to_s } },
      "/fork-twice" => -> { ForkedChild.run { Array.new(2) { |n| ForkedChild.run { PushServer.publish("a", "child #{n}").to_s } } } },
      "/fork-return" => lambda {
        reader, writer = IO.pipe
        pid = fork
        unless pid
          writer.write(PushServer.publish("a", "without a block").to_s)
          exit!(0)
        end
        writer.close
        Process.wait(pid)
        reader.read
      },
      "/fork-thread" => -> { ForkedChild.run { Array.new(4) { |n| Thread.new { PushServer.publish("a", "t#{n}").to_s } }.map(&:value).uniq.size } },
      "/fork-history" => -> { ForkedChild.run { PushServer.history("a") } },
      "/spawn" => -> { IO.popen([RbConfig.ruby, "-rpush_server", "-e", "puts PushServer.publish('a', 'spawned')"], &:read).chomp }
    }
    use(Class.new do
      def initialize(app) = @app = app
      def call(env)
        way = WAYS[env["PATH_INFO"]] or return @app.call(env)
        [200, { "content-type" => "application/json" }, [JSON.generate(way.call)]]
      end
    end)
  CONFIG
  source = forks + ChannelClients::APP
  development = { "RACK_ENV" => "development" }.freeze

  # A server in a folder with a tmp of its own. In development, since in test it has no socket if no option says so.
  define_method(:start_server) do |*options, app: source, env: {}, **how|
    start_app(app, *modes, *options, env: development.merge(env), files: { "tmp/.keep" => "" }, **how)
  end

  # The options of the mode under test.
  def modes = RSpec.current_example.metadata.fetch(:modes, [])

  # Runs Ruby in the folder of the app.
  def outside(code, **how)
    how = { dir: app&.dir }.merge(how)
    run_command(RbConfig.ruby, "-rpush_server", "-rjson", "-rtimeout", "-e", code, **how)
  end

  def published(code, **how)
    result = outside(code, **how)
    expect(result.err).to eq("")
    expect(result.status).to be_success
    result.out.lines.map(&:chomp)
  end

  # A folder of the app that outlives its servers.
  define_method(:in_folder) do |&block|
    Dir.mktmpdir("push_server-spec") do |folder|
      Dir.mkdir(File.join(folder, "tmp"))
      File.write(File.join(folder, "config.ru"), source)
      block.call(folder)
    end
  end

  # A process without a server that stays, and runs what `ask` says.
  def launch_console(dir)
    server = app
    File.write(File.join(dir, "console.rb"), "require 'spec_app'\nrequire 'push_server'\n$stdout.sync = true\nputs 'ready'\nsleep\n")
    env = { "RACK_ENV" => "development" }
    launch_app("console.rb", via: :ruby, env: env, dir: dir).tap { |console| console.wait_for_line(/ready/) }
  ensure
    @app = server
  end

  # The next messages that a client gets, as id => data.
  def messages(client, count) = Array.new(count) { client.read_event }.to_h { |event| [event.id, event.data] }

  def socket = File.join(app.dir, "tmp/sockets/push_server.publish.sock")

  def complaint(result)
    expect(result.status).not_to be_success
    result.err[/\A.*?: (.*) \(PushServer::EngineUnavailable\)$/, 1]
  end

  { "one process" => [], "two workers" => %w[-w 2] }.each do |name, options|
    context "with a server of #{name}", modes: options do
      it "reaches the clients, and returns the message's place: ruby -e, with exit! right afterwards" do
        start_server
        client = subscribed(SseClient, "a")
        cursors = published(<<~RUBY)
          puts PushServer.publish("a", "1")
          puts PushServer.publish("a", { two: 2 })
          puts PushServer.publish("a", "3" * 1_000_000)
          puts PushServer.cursor
          $stdout.flush
          PushServer.publish("a", "4")
          exit!(0)
        RUBY
        got = messages(client, 4)
        expect(got.values).to eq(["1", '{"two":2}', "3" * 1_000_000, "4"])
        expect(cursors).to eq([*got.keys.first(3), got.keys[2]])
      end

      it "is counted" do
        start_server
        published('3.times { |n| PushServer.publish("a", n) }')

        expect(JSON.parse(push_server("stats", "--json", dir: app.dir).out)["stats"]).to include("published" => 3)
      end

      it "works in a rake task" do
        start_server
        client = subscribed(SseClient, "a")
        rakefile = "require 'push_server'\ntask(:greet) { PushServer.publish('a', 'from rake') }\n"
        result = run_command(RbConfig.ruby, Gem.bin_path("rake", "rake"), "greet", files: { "Rakefile" => rakefile }, dir: app.dir)
        expect(result.status).to be_success, result.err
        expect(client.read_event.data).to eq("from rake")
      end

      it "works in many threads at once: each message arrives once, and in the order of its thread" do
        start_server
        client = subscribed(SseClient, "a")
        published(<<~RUBY)
          threads = Array.new(8) { |n| Thread.new { 50.times { |m| PushServer.publish("a", "\#{n} \#{m}") } } }
          threads.each(&:join)
        RUBY
        got = Array.new(400) { client.read_event.data.split.map(&:to_i) }
        expect(got.group_by(&:first).transform_values { |all| all.map(&:last) }).to eq((0..7).to_h { |n| [n, [*0..49]] })
      end

      it "works in children that the app forks, with and without a block, over connections of their own" do
        start_server
        client = subscribed(SseClient, "a")
        answer = ->(path) { JSON.parse(get(path).body) }
        cursors = [answer["/fork"], answer["/fork-return"], *answer["/fork-twice"], answer["/spawn"]]
        got = messages(client, 5)
        expect(got.values).to eq(["with a block", "without a block", "child 0", "child 1", "spawned"])
        expect(cursors).to eq(got.keys)
        expect(answer["/fork-thread"]).to eq(4)
        expect(answer["/fork-history"]).to match(["PushServer::Error", /only publish, cursor and disconnect work here/])
        expect(get("/").status).to eq(200)
      end

      it "works in a job that forks, before and after the fork, and in a daemon" do
        start_server
        client = subscribed(SseClient, "a")
        published(<<~RUBY)
          PushServer.publish("a", "parent 1")
          Process.wait(fork { PushServer.publish("a", "child"); exit! })
          PushServer.publish("a", "parent 2")
          reader, writer = IO.pipe
          unless fork
            Process.daemon(true)
            PushServer.publish("a", "daemon")
            writer.write("done")
            exit!
          end
          writer.close
          reader.read
          PushServer.publish("a", "parent 3")
        RUBY
        expect(messages(client, 5).values).to eq(["parent 1", "child", "parent 2", "daemon", "parent 3"])
      end

      it "works in children that are forked while other threads publish" do
        start_server
        client = subscribed(SseClient, "a")
        published(<<~RUBY)
          count = 0
          threads = Array.new(4) { |n| Thread.new { 100.times { PushServer.publish("a", "thread") } } }
          children = Array.new(10) { |n| fork { Thread.new { PushServer.publish("a", "child \#{n}") }.join; exit! } }
          children.each { |pid| Process.wait(pid) }
          threads.each(&:join)
        RUBY
        got = Array.new(410) { client.read_event.data }
        expect(got.tally).to eq({ "thread" => 400, **(0..9).to_h { |n| ["child #{n}", 1] } })
      end

      it "goes on with another server after this one was killed, in a process that stays" do
        in_folder do |folder|
          start_app("config.ru", *modes, env: development, dir: folder)
          console = launch_console(folder)
          expect(console.ask("PushServer.publish('a', '1').to_s")).to match(/-1\z/)
          app.kill
          lost = console.ask("begin; PushServer.publish('a', '2'); rescue PushServer::EngineUnavailable => e; e.message; end")
          expect(lost).to match(/(has ended|does not answer|no such file).*: nothing was published/)
          start_app("config.ru", *modes, env: development, dir: folder)
          client = subscribed(SseClient, "a")
          expect(console.ask("PushServer.publish('a', '3').to_s")).to match(/-1\z/)
          expect(client.read_event.data).to eq("3")
          expect(app.stop).to be_success
          console.kill
        end
      end

      it "works while the app is loaded" do
        start_server(app: "#{source}PushServer.publish('a', 'early')\n")
        client = subscriber(SseClient, "a", since: "0-0")
        client.read_event
        expect(JSON.parse(get("/fork").body)).to match(/-2\z/)
        expect(client.read_event.data).to eq("with a block")
      end

      it "raises within the timeout if the server does not answer, and publishes nothing" do
        start_server
        client = subscribed(SseClient, "a")
        pids = modes.empty? ? [app.pid] : [app.tree.hub.pid]
        pids.each { |pid| Process.kill("STOP", pid) }
        result = outside(<<~RUBY)
          begin
            Timeout.timeout(0.3) { PushServer.publish("a", "killed") }
          rescue Timeout::Error
            puts "timeout"
          end
          Thread.new { PushServer.publish("a", "killed") }.tap { |it| Thread.pass until it.stop? }.kill.join(10) && puts("killed")
          trap("USR1") { puts "signal" }
          main = Thread.current
          Thread.new { Thread.pass until main.stop?; Process.kill("USR1", $$) }
          PushServer.publish("a", "x")
        RUBY
        expect(result.out).to eq("timeout\nkilled\nsignal\n")
        expect(complaint(result)).to match(/\Athe server on #{socket} does not answer: nothing was published\z/)
        pids.each { |pid| Process.kill("CONT", pid) }
        published("PushServer.publish('a', 'y')")
        expect(client.read_event.data).to eq("y")
      ensure
        pids&.each { |pid| Process.kill("CONT", pid) }
      end

      it "says why it cannot connect, and what to do" do
        start_server
        expect(complaint(outside("PushServer.publish('a', 'x')", env: { "PUSH_SERVER_HUB" => "/nowhere.sock" }))).to match(
          %r{\Ano server listens on /nowhere.sock \(there is no such file\): nothing was published\. To publish from here, start .+PUSH_SERVER_HUB}
        )
        File.chmod(0, socket)
        nobody = Process.uid.zero? ? "File.chmod(0o711, Dir.pwd); Process::UID.change_privilege(65_534); " : ""
        expect(complaint(outside("#{nobody}PushServer.publish('a', 'x')"))).to match(/\(this user may not connect to it\)/)
      end

      it "finds the server also if the path of its folder is long, and from elsewhere by its folder" do
        Dir.mktmpdir do |folder|
          run = File.join(folder, "run").tap { |path| Dir.mkdir(path, 0o700) }
          long = File.join(folder, "x" * 120)
          FileUtils.mkdir_p(File.join(long, "tmp"))
          File.write(File.join(long, "config.ru"), source)
          env = development.merge("XDG_RUNTIME_DIR" => run)
          start_app("config.ru", *modes, env: env, dir: long)
          client = subscribed(SseClient, "a")
          published("PushServer.publish('a', '1')", dir: long, env: env)
          published("PushServer.publish('a', '2')", dir: folder, env: env.merge("PUSH_SERVER_HUB" => long))
          expect(messages(client, 2).values).to eq(%w[1 2])
          expect(app.output).to match(/info: .*because the path \S+ has more than 100 bytes/)
          app.stop
        end
      end

      it "ends with the server: its socket is removed" do
        start_server
        expect(File.stat(socket).mode & 0o777).to eq(0o600)
        expect(app.stop).to be_success
        expect(File.exist?(socket)).to be(false)
        expect(complaint(outside("PushServer.publish('a', 'x')", dir: Dir.tmpdir))).to match(/nothing was published/)
      end
    end
  end

  it "has the permissions that an option says, or no socket" do
    start_server("--publish-socket-mode", "0666")
    expect(File.stat(socket).mode & 0o777).to eq(0o666)
    app.stop
    start_server("--publish-socket", "off")
    expect(File.exist?(socket)).to be(false)
    expect(JSON.parse(get("/fork").body)).to match(["PushServer::EngineUnavailable", /has no publish socket: see the option publish_socket\z/])
  end

  it "goes to the first of two servers in one folder; the second one says so, and serves" do
    start_server
    first = app
    File.write(File.join(first.dir, "config.ru"), source)
    start_app("config.ru", env: development, dir: first.dir)
    expect(app.wait_for_line(/publish_socket/)).to match(/warn: processes without a server cannot publish to this one: .+ is in use by another process/)
    expect(get("/").status).to eq(200)
    expect(app.stop).to be_success
    @app = first
    client = subscribed(SseClient, "a")
    published("PushServer.publish('a', '1')")
    expect(client.read_event.data).to eq("1")
  end

  it "goes on while the server restarts by USR2: each publish returns, and the numbers rise" do
    start_server("--drain-timeout", "2")
    publisher = Thread.new do
      outside(<<~RUBY)
        at = []
        deadline = Time.now + 60
        until at.last(20).map { |cursor| cursor[/\\A\\h+/] }.uniq != at.first(1).map { |cursor| cursor[/\\A\\h+/] } && at.size > 20
          raise "no restart" if Time.now > deadline
          begin
            at << PushServer.publish("a", "x").to_s
          rescue PushServer::EngineUnavailable
            # A slow machine loads the app for longer than publish_timeout.
          end
          File.write("begun", "") if at.size == 1
          sleep 0.01
        end
        puts JSON.generate(at.group_by { |cursor| cursor[/\\A\\h+/] }.values.map { |all| all.map { |cursor| cursor[/\\d+\\z/].to_i } })
      RUBY
    end
    eventually { File.exist?(File.join(app.dir, "begun")) }
    app.signal("USR2")
    result = publisher.value
    expect(result.err).to eq("")
    numbers = JSON.parse(result.out.lines.last)
    expect(numbers.size).to eq(2)
    expect(numbers).to all(satisfy { |all| all == [*all.first..all.last] })
  end

  it "says so if the server has the message, but does not answer", if: File.exist?("/proc/self/task") do
    start_server
    client = subscribed(SseClient, "a")
    console = launch_console(app.dir)
    console.ask("PushServer.publish('a', '1'); nil")
    app.signal("STOP")
    # The system stops one thread after the other.
    eventually { Dir["/proc/#{app.pid}/task/*/stat"].all? { |stat| File.read(stat)[/\) (\w)/, 1] == "T" } }
    lost = console.ask("begin; PushServer.publish('a', '2'); rescue PushServer::EngineUnavailable => e; e.message; end")
    app.signal("CONT")
    expect(lost).to match(/does not answer: the message was sent, and may be published nevertheless\z/)
    console.ask("PushServer.publish('a', '3'); nil")
    expect(messages(client, 3).values).to eq(%w[1 2 3])
  ensure
    app.signal("CONT")
  end

  it "goes on when the hub is killed", modes: %w[-w 2] do
    start_server
    client = subscribed(SseClient, "a")
    hub = app.tree.hub.pid
    lines = published(<<~RUBY)
      #{Command::PATIENT}
      at = Array.new(20) { |n| PushServer.publish("a", n.to_s).to_s }
      Process.kill("KILL", #{hub})
      at += Array.new(20) { |n| PushServer.publish("a", (20 + n).to_s).to_s }
      puts at
    RUBY
    got = messages(client, 40)
    expect(got.values).to eq((0..39).map(&:to_s))
    expect(got.keys).to eq(lines)
  end

  describe "in a program that starts a server later" do
    early = "require 'push_server'\nPushServer.channel 'a', history: 9\nPushServer.publish 'a', 'early'\n"

    { "rackup" => [], "rackup -s push_server" => %w[-s push_server] }.each do |name, options|
      it "stays in the process while the app is loaded: #{name}" do
        start_app(early + ChannelClients::APP, *options, via: :rackup, env: development, files: { "tmp/.keep" => "" })
        expect(subscriber(SseClient, "a", since: "0-0").tap(&:read_event)).to be_a(SseClient)
        expect(app.ask("PushServer.history('a').map(&:data)")).to eq(["early"])
      end
    end

    it "leaves the process if rackup runs another server" do
      files = { "config.ru" => "begin\n#{early}rescue => e\n warn e.class\nend\nrun ->(_) {}\n" }
      result = run_command(RbConfig.ruby, AppProcess.rackup, "-s", "none_such", files: files)
      expect(result.err).to include("PushServer::EngineUnavailable")
    end

    it "stays in the process from init on, in the embedded form" do
      script = <<~RUBY
        require "push_server"
        PushServer.channel "a", history: 9
        PushServer::Server.init(0, bind: "tcp://127.0.0.1:0", threads: 1)
        PushServer.publish("a", "early")
        p PushServer.history("a").map(&:data)
        PushServer::Server.start
        p PushServer.history("a").map(&:data)
      RUBY
      result = outside(script)
      expect(result.out.lines.grep(/early/)).to eq([%(["early"]\n)] * 2), result.err
    end
  end

  describe "in test" do
    it "keeps messages in the process, and asks no server" do
      start_server
      expect(published(<<~RUBY, env: { "RACK_ENV" => "test" })).to eq(['["1"]', '["in a child"]'])
        PushServer.channel "a", history: 2
        PushServer.publish("a", "1")
        p PushServer.history("a").map(&:data)
        fork { PushServer.publish("a", "in a child"); p PushServer.history("a").map(&:data) }
        Process.wait
      RUBY
      client = subscribed(SseClient, "a")
      published("PushServer.publish('a', '2')", env: { "RACK_ENV" => "test", "PUSH_SERVER_HUB" => socket })
      expect(client.read_event.data).to eq("2")
    end
  end
end
