# frozen_string_literal: true

require "spec_helper"
require "tmpdir"

# `push_server stop` and the like: their command lines, and how they find a server. What they do is in commands_to_one_process_spec.rb
# and commands_to_workers_spec.rb.
RSpec.describe "The commands" do
  include ServerCommands

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
