# frozen_string_literal: true

require "spec_helper"

# An app that forks or runs other programs while streams are open. The child inherits the sockets and the memory, but the
# streams stay the parent's.
RSpec.describe "Processes that the app starts" do
  serve <<~'CONFIG', "--threads", "4", "--ping-interval", "0.5", "--pong-timeout", "60"
    require "spec_app"
    require "forked_child"
    require "open3"

    handler = SpecApp::Recorder.new(message: ->(client, data) { client.write("echo: #{data}") })

    # A thread of the app writes ticks all the time, to some clients at a time. If each got every tick, a slow machine could not read
    # them as fast as they are written.
    TICKS = [0]
    Thread.new do
      loop do
        SpecApp.clients.each_slice(10) do |some|
          tick = TICKS[0] += 1
          some.each { |client| client.write(tick.to_s) }
          sleep 0.05
        end
        sleep 0.05
      end
    end

    ways = {
      "fork" => -> { Process.wait2(fork {}).last.exitstatus },
      "fork-exit" => -> { Process.wait2(fork { exit 3 }).last.exitstatus },
      "fork-exit!" => -> { Process.wait2(fork { exit! 4 }).last.exitstatus },
      "fork-raise" => -> { Process.wait2(fork { $stderr.reopen(File::NULL); raise "in the child" }).last.exitstatus },
      "fork-abort" => -> { Process.wait2(fork { $stderr.reopen(File::NULL); abort "in the child" }).last.exitstatus },
      "fork-exec" => -> { Process.wait2(fork { exec "exit 5" }).last.exitstatus },
      "fork-signal" => -> { Process.wait2(fork { Process.kill("TERM", Process.pid); sleep }).last.termsig },
      "fork-gc" => -> { Process.wait2(fork { 3.times { GC.start }; GC.compact if GC.respond_to?(:compact) }).last.exitstatus },
      # Without a block the child returns into the app, and ends there.
      "fork-return-exit" => lambda do
        pid = fork or exit(6)
        Process.wait2(pid).last.exitstatus
      end,
      "fork-return-throw" => lambda do
        pid = fork or Thread.exit
        Process.wait2(pid).last.pid == pid
      end,
      # … or answers the request that its parent answers, too.
      "fork-return-response" => lambda do
        pid = fork or return "child"
        Process.wait2(pid).last.pid == pid
      end,
      "fork-stop-server" => -> { ForkedChild.run { ObjectSpace.each_object(PushServer.const_get(:NativeServer)).map { |server| server.stop.inspect } }.size },
      "fork-call-server" => lambda do
        server = ObjectSpace.each_object(PushServer.const_get(:NativeServer)).first
        keys = PushServer.const_get(:TicketKeys).new.native
        calls = {
          listen: -> { server.listen(0, {}) }, listen_tls: -> { server.listen_tls(0, {}, {}, keys) },
          renew_tls: -> { server.renew_tls(0, {}, keys) }, publish_from: -> { server.publish_from(0) },
          serve_metrics: -> { server.serve_metrics(0) }, start: -> { server.start }, retire: -> { server.retire(0) }, work: -> { server.work },
          await_shortage: -> { server.await_shortage }, "threads_left=": -> { server.threads_left = 0 }, drain: -> { server.drain(1, false) },
          reopen_logs: -> { server.reopen_logs }, stats: -> { server.stats.key?(:requests) },
          histograms: -> { server.histograms.key?(:queue_time) }, stop: -> { server.stop }
        }
        # A method that is missing above is an error.
        server.class.public_instance_methods(false).to_h { |name| [name, ForkedChild.run(&calls.fetch(name))] }
      end,
      "fork-write" => lambda do
        ForkedChild.run do
          SpecApp.clients.map { |client| [client.write("from the child"), client.open?, client.close.inspect, client.pending] }.uniq
        end
      end,
      "fork-exit-write" => -> { ForkedChild.run(unwind: true) { SpecApp.clients.map { |client| client.write("x") }.uniq } },
      "fork-thread" => -> { Thread.new { Process.wait2(fork { exit 7 }).last.exitstatus }.value },
      "system" => -> { system("exit 8").inspect },
      "backticks" => -> { `echo hello` },
      "spawn" => -> { Process.wait2(spawn("exit 9")).last.exitstatus },
      "popen" => -> { IO.popen(["echo", "hello"], &:read) },
      "open3" => -> { Open3.capture2("cat", stdin_data: "hello").first },
      "daemon" => -> { Process.wait2(fork { fork { exit!(0) }; exit!(0) }).last.exitstatus }
    }

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = handler
        next [200, {}, []]
      end
      next [200, { "content-type" => "text/plain" }, [Process.pid.to_s]] if env["PATH_INFO"] == "/"

      value = ways.fetch(env["PATH_INFO"].delete_prefix("/")).call
      [200, { "content-type" => "application/json" }, [JSON.generate(value)]]
    end)
  CONFIG

  before do
    @sockets = Array.new(50) { websocket }
    @streams = Array.new(50) { sse }
    (@sockets + @streams).each { |client| event(:open, client) }
  end

  # Expects every stream to get a tick that was written after this call.
  def expect_ticking
    now = app.ask("TICKS[0]")
    @sockets.each { |client| nil until tick(client.read_message) > now }
    @streams.each { |client| nil until tick(client.read_event.data) > now }
  end

  # Raises for anything but a tick: nothing may come from a child.
  def tick(text) = Integer(text, 10)

  def expect_nothing_closed
    expect_ticking
    ids = (@sockets + @streams).map(&:id)
    expect(app.events.all(event: "close").map { |event| event[:id] } & ids).to eq([])
    expect(get("/").body).to eq(app.pid.to_s)
    socket = websocket
    socket.text("hello")
    nil until socket.read_message == "echo: hello"
  end

  def answer(way) = JSON.parse(get("/#{way}").body, symbolize_names: true)

  {
    "fork" => 0, "fork-exit" => 3, "fork-exit!" => 4, "fork-raise" => 1, "fork-abort" => 1, "fork-exec" => 5,
    "fork-signal" => Signal.list["TERM"], "fork-gc" => 0, "fork-return-exit" => 6, "fork-return-throw" => true,
    "fork-return-response" => true, "fork-thread" => 7, "system" => "false", "backticks" => "hello\n", "spawn" => 9,
    "popen" => "hello\n", "open3" => "hello", "daemon" => 0, "fork-stop-server" => 1
  }.each do |way, result|
    it "do not disturb 100 open streams: #{way}" do
      2.times { expect(answer(way)).to eq(result) }
      expect_nothing_closed
    end
  end

  it "cannot write to or close the clients of their parent" do
    expect(answer("fork-write")).to eq([[false, false, "nil", -1]])
    expect(answer("fork-exit-write")).to eq([false])
    expect_nothing_closed
  end

  it "cannot use the native server of their parent" do
    refusal = ["PushServer::Error", "this server belongs to the parent process"]
    expect(answer("fork-call-server")).to eq(
      listen: refusal, listen_tls: refusal, renew_tls: refusal, publish_from: refusal, serve_metrics: refusal, start: refusal, retire: false, work: false,
      await_shortage: false, "threads_left=": 0, drain: true, reopen_logs: nil, stats: true, histograms: true, stop: nil
    )
    expect_nothing_closed
  end

  it "can be 20 at once" do
    requests = Array.new(20) { |number| http.send_request("GET", "/#{%w[fork-exit system backticks fork-write][number % 4]}") }
    expect(requests.map { |client| client.read_response.status }).to all(eq(200))
    expect_nothing_closed
  end
end
