# frozen_string_literal: true

require "spec_helper"

# The configuration of real processes: the file, the number of workers, the pid file.
RSpec.describe "The configuration of a server", transport: :tcp do
  include Command

  modes = { "one process" => [], "workers" => %w[-w 1] }

  describe "the file" do
    it "decides what the command line and the environment leave open" do
      start_app(Clusters::PIDS, "-t", "4", files: { "config/push_server.rb" => "workers 2\nthreads 2\ntag 'shop'\nenvironment 'staging'" })
      app.wait_for_line(/All 2 workers serve/)
      # AppProcess sets RACK_ENV.
      expect(app.lines.map(&:chomp)).to include("* 2 workers with 4 threads each, test")
      title = File.binread("/proc/#{app.pid}/cmdline").delete("\0")
      expect(title).to eq("push_server: supervisor [shop]")
    end

    it "can name the folder and the config.ru; a relative path begins in that folder" do
      files = { "app/other.ru" => "run ->(_) { [200, {}, [Dir.pwd]] }", "app/public/page.txt" => "page",
                "config/push_server.rb" => "directory 'app'\nrackup 'other.ru'\npublic_dir 'public'" }
      modes.each_value do |switches|
        Dir.mktmpdir do |dir|
          files.each { |name, text| FileUtils.mkdir_p(File.dirname(File.join(dir, name))) && File.write(File.join(dir, name), text) }
          # The name of a config.ru on the command line is left out, and - is the one after --.
          launch_server(dir, *switches)
          expect(get("/").body).to eq(File.realpath(File.join(dir, "app")))
          expect(get("/page.txt").body).to eq("page")
          expect(app.stop).to be_success
        end
      end
    end

    # Starts the server in this folder without naming a config.ru, which AppProcess would do.
    def launch_server(dir, *switches)
      File.write(File.join(dir, "start.rb"), "ARGV.replace(#{["-b", "tcp://127.0.0.1:0", *switches].inspect})\n" \
                                             "exec(#{RbConfig.ruby.inspect}, '#{AppProcess::ROOT}/exe/push_server', *ARGV)")
      start_app("start.rb", via: :ruby, dir: dir)
    end

    modes.each do |mode, switches|
      { "wrokers 2" => "config/push_server.rb:1: there is no word wrokers: did you mean workers?",
        "threads 'x'" => 'config/push_server.rb:1: threads cannot be "x": give a whole number, from 1 to 1000',
        "\nraise 'boom'" => "config/push_server.rb:2: boom (RuntimeError)" }.each do |source, message|
        it "stops #{mode} with one line and status 2 if it has a mistake: #{source.strip}" do
          launch_app(Clusters::PIDS, *switches, files: { "config/push_server.rb" => source })
          expect(app.wait.exitstatus).to eq(2)
          expect(app.output).to eq("push_server: #{message}\n")
        end
      end
    end

    { "USR1 with workers" => ["USR1", %w[-w 2]], "USR2 with workers" => ["USR2", %w[-w 2]], "USR2 with one process" => ["USR2", []] }
      .each do |case_, (signal, switches)|
      it "with a mistake changes nothing at #{case_}, and the log has one line with the place" do
        start_app(Clusters::PIDS, *switches, files: { "config/push_server.rb" => "# fine" })
        expect_eventually("answers of all") { answering.size == [switches.size, 1].max }
        before = answering
        File.write(File.join(app.dir, "config/push_server.rb"), "\nwrokers 3")
        app.signal(signal)
        line = app.wait_for_line(/wrokers/)
        expect(line).to match(%r{config/push_server.rb:2: there is no word wrokers: did you mean workers\?})
        expect(app.lines.grep(/wrokers/).size).to eq(1)
        expect(answering).to eq(before)
        expect(app.stop).to be_success
      end
    end

    it "warns once, whatever the number of processes" do
      start_cluster(Clusters::PIDS, "--no-preload", files: { "config/push_server.rb" => "state_path 'x'" })
      expect(app.lines.grep(/state_path has no effect/).size).to eq(1)
    end

    it "may be missing, but not if it is named" do
      expect(push_server("-C", "config/puma.rb", files: { "config.ru" => Clusters::PIDS }).complaint)
        .to match([%r{\Apush_server: --config cannot be "config/puma.rb": there is no such file in /}])
    end
  end

  describe "WEB_CONCURRENCY" do
    # Ruby code that makes the server find the files of a control group below this folder.
    fake = <<~RUBY
      require "push_server/config/processors"
      PushServer::Processors.prepend(Module.new { def initialize(root: ENV.fetch("FAKE_ROOT"), online: 64) = super })
    RUBY

    { "version 2" => { "proc/self/cgroup" => "0::/\n", "sys/fs/cgroup/cpu.max" => "230000 100000\n" },
      "version 1" => { "proc/self/cgroup" => "2:cpu,cpuacct:/\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us" => "200000\n",
                       "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us" => "100000\n" } }.each do |version, files|
      it "as auto starts as many workers as the container's quota allows: cgroup #{version}" do
        Dir.mktmpdir do |root|
          { **files, "fake.rb" => fake }.each do |name, text|
            FileUtils.mkdir_p(File.dirname(File.join(root, name)))
            File.write(File.join(root, name), text)
          end
          env = { "WEB_CONCURRENCY" => "auto", "FAKE_ROOT" => root, "RUBYOPT" => "#{ENV.fetch("RUBYOPT", nil)} -r#{root}/fake" }
          start_app(Clusters::PIDS, env: env)
          app.wait_for_line(/All 2 workers serve/)
          expect(app.stop).to be_success
        end
      end
    end

    it "as a number starts so many, unless the command line says otherwise; blank starts none" do
      start_app(Clusters::PIDS, env: { "WEB_CONCURRENCY" => "2" })
      expect(app.wait_for_line(/\A\* \d/)).to eq("* 2 workers with 5 threads each, test\n")
      start_app(Clusters::PIDS, "-w", "1", env: { "WEB_CONCURRENCY" => "2" })
      expect(app.wait_for_line(/\A\* \d/)).to eq("* 1 worker with 5 threads each, test\n")
      start_app(Clusters::PIDS, env: { "WEB_CONCURRENCY" => " " })
      expect(app.wait_for_line(/\A\* \d/)).to eq("* 5 threads, test\n")
    end
  end

  describe "--pidfile" do
    modes.each do |mode, switches|
      it "has the server's pid while it serves: #{mode}" do
        start_app(Clusters::PIDS, "--pidfile", "server.pid", *switches)
        app.wait_for_line(/Ctrl-C/)
        path = File.join(app.dir, "server.pid")
        expect(File.read(path)).to eq("#{app.pid}\n")
        app.signal("TERM")
        expect_eventually("the pid file to be gone") { !File.exist?(path) }
        expect(app.wait).to be_success
      end

      it "is replaced if the process in it is gone, and not left behind if the app cannot be loaded: #{mode}" do
        gone = fork { exit! }
        Process.wait(gone)
        start_app(Clusters::PIDS, "--pidfile", "server.pid", *switches, files: { "server.pid" => "#{gone}\n" })
        app.wait_for_line(/Ctrl-C/)
        expect(File.read(File.join(app.dir, "server.pid"))).to eq("#{app.pid}\n")
        Dir.mktmpdir do |dir|
          result = push_server("--pidfile", "server.pid", *switches, dir: dir, files: { "config.ru" => "raise 'boom'" })
          expect(result.exitstatus).to eq(1)
          expect(Dir.children(dir)).to eq(["config.ru"])
        end
      end

      it "is not taken from a server that runs, which keeps it: #{mode}" do
        start_app(Clusters::PIDS, "--pidfile", "server.pid", *switches)
        app.wait_for_line(/Ctrl-C/)
        path = File.join(app.dir, "server.pid")
        other = push_server("-b", "tcp://127.0.0.1:0", "--pidfile", path, *switches, files: { "config.ru" => Clusters::PIDS })
        expect(other.complaint).to eq(["push_server: the pidfile #{path} names process #{app.pid}, which runs: stop it, or give this server another pidfile"])
        expect(other.exitstatus).to eq(1)
        expect(File.read(path)).to eq("#{app.pid}\n")
      end

      it "stays whole over a restart: #{mode}" do
        start_app(Clusters::PIDS, "--pidfile", "server.pid", *switches)
        app.wait_for_line(/Ctrl-C/)
        path = File.join(app.dir, "server.pid")
        seen = []
        done = false
        watch = Thread.new { seen |= [File.exist?(path) ? File.read(path) : "missing"] until done }
        app.signal("USR2")
        app.wait_for_line(/phased restart is done|Listening.*\n?/) && expect_eventually("the restart") {
          app.lines.grep(/Ctrl-C|phased restart is done/).size > 1
        }
        done = true
        watch.join
        expect(seen).to eq(["#{app.pid}\n"])
      end
    end

    modes.each do |mode, switches|
      it "says in one line why it cannot be written, and does not start: #{mode}" do
        result = push_server("-b", "tcp://127.0.0.1:0", "--pidfile", "no/such/folder/pid", *switches,
                             files: { "config.ru" => Clusters::PIDS })
        expect(result.complaint).to match([%r{\Apush_server: cannot write the pidfile /\S+/no/such/folder/pid: No such file or directory\z}])
        expect(result.exitstatus).to eq(1)
      end
    end
  end
end
