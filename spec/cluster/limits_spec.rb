# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The limits of a server with workers", transport: :tcp do
  # Starts the server under a limit of open files, as a shell would.
  def start_with_few_files(files, workers, *options)
    options = options.map { |option| ", #{option.dump}" }.join
    exe = File.join(AppProcess::ROOT, "exe/push_server")
    start_app("exec 'sh', '-c', 'ulimit -n #{files}; exec \"$0\" \"$@\"', #{RbConfig.ruby.dump}, #{exe.dump}, '-w', '#{workers}', " \
              "'-b', 'tcp://127.0.0.1:0'#{options}, 'config.ru'", via: :ruby, files: { "config.ru" => Clusters::PIDS })
  end

  it "are logged in one line if the limit of open files allows few connections, and each worker accepts that many" do
    start_with_few_files(256, 2)
    app.wait_for_line(/All 2 workers serve/)

    expect_line(/each worker has at most 192 connections, because a process may have 256 open files \(max_connections is 65536\)/)
    expect(app.lines.grep(/open files/).size).to eq(1)
    clients = Array.new(300) { RawConnection.new(app.address) }
    clients.each(&:close)
    expect_eventually("answers of both workers") { answering.size == 2 }
    expect(app.stop).to be_success
  end

  it "refuse more workers than the limit of open files allows, in one line" do
    exe = File.join(AppProcess::ROOT, "exe/push_server")
    launch_app("exec 'sh', '-c', 'ulimit -n 100; exec \"$0\" \"$@\"', #{RbConfig.ruby.dump}, #{exe.dump}, '-w', '20', 'config.ru'",
               via: :ruby, files: { "config.ru" => Clusters::PIDS })

    expect(app.wait.exitstatus).to eq(1)
    expect(app.output).to match(/\Apush_server: 20 workers need about 208 open files in the supervisor, and the system's limit is 100/)
    expect(app.lines.size).to eq(1)
  end

  it "refuse one more worker at TTIN, too, in one line, and the server serves on" do
    start_with_few_files(64, 2)
    app.wait_for_line(/All 2 workers serve/)
    app.signal("TTIN")

    expect_line(/warn: .*cannot add a worker: 3 workers need about 72 open files.*the system's limit is 64/)
    expect(answering).to eq(workers.values.sort)
  end

  it "leave the hub files for workers, however many processes connect to publish" do
    start_with_few_files(64, 2, "--publish-socket", "publish.sock")
    app.wait_for_line(/All 2 workers serve/)
    before = workers.values
    # More than the hub may have open.
    publishers = Array.new(100) { UNIXSocket.new(File.join(app.dir, "publish.sock")) }
    before.each { |pid| Process.kill("KILL", pid) }

    expect_new_workers([1, 2], before: before)
    publishers.each(&:close)
    expect(app.stop).to be_success
    expect(app.output).not_to match(/hub cannot accept|too many files/)
  end

  it "of connections holds for each worker" do
    start_cluster("run ->(env) { env['rack.upgrade'] = Object.new; [200, {}, []] }", "--max-connections", 2)
    streams = Array.new(4) { sse("/") }

    expect(streams).to all(be_accepted)
  end

  # Begins a request that does not end. Returns the pid of its worker.
  def hold = http.send_request("GET", "/hold").read_head["x-pid"]

  # The pid of the worker that answers a request on a connection of its own.
  def answered_by
    client = http
    client.get("/")["x-pid"]
  ensure
    client&.close
  end

  # The response to "/hold" ends when the client has gone.
  held = <<~'CONFIG'
    class Held
      def each
        loop do
          yield "runs"
          sleep 0.01
        end
      end
    end

    run ->(env) { [200, { "x-pid" => Process.pid.to_s }, env["PATH_INFO"] == "/" ? ["done"] : Held.new] }
  CONFIG

  it "leave the connections that a full worker cannot serve to the others" do
    start_cluster(held, "--max-connections", 1)
    full = hold
    # For each of them both workers are woken, and the full one may be the first.
    pids = Array.new(20) { answered_by }

    expect(pids.uniq.size).to eq(1)
    expect(pids).not_to include(full)
  end

  it "lose no connection that waits for a full worker when the workers are replaced" do
    start_cluster(held, "--max-connections", 1)
    expect(Array.new(2) { hold }.uniq.size).to eq(2)
    waiting = Array.new(4) { http.send_request("GET", "/") }
    app.signal("USR1")
    statuses = waiting.map { |client| client.read_response.status.tap { client.close } }

    expect(statuses).to eq([200] * 4)
  end
end
