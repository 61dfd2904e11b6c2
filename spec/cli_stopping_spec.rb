# frozen_string_literal: true

require "spec_helper"
require "socket"

# How the command push_server stops, with one process.
RSpec.describe "push_server, the command, when it stops" do
  hello = "run ->(env) { [200, { 'content-type' => 'text/plain' }, ['hello']] }\n"

  def get(target = "/", **options) = HttpClient.new(app.port, **options).get(target)

  def last_words = app.lines.map(&:chomp).reject(&:empty?).last

  def refused?(port)
    Socket.tcp("127.0.0.1", port).close
    false
  rescue Errno::ECONNREFUSED, Errno::ECONNRESET
    true
  end

  # An app whose request for /wait is held until the spec says `$go << 1`.
  patient = <<~RUBY
    require "spec_app"
    $go = Thread::Queue.new
    at_exit { SpecApp.report(:exited) }
    run(lambda do |env|
      if env["PATH_INFO"] == "/wait"
        SpecApp.report(:waiting)
        $go.pop
      end
      [200, {}, ["done"]]
    end)
  RUBY

  def waiting_client
    HttpClient.new(app.port).send_request("GET", "/wait").tap { app.events.take(event: "waiting") }
  end

  %w[INT TERM QUIT].each do |signal|
    it "on #{signal} finishes requests, accepts no more connections, and exits with 0" do
      start_app(patient)
      client = waiting_client
      app.signal(signal)
      app.wait_for_line(/Stopping/)
      eventually("new connections to be refused") { refused?(app.port) }
      app.ask("$go << 1; nil")
      expect(client.read_response.body).to eq("done")
      expect(app.wait.exitstatus).to eq(0)
      expect(last_words).to eq("* Stopped")
      expect(app.events.all(event: "exited").size).to eq(1)
    end

    it "on the second #{signal} stops at once, with status 1" do
      start_app(patient)
      client = waiting_client
      app.signal(signal)
      app.wait_for_line(/Stopping/)
      app.signal(signal)
      expect(app.wait.exitstatus).to eq(1)
      expect(last_words).to eq("* Stopped at once")
      expect(client.connection.ending).not_to be_nil
      expect(app.events.all(event: "exited").size).to eq(1)
    end
  end

  it "stops at once also while a handler does not return" do
    start_app(<<~RUBY)
      require "spec_app"
      run(lambda do |_|
        begin
          SpecApp.report(:waiting)
          sleep
        ensure
          sleep
        end
      end)
    RUBY
    HttpClient.new(app.port).send_request("GET", "/")
    app.events.take(event: "waiting")
    2.times do |round|
      app.signal("TERM")
      app.wait_for_line(/Stopping/) if round.zero?
    end
    expect(app.wait.exitstatus).to eq(1)
  end

  it "cuts what takes longer than the drain timeout" do
    start_app(patient, "--drain-timeout", "0.2")
    client = waiting_client
    app.signal("TERM")
    expect(app.wait.exitstatus).to eq(0)
    expect(app.output).to include("the drain took longer than 0.2 s")
    expect(client.connection.ending).not_to be_nil
  end

  %w[INT TERM QUIT].each do |signal|
    it "exits without a message when #{signal} comes while the app is being loaded" do
      launch_app("puts 'loading'; $stdout.flush; sleep")
      app.wait_for_line(/loading/)
      app.signal(signal)
      expect(app.wait.exitstatus).to eq(0)
      expect(app.output).to eq("loading\n")
    end
  end

  it "does not happen on other signals: the log has a line for each, and the server goes on" do
    start_app(patient)
    client = waiting_client
    # In the order in which they are sent, since each is waited for.
    { "USR1" => /USR2 or `push_server restart`/, "TTIN" => /--threads/, "TTOU" => /-w N starts workers/ }.each do |signal, cure|
      app.signal(signal)
      expect(app.wait_for_line(/signal #{signal}/))
        .to match(/\A\[push_server\] warn: the signal #{signal} has no meaning here: .*#{cure}/)
    end
    app.ask("$go << 1; nil")
    expect(client.read_response.body).to eq("done")
    expect(app.stop.exitstatus).to eq(0)
  end

  it "happens at once on any second signal that stops, but not on other signals" do
    start_app(patient)
    client = waiting_client
    app.signal("TERM")
    app.wait_for_line(/Stopping/)
    app.signal("USR1")
    app.wait_for_line(/the signal USR1 has no meaning/)
    app.signal("HUP")
    app.ask("$go << 1; nil")
    expect(client.read_response.body).to eq("done")
    expect(app.wait.exitstatus).to eq(0)

    start_app(patient)
    client = waiting_client
    app.signal("QUIT")
    app.wait_for_line(/Stopping/)
    app.signal("TERM")
    expect(client.connection.read_to_end).to eq("")
    expect(app.wait.exitstatus).to eq(1)
  end

  it "leaves the app's own handlers for other signals alone" do
    start_app("require 'spec_app'\ntrap('USR1') { SpecApp.report(:heard) }\ntrap('TTIN', 'IGNORE')\n#{hello}")
    app.signal("TTIN")
    app.signal("USR1")
    app.events.take(event: "heard")
    expect(get.body).to eq("hello")
    expect(app.stop.exitstatus).to eq(0)
    expect(app.output).not_to include("has no meaning")
  end

  it "gives all signals back" do
    start_app(<<~RUBY, via: :ruby)
      require "push_server"
      require "spec_app"
      names = %w[INT TERM QUIT HUP USR1 USR2 TTIN TTOU]
      now = -> { names.to_h { |name| [name, trap(name, "DEFAULT").tap { |former| trap(name, former) }] } }
      before = now.call
      PushServer.run(->(_env) { SpecApp.report(:during, same: names.select { |name| now.call[name] == before[name] }); [200, {}, []] },
                     bind: "tcp://127.0.0.1:0")
      SpecApp.report(:after, same: now.call == before)
    RUBY
    get
    app.signal("QUIT")
    expect(app.events.take(event: "after")).to include(same: true)
    expect(app.events.take(event: "during")).to include(same: [])
    expect(app.wait.exitstatus).to eq(0)
  end

  it "has no effect on signals to a process that the app has forked" do
    start_app(<<~RUBY)
      require "spec_app"
      run(lambda do |_|
        child = fork { sleep }
        Process.kill("TERM", child)
        [200, {}, [Process.wait2(child).last.termsig.to_s]]
      end)
    RUBY
    expect(get.body).to eq(Signal.list["TERM"].to_s)
    expect(get.body).to eq(Signal.list["TERM"].to_s)
    expect(app.stop.exitstatus).to eq(0)
  end

  it "goes on when a child exits" do
    start_app(<<~RUBY)
      run(lambda do |_|
        child = fork { exit 3 }
        [200, {}, [Process.wait2(child).last.exitstatus.to_s]]
      end)
    RUBY
    3.times { expect(get.body).to eq("3") }
    expect(app.stop.exitstatus).to eq(0)
  end

  it "replaces a thread that the app has killed" do
    start_app("run ->(env) { env['PATH_INFO'] == '/die' ? Thread.current.kill : [200, {}, ['alive']] }", "-t", "1")
    2.times do
      HttpClient.new(app.port).send_request("GET", "/die")
      expect(get.body).to eq("alive")
    end
  end
end
