# frozen_string_literal: true

require "spec_helper"
require "tmpdir"
require_relative "../support/service_manager"

# What the server tells systemd, and the sockets that systemd passes. A socket of the spec stands for systemd.
RSpec.describe "Under systemd" do
  app_of = lambda do |version|
    <<~RUBY
      require "spec_app"
      seen = (ENV.keys.grep(/NOTIFY|WATCHDOG|LISTEN/) + [`env`.scan(/^(?:NOTIFY|WATCHDOG|LISTEN)\\w+/)]).flatten
      run ->(_env) { [200, { "content-type" => "text/plain" }, [#{version.inspect}, " ", seen.join(",")]] }
    RUBY
  end

  # Becomes the server as systemd does, with a socket at descriptor 3.
  activated = lambda do |options|
    <<~RUBY
      require "rbconfig"
      require "socket"
      socket = TCPServer.new("127.0.0.1", 0)
      env = { "LISTEN_PID" => Process.pid.to_s, "LISTEN_FDS" => "1", "LISTEN_FDNAMES" => "web" }
      exec(env, RbConfig.ruby, "#{AppProcess::ROOT}/exe/push_server", *#{options.inspect}, 3 => socket)
    RUBY
  end

  around do |example|
    Dir.mktmpdir("push_server-spec") { |dir| (@folder = dir) && example.run }
  end

  before { @manager = ServiceManager.new(File.join(@folder, "notify")) }
  after { @manager.close }

  attr_reader :manager

  def answer
    client = HttpClient.new(app.address)
    client.get("/", { "connection" => "close" }).body
  ensure
    client&.close
  end

  kinds = { "a single process" => [], "workers" => %w[-w 2], "workers without preload" => %w[-w 1 --no-preload] }
  restarts = { "a single process" => %w[USR2], "workers" => %w[USR1 USR2], "workers without preload" => %w[USR1 USR2] }

  kinds.flat_map { |kind, options| restarts.fetch(kind).map { |signal| [kind, options, signal] } }.each do |kind, options, signal|
    context "with #{kind}, restarted by #{signal}," do
      define_method(:serve) do |*more, **env|
        start_app(app_of.call("one"), *options, *more, env: manager.environment.merge(env.transform_keys(&:to_s)))
      end

      define_method(:restart_signal) { signal }

      it "says READY with its pid and a status once it serves, and STOPPING when it stops" do
        serve
        ready = manager.await("READY=1")
        expect(ready).to include("MAINPID=#{app.pid}", %r{\ASTATUS=Serving on http://127\.0\.0\.1:#{app.port}})
        expect(answer).to eq("one ")
        expect(app.stop.exitstatus).to eq(0)
        expect(manager.await("STOPPING=1")).to include(/\ASTATUS=Stopping/)
        expect(manager.pids.uniq).to eq([app.pid])
      end

      it "says RELOADING with the time, and READY again, at a restart" do
        serve
        manager.await("READY=1")
        File.write(File.join(app.dir, "config.ru"), app_of.call("two"))
        app.signal(restart_signal)
        expect(manager.await("RELOADING=1")).to include(/\AMONOTONIC_USEC=\d+\z/)
        expect(manager.await("READY=1", seconds: 60)).to include("MAINPID=#{app.pid}")
        expect_eventually("the new version to answer") { answer == "two " }
        expect(app.stop.exitstatus).to eq(0)
        manager.await("STOPPING=1")
      end

      it "says READY again when a restart is given up" do
        serve
        manager.await("READY=1")
        File.write(File.join(app.dir, "config.ru"), "raise 'no database'")
        app.signal(restart_signal)
        manager.await("RELOADING=1")
        manager.await("READY=1", seconds: 60)
        expect(answer).to eq("one ")
        expect(app.stop.exitstatus).to eq(0)
      end

      it "says RELOADING and READY at HUP" do
        serve("--access-log", "common", "--access-log-file", File.join(@folder, "log"))
        manager.await("READY=1")
        app.signal("HUP")
        expect(manager.await("RELOADING=1")).to include(/\AMONOTONIC_USEC=\d+\z/)
        manager.await("READY=1")
      end

      it "gives a sign of life twice in the time of the watchdog, also while it restarts" do
        gate = File.join(@folder, "gate")
        waiting = "sleep(0.02) while File.exist?(#{gate.inspect})\n#{app_of.call("one")}"
        start_app(waiting, *options, env: manager.environment.merge("WATCHDOG_USEC" => "400000"))
        manager.await("READY=1")
        3.times { manager.await("WATCHDOG=1") }
        File.write(gate, "")
        app.signal(restart_signal)
        manager.await("RELOADING=1")
        3.times { manager.await("WATCHDOG=1") }
        File.delete(gate)
        manager.await("READY=1", seconds: 60)
        expect(Array.new(3) { manager.await("WATCHDOG=1") }).to all(eq(["WATCHDOG=1"]))
      end

      { "by name" => %w[-b fd://web], "without a bind" => [] }.each do |how, bind|
        it "serves a socket that systemd passes, #{how}, and keeps it over a restart" do
          start_app(activated.call([*bind, *options]), via: :ruby, env: manager.environment, files: { "config.ru" => app_of.call("one") })
          ready = manager.await("READY=1")
          expect(answer).to eq("one ")
          File.write(File.join(app.dir, "config.ru"), app_of.call("two"))
          app.signal(restart_signal)
          manager.await("RELOADING=1")
          expect(manager.await("READY=1", seconds: 60)).to include(*ready.grep(/MAINPID/))
          expect_eventually("the new version to answer") { answer == "two " }
          expect(app.lines.grep(/is closed|no longer/i)).to eq([])
          expect(app.stop.exitstatus).to eq(0)
        end
      end
    end
  end

  it "refuses a watchdog that is another process's" do
    start_app(app_of.call("one"), env: manager.environment.merge("WATCHDOG_USEC" => "100000", "WATCHDOG_PID" => "1"))
    manager.await("READY=1")
    app.signal("HUP") # which is answered by a message
    expect(manager.heard.flatten).not_to include("WATCHDOG=1")
  end
end
