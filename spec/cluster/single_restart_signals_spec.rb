# frozen_string_literal: true

require "spec_helper"
require "push_server/process/pidfile"

RSpec.describe "A restart of a server in a single process, and signals:" do
  include VersionedApp

  it "succeeds despite any signal that does not stop the server, at any moment" do
    start_app(app_of("one"))
    change("two")
    app.signal("USR2")
    nagging = Thread.new do
      %w[HUP USR1 USR2 PWR TTIN TTOU].&(Signal.list.keys).cycle do |signal|
        app.signal(signal)
        sleep 0.003 # so that the server has time for something else
      end
    end
    expect_version("two")
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
    expect_version("two")
    expect(app.stop.exitstatus).to eq(0)
  end

  it "other signals to the whole process group, with a child of the app, have the same effect as to the server alone" do
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
      expect_version((round + 1).to_s)
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
