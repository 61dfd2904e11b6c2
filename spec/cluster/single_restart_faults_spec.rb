# frozen_string_literal: true

require "spec_helper"
require "tmpdir"

# The old version serves on.
RSpec.describe "A restart of a server in a single process" do
  include VersionedApp

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

    it "an app that does not finish loading" do
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
    # The folder was moved away after the check.
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
    expect_version("two")
    expect(app.stop.exitstatus).to eq(0)
  ensure
    kill_apps
    FileUtils.rm_rf(parent)
  end
end
