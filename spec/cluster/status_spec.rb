# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The commands status and stats, to a server with workers", transport: :tcp do
  include Command

  # Requests for /wait, new workers and loads are held until files are there, or gone.
  source = <<~'CONFIG'
    run(lambda do |env|
      if env["PATH_INFO"] == "/wait"
        $stdout.syswrite("begun in #{Process.pid}\n")
        sleep 0.01 until File.exist?("go")
      end
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG
  configuration = <<~'RUBY'
    control_socket "control.sock"
    before_worker_boot { sleep 0.01 while File.exist?("hold_boot") }
    # The first process that loads this then is the one that checks the new version.
    sleep 0.01 while File.exist?("hold_check") if File.exist?("hold_check") && (Dir.mkdir("checking") rescue false)
  RUBY

  before { start_cluster(source, files: { "config/push_server.rb" => configuration }) }

  def command(*words)
    result = push_server(*words, "--control-socket", File.join(app.dir, "control.sock"))
    raise result.err unless result.exitstatus.zero?

    result.out
  end

  def asked(command) = JSON.parse(command(command, "--json"), symbolize_names: true)

  # [number, generation, state] of each worker.
  def states = asked("status")[:workers].map { |worker| worker.values_at(:number, :generation, :state) }.sort

  def waiting_client
    http.tap do |client|
      client.send_request("GET", "/wait")
      @holding = app.wait_for_line(/begun in \d+/)[/\d+/].to_i
    end
  end

  def finish = File.write(File.join(app.dir, "go"), "")

  it "name the workers that drain while it stops" do
    client = waiting_client
    number = workers.key(@holding)
    app.signal("TERM")
    expect_eventually("one worker that drains") { tree.workers.size == 1 && states == [[number, 1, "leaving"]] }

    expect(command("status")).to match(/, process #{app.pid}, stopping, 0 workers$.*^  worker #{number}: pid #{@holding}, .*state leaving$/m)
    stats = asked("stats")
    expect(stats[:workers].map { |worker| worker.values_at(:number, :pid) }).to eq([[number, @holding]])
    expect(stats[:workers].first[:stats]).to include(requests: 1, open_connections: 1)
    expect(stats[:stats]).to include(requests: 1, open_connections: 1)
    finish
    expect(client.read_response.status).to eq(200)
    client.close
    expect(app.wait).to be_success
  end

  it "name the workers that boot and those that drain while they are replaced" do
    client = waiting_client
    number = workers.key(@holding)
    File.write(File.join(app.dir, "hold_boot"), "")
    app.signal("USR1")
    expect_eventually("new workers") { tree.workers.size == 4 }
    expect(asked("status")[:state]).to eq("restarting")
    expect(states).to eq([[1, 1, "ready"], [1, 2, "starting"], [2, 1, "ready"], [2, 2, "starting"]])
    requests = asked("stats")[:workers].to_h { |worker| [worker[:pid], worker[:stats][:requests]] }
    expect(requests).to eq(tree.workers.to_h { |worker| [worker.pid, worker.pid == @holding ? 1 : 0] })

    File.delete(File.join(app.dir, "hold_boot"))
    # The old ones drain one after the other, so both may be there.
    expect_eventually("a worker that drains") { ([[1, 2, "ready"], [2, 2, "ready"], [number, 1, "leaving"]] - states).empty? }
    expect(command("status")).to match(/, process #{app.pid}, restarting, 2 workers$/)
    expect(asked("stats")[:workers].map { |worker| worker[:pid] }).to include(@holding)
    finish
    expect(client.read_response.status).to eq(200)
    client.close
    app.wait_for_line(/the phased restart is done/)
    expect(asked("status")).to include(state: "serving", failure: nil)
  end

  it "say so while the new version is being checked" do
    File.write(File.join(app.dir, "hold_check"), "")
    app.signal("USR2")
    expect_eventually("the check") { File.directory?(File.join(app.dir, "checking")) }
    expect(asked("status")[:state]).to eq("restarting")
    expect(states).to eq([[1, 1, "ready"], [2, 1, "ready"]])

    File.delete(File.join(app.dir, "hold_check"))
    expect_eventually("the end of the restart") { asked("status")[:state] == "serving" }
    expect(states).to eq([[1, 2, "ready"], [2, 2, "ready"]])
  end
end
