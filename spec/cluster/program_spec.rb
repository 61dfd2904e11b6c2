# frozen_string_literal: true

require "spec_helper"

# Workers without the command push_server: programs that call PushServer.run, and rackup.
RSpec.describe "Workers", transport: :tcp do
  include Command

  # A program whose app answers with its pid, or with what the code `answer` says.
  program = lambda do |options, answer: "Process.pid.to_s"|
    <<~RUBY
      require "push_server"
      SECRETS = ENV.keys.grep(/PUSH_SERVER_(?:ROLE|LINK|OPTIONS|COMMAND|SOCKETS|STATE|CONFIGURATION)/)
      app = ->(_env) { [200, {}, [#{answer}]] }
      PushServer.run(app, bind: "tcp://127.0.0.1:0", #{options})
      puts "not reached"
    RUBY
  end

  # Runs a program that ends by itself.
  def run_app(source) = run_command(RbConfig.ruby, "app.rb", files: { "app.rb" => "require 'push_server'\n#{source}" })

  def start_program(source, **how)
    start_app(source, via: :ruby, **how)
    app.wait_for_line(/All 2 workers serve/)
  end

  describe "of a program that calls PushServer.run" do
    it "serve its app, and the process that was started is their supervisor" do
      start_program(program.call("workers: 2"))
      expect(workers.values.sort).to eq(expect_eventually("answers of both") { answering.then { |pids| pids if pids.size == 2 } } && answering)
      expect(tree.leaders.size).to eq(1)
      expect(app.stop).to be_success
      expect(app.output).not_to include("not reached")
    end

    it "load the program anew at USR1 and at USR2, and drop no connection that waits" do
      start_program(program.call("workers: 2", answer: "VERSION.to_s").sub("SECRETS", "VERSION = 1\nSECRETS"))
      file = File.join(app.dir, "app.rb")
      expect(fetch).to eq("1")
      { "USR1" => "2", "USR2" => "3" }.each do |signal, version|
        File.write(file, File.read(file).sub(/VERSION = \d/, "VERSION = #{version}"))
        before = workers.values
        app.signal(signal)
        expect_eventually("version #{version}", seconds: 20) { (workers.values & before).empty? && Array.new(6) { fetch }.uniq == [version] }
      end
      expect(app.stop).to be_success
    end

    it "need no preload" do
      start_program(program.call("workers: 2, preload: false"))
      expect(tree.leaders).to eq([])
      expect_eventually("answers of both") { answering == workers.values.sort }
      expect(app.stop).to be_success
    end

    it "see nothing of how they were started" do
      start_program(program.call("workers: 2", answer: "[SECRETS, `env`.scan(/PUSH_SERVER_(?:ROLE|LINK|OPTIONS|COMMAND|SOCKETS|STATE)/)].inspect"))
      expect(get("/").body).to eq("[[], []]")
    end

    it "have the hooks of the configuration file that the call names" do
      hooks = "before_worker_boot { |number| puts \"boot \#{number}\" }\nafter_booted { puts 'booted' }"
      start_program(program.call("workers: 2, config: 'server.rb'"), files: { "server.rb" => hooks })
      app.wait_for_line(/^booted/)
      expect(app.stop).to be_success
      expect(app.lines.grep(/^boot/).sort.map(&:chomp)).to eq(["boot 1", "boot 2", "booted"])
    end

    it "are not started because of WEB_CONCURRENCY, which is not for programs" do
      start_app(program.call("workers: nil"), via: :ruby, env: { "WEB_CONCURRENCY" => "2" })
      expect(get("/").body).to eq(app.pid.to_s)
    end

    it "need the main thread, and a program in a file" do
      threaded = run_app("Thread.new { PushServer.run(->(_) {}, workers: 1) rescue puts $!.message }.join")
      expect(threaded.out).to eq("with workers, the server needs the main thread: start it there\n")
      piped = IO.popen([{ "RUBYLIB" => Command::ENVIRONMENT["RUBYLIB"] }, RbConfig.ruby, "-"], "r+") do |io|
        io.write("require 'push_server'\nbegin\nPushServer.run(->(_) {}, workers: 1)\nrescue PushServer::Error\nputs $!.message\nend\n")
        io.close_write
        io.read
      end
      expect(piped).to eq("a program that Ruby reads from stdin cannot have workers: give it a file\n")
    end

    it "are refused by the embedded form" do
      result = run_app("PushServer::Server.init(0, nil, workers: 2) rescue puts $!.message")
      expect(result.out).to eq("workers: an embedded server is one process: PushServer.run(app, workers: 2) has workers\n")
      result = run_app("PushServer::Server.init(0, nil, config: 'x') rescue puts $!.message")
      expect(result.out).to eq("config: an embedded server reads no configuration file: give options to init\n")
    end

    it "stop with one line and a status if the server cannot listen" do
      taken = TCPServer.new("127.0.0.1", 0)
      port = taken.local_address.ip_port
      result = run_app("PushServer.run(->(_) {}, workers: 1, bind: 'tcp://127.0.0.1:#{port}')")
      expect(result.complaint).to match([/\Apush_server: cannot listen on .*: the port is in use/])
      expect(result.exitstatus).to eq(1)
    ensure
      taken&.close
    end
  end

  # What a process inherits that the app starts while it is loaded, such as a daemon. It may live longer than the server.
  {
    "with workers" => ["workers: 2, preload: true", /the phased restart is done/],
    "without workers" => ["threads: 1", nil]
  }.each do |what, (options, line)|
    describe "of a program #{what} that starts a process while it loads" do
      variables = /\APUSH_SERVER_(?:ROLE|LINK|OPTIONS|COMMAND|SOCKETS|STATE|DESCRIPTORS|CONFIGURATION)=/

      # The pids of the processes, each with that of the process that has started it.
      def started = Dir[File.join(app.dir, "started.*")].to_h { |file| [Integer(File.extname(file).delete(".")), File.read(file).to_i] }

      after { started.each_key { |pid| Process.kill(:KILL, pid) if alive?(pid) } }

      it "leave nothing of the server in it, also at USR2" do
        load = 'pid = spawn("sleep", "1000", in: File::NULL, out: File::NULL, err: File::NULL)
                File.write("started.#{pid}", Process.pid.to_s)'
        start_app(program.call(options).sub("SECRETS", "#{load}\nSECRETS"), via: :ruby)
        app.wait_for_line(/All 2 workers serve/) if line
        before = started.keys
        app.signal("USR2")
        line ? expect_line(line) : eventually("the new version") { app.lines.grep(/Ctrl-C to stop/).size == 2 }
        # The process that was executed in place of the server has loaded the program, too.
        expect(started.except(*before).values.count(app.pid)).to eq(1)
        started.each_key do |pid|
          expect(ProcessCost.descriptors(pid).values.grep(/socket:|memfd:/)).to eq([])
          expect(File.binread("/proc/#{pid}/environ").split("\0").grep(variables)).to eq([])
        end

        others = line ? tree.children.map(&:pid) : []
        Process.kill(:KILL, app.pid)
        app.wait
        expect_gone(others)
        expect { TCPSocket.new("127.0.0.1", app.port).close }.to raise_error(Errno::ECONNREFUSED)
      end
    end
  end

  describe "of rackup" do
    it "are those of the command push_server, which takes the place of rackup" do
      start_app(Clusters::PIDS, "-s", "push_server", "-O", "Workers=2", "-O", "Threads=3", via: :rackup)
      app.wait_for_line(/All 2 workers serve/)
      expect(app.lines.map(&:chomp)).to include("* 2 workers with 3 threads each, test")
      expect_eventually("answers of both") { answering == workers.values.sort }
      app.signal("USR1")
      expect_line(/the phased restart is done/)
      expect(app.stop).to be_success
    end

    it "come from WEB_CONCURRENCY or the configuration file, whose port counts if rackup was given none" do
      port = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }
      files = { "config.ru" => Clusters::PIDS, "config/push_server.rb" => "workers 2\nport #{port}, '127.0.0.1'\nbefore_worker_boot { puts 'boot' }" }
      source = "Dir.mkdir('config') rescue 0\n#{files.map { |name, text| "File.write(#{name.inspect}, #{text.inspect})" }.join("\n")}\n" \
               "exec(#{RbConfig.ruby.inspect}, #{AppProcess.rackup.inspect}, '-s', 'push_server')"
      start_app(source, via: :ruby)
      app.wait_for_line(/All 2 workers serve/)
      expect(app.lines.map(&:chomp)).to include("* Listening on http://127.0.0.1:#{port}")
      expect(app.lines.grep(/^boot/).size).to eq(2)
      expect(app.stop).to be_success
    end

    it "write its pid file, and remove it" do
      start_app(Clusters::PIDS, "-s", "push_server", "-O", "Workers=1", "-P", "rack.pid", via: :rackup)
      app.wait_for_line(/Ctrl-C/)
      path = File.join(app.dir, "rack.pid")
      expect(File.read(path).to_i).to eq(app.pid)
      app.signal("TERM")
      expect_eventually("the pid file to be gone") { !File.exist?(path) }
    end

    it "serve an app that comes from no file" do
      words = [RbConfig.ruby, AppProcess.rackup, "-s", "push_server", "-O", "Workers=2", "-p", "0", "-b", Clusters::PIDS]
      start_app("exec(*#{words.inspect})", via: :ruby)
      app.wait_for_line(/All 2 workers serve/)
      expect_eventually("answers of both") { answering == workers.values.sort }
      app.signal("USR1")
      expect_line(/the phased restart is done/)
      expect(app.stop).to be_success
    end
  end
end
