# frozen_string_literal: true

require "spec_helper"

# The system gives no more threads because of `ulimit -u` or a container's limit on processes. The kernel does not apply such
# a limit to root, so the app changes to a user that has no other processes.
RSpec.describe "A server that can start no more threads" do
  # In Ruby 3.3, no other thread runs any more once a thread could not be made.
  before { skip "Ruby 3.3 itself hangs when it cannot make a thread" if RUBY_VERSION.start_with?("3.3.") }

  change_user = <<~'CONFIG'
    if Process.uid.zero?
      id = 100_000 + Process.pid
      Process::GID.change_privilege(id)
      Process::UID.change_privilege(id)
    end
  CONFIG

  app_of_few_threads = change_user + <<~'CONFIG'
    # WINCH forbids further threads, CONT allows them again.
    most = Process.getrlimit(:NPROC)
    limited = false
    trap("WINCH") do
      Process.setrlimit(:NPROC, 1, most.last)
      limited = true
      $stdout.syswrite("limited\n")
    end
    trap("CONT") do
      limited = false
      Process.setrlimit(:NPROC, *most)
    end
    # Ruby keeps the system's thread of an ended Thread for a moment. This occupies it.
    Thread.new do
      loop do
        sleep 0.001
        Thread.new { sleep } if limited
      rescue ThreadError
        next
      end
    end

    class Endless
      def each
        loop do
          yield "part\n"
          sleep 0.01
        end
      end
    end

    # Requests to /meetN wait until there are N.
    MET = Queue.new

    run(lambda do |env|
      path, number = env["PATH_INFO"].match(%r{\A/([a-z]*)(\d*)\z}).captures
      case path
      when "die"
        # After this number of requests.
        sleep 0.01 until PushServer.stats[:requests] >= number.to_i
        Thread.current.kill
      when "endless" then [200, {}, Endless.new]
      when "meet"
        MET << true
        sleep 0.01 until MET.size >= number.to_i
        [200, {}, ["met"]]
      else [200, {}, ["served"]]
      end
    end)
  CONFIG

  before { start_app(app_of_few_threads, "--threads", threads) }
  after { expect(app.stop).to be_success }

  def limit
    app.signal("WINCH")
    app.wait_for_line(/\Alimited$/)
  end

  # Kills threads until one cannot be replaced.
  def lose_a_worker
    eventually("a thread not to be replaced") do
      get("/die")
      app.lines.any? { |line| line.include?("cannot start a thread for the app") }
    end
  end

  context "with three threads" do
    let(:threads) { 3 }

    it "goes on with the threads it has, logs that once, and starts the others when it can" do
      limit
      lose_a_worker
      app.wait_for_line(/warn: cannot start a thread for the app: .*Going on with [12] and .*limit on threads/)
      expect(get("/").body).to eq("served")
      app.signal("CONT")
      app.wait_for_line(/all threads of the app run again/)
      meeting = Array.new(3) { http.send_request("GET", "/meet3") }
      expect(meeting.map { |client| client.read_response.body }).to all(eq("met"))
      expect(app.lines.grep(/cannot start a thread for the app/).size).to eq(1)
    end
  end

  context "with one thread" do
    let(:threads) { 1 }

    it "answers 503 while it has none, also to requests that wait already" do
      limit
      requests = 0
      refused = eventually("a thread not to be replaced") do
        dying = http.send_request("GET", "/die#{requests += 2}")
        waiting = http.send_request("GET", "/")
        expect(dying.read_response.status).to eq(500)
        response = waiting.read_response
        response if response.status == 503
      end
      expect(refused["retry-after"]).to eq("1")
      expect(get("/").status).to eq(503)
      expect { websocket }.to raise_error(WebSocketClient::Refused, /503/)
      app.signal("CONT")
      app.wait_for_line(/all threads of the app run again/)
      expect(get("/").body).to eq("served")
    end

    it "can stop without any" do
      limit
      lose_a_worker
      expect_eventually("a refusal") { get("/").status == 503 }
      expect(app.stop).to be_success
    end

    it "answers 503 while a long body occupies it, and serves again afterwards" do
      limit
      client = http
      client.send_request("GET", "/endless")
      client.read_head
      app.wait_for_line(/cannot start a thread for the app/)
      expect(get("/").status).to eq(503)
      client.connection.reset
      eventually("the thread to be free") { get("/").status == 200 }
    end
  end

  context "at its start" do
    let(:threads) { 1 }

    # Every limit up to the first that is high enough.
    it "prints one line and exits with 1" do
      source = change_user + <<~CONFIG
        limit = Integer(ENV.fetch("THREADS"))
        Process.setrlimit(:NPROC, limit, limit)
        run ->(_env) { [200, {}, ["served"]] }
      CONFIG
      refused = (1..20).take_while do |count|
        starting = launch_app(source, "--threads", "3", env: { "THREADS" => count.to_s })
        refusal = starting.wait_for_line(/Listening on|cannot start/).include?("cannot start")
        status = refusal ? starting.wait : starting.stop
        expect([count, status.exitstatus]).to eq([count, refusal ? 1 : 0])
        complaints = starting.lines.reject { |line| line.include?("cannot start the disk thread") }
        expect(complaints).to contain_exactly(/\Apush_server: cannot start .*limit/) if refusal
        refusal
      end
      expect(refused.size).to be_between(1, 15)
    end
  end
end
