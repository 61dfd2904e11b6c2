# frozen_string_literal: true

require "spec_helper"

# A worker watches its supervisor on a native thread, so that neither Ruby nor the app can keep it from ending. The app here
# is a small supervisor: it opens the listener and forks one worker.
RSpec.describe "The lifeline of a worker", transport: :tcp do
  supervisor = <<~'RUBY'
    require "push_server"
    require "fiddle"
    require "socket"
    require "spec_app"

    # Calls a C function while Ruby is locked, so that nothing else of Ruby runs.
    def call_c(name, types, *arguments)
      Fiddle::Function.new(Fiddle::Handle::DEFAULT[name], types, Fiddle::TYPE_INT, need_gvl: true).call(*arguments)
    end

    def sleep_in_c
      SpecApp.report(:stuck)
      call_c("sleep", [Fiddle::TYPE_INT], 1000)
    end

    def loop_in_c
      spinlock = Fiddle::Pointer.malloc(64)
      call_c("pthread_spin_init", [Fiddle::TYPE_VOIDP, Fiddle::TYPE_INT], spinlock, 0)
      SpecApp.report(:stuck)
      2.times { call_c("pthread_spin_lock", [Fiddle::TYPE_VOIDP], spinlock) }
    end

    # A log that takes nothing more.
    def fill_stderr
      reader, writer = IO.pipe
      $reader = reader
      nil until writer.write_nonblock("x" * 65_536, exception: false) == :wait_writable
      $stderr.reopen(writer)
    end

    LIFELINE, END_OF_WORKER = UNIXSocket.pair
    GATE, OPEN_GATE = IO.pipe
    SOCKET = Socket.tcp_server_sockets("127.0.0.1", 0).first

    def work
      [LIFELINE, OPEN_GATE].each(&:close)
      at_exit { puts "Ruby has ended the worker" }
      PushServer.const_get(:NativeLifeline).start(END_OF_WORKER.fileno, "worker 1")
      fill_stderr if ENV["FULL_LOG"]
      return sleep_in_c if ENV["NO_SERVER"]

      app = lambda do |env|
        env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
        case env["PATH_INFO"]
        when "/sleep" then sleep_in_c
        when "/loop" then loop_in_c
        when "/gate"
          SpecApp.report(:gate)
          GATE.read
        end
        [200, {}, ["served"]]
      end
      service = PushServer::Service.new(app, PushServer::Options.new({ threads: 2 }, env: {}))
      service.listen(PushServer::Listener.tcp(SOCKET))
      service.start { nil }
      sleep
    end

    worker = fork { work }
    END_OF_WORKER.close
    puts "Listening on http://127.0.0.1:#{SOCKET.local_address.ip_port}"
    SOCKET.close
    SpecApp.report(:worker, pid: worker)
    sleep
  RUBY

  let(:worker) { @worker ||= app.events.take(event: "worker")[:pid] }

  after do
    Process.kill("KILL", @worker) if @worker
  rescue Errno::ESRCH
    nil
  end

  # Starts the small supervisor, in this state.
  def start(**env)
    start_app(supervisor, via: :ruby, env: env.transform_keys(&:to_s))
    worker
  end

  define_method(:supervisor) { supervisor }

  # Kills the supervisor, and waits for the end of all that hold its output.
  def kill_supervisor
    app.signal("KILL")
    app.wait
  end

  def expect_end
    expect(accepting_connections?).to be(false)
    expect(app.output).not_to include("Ruby has ended")
  end

  def ending = "error: worker 1 (pid #{worker}) ends: the supervisor is gone\n"

  it "ends a worker with nothing to do, with one line in the log" do
    start
    expect(http.get("/").body).to eq("served")
    kill_supervisor
    expect_end
    expect(app.output.scan("error:").size).to eq(1)
    expect(app.output).to include(ending)
  end

  %w[/sleep /loop].each do |path|
    it "ends a worker that is stuck in C without releasing Ruby's lock (#{path})" do
      start
      idle = http
      expect(idle.get("/").body).to eq("served")
      busy = http.send_request("GET", path)
      app.events.take(event: "stuck")
      kill_supervisor
      expect_end
      expect(app.output).to include(ending)
      expect([idle, busy].map { |client| client.connection.read_to_end }).to eq(["", ""])
    end
  end

  it "ends a process without a server, such as a leader that is stuck while it loads the app" do
    start(NO_SERVER: "1")
    app.events.take(event: "stuck")
    kill_supervisor
    expect_end
    expect(app.output).to include(ending)
  end

  it "ends a worker whose log is stuck" do
    start(FULL_LOG: "1")
    expect(http.get("/").body).to eq("served")
    kill_supervisor
    expect_end
  end

  it "refuses connections at once, answers what was asked before, and closes WebSockets with 1001" do
    start
    socket = websocket("/?a")
    app.events.take(event: "open")
    waiting = http.send_request("GET", "/gate")
    app.events.take(event: "gate")
    app.signal("KILL")
    # The gate opens with the supervisor's end.
    expect(waiting.read_response).to have_attributes(status: 200, body: "served")
    expect(socket.read_close.first).to eq(1001)
    socket.send_close(1001)
    app.wait
    expect_end
  end

  it "logs what the native threads do, although Ruby is stuck" do
    start
    http.send_request("GET", "/sleep")
    app.events.take(event: "stuck")
    app.ask("LIFELINE.write(\"nonsense\\nthreads\\n\"); nil")
    app.wait_for_line(/worker 1: the supervisor says 'nonsense' on the lifeline: unknown/)
    app.wait_for_line(/warn: worker 1 \(pid #{worker}\): its \d+ native threads:/)
    app.wait_for_line(/^  \d+ "push_lifeline": sleeping/)
    # The app tells that it sleeps just before it does.
    expect_eventually("the thread that sleeps to be in the log") do
      app.ask("LIFELINE.write(\"threads\\n\"); nil")
      app.output.match?(/^  \d+ ".*": sleeping in clock_nanosleep/)
    end
    expect(app.ask("Process.wait(#{worker}, Process::WNOHANG)")).to be_nil
  end
end
