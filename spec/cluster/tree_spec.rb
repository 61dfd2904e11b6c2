# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A server with workers", transport: :tcp do
  it "consists of a supervisor, a hub, a leader and the workers, all children of the supervisor" do
    start_cluster(Clusters::PIDS, workers: 3)

    expect(tree.children.map(&:role).tally).to eq(hub: 1, leader: 1, worker: 3)
    expect(workers.keys.sort).to eq([1, 2, 3])
    expect(File.read("/proc/#{app.pid}/cmdline").delete("\0")).to match(/\Apush_server: supervisor \[/)
  end

  it "has no leader with --no-preload: each worker loads the app itself" do
    start_cluster("$loaded_by = Process.pid\nrun ->(_) { [200, {}, [($loaded_by == Process.pid).to_s]] }", "--no-preload")

    expect(tree.children.map(&:role).tally).to eq(hub: 1, worker: 2)
    expect(get("/").body).to eq("true")
  end

  it "loads the app once with preload, and forks the workers from it" do
    start_cluster("$loaded_by = Process.pid\nrun ->(_) { [200, {}, [$loaded_by.to_s]] }")

    expect(answering).to eq(tree.leaders.map(&:pid))
  end

  [%w[--preload], %w[--no-preload]].each do |switches|
    it "answers from all workers, and tells the app that there are several: #{switches.first}" do
      start_cluster("run ->(env) { [200, {}, [Process.pid.to_s, env['rack.multiprocess'] ? '' : ' alone']] }", *switches)

      expect_eventually("an answer of each worker") { (answering & workers.values).size == 2 }
      expect(get("/").body).not_to include("alone")
    end

    it "runs the app with the options that were given: #{switches.first}" do
      start_cluster("run ->(env) { [200, {}, [env['rack.input'].read, ENV['RACK_ENV'].to_s]] }", "--max-body-size", "10", "-e", "production", *switches)

      expect(http.request("POST", "/", body: "x" * 11).status).to eq(413)
      expect(http.request("POST", "/", body: "small").body).to eq("smallproduction")
    end
  end

  it "also serves with one worker" do
    start_cluster(workers: 1)

    expect(answering).to eq(workers.values)
    expect(app.stop).to be_success
  end

  it "takes the number of workers from WEB_CONCURRENCY, and forks none without it" do
    start_app(Clusters::PIDS, env: { "WEB_CONCURRENCY" => "2" })
    app.wait_for_line(/All 2 workers serve/)
    expect(app.stop).to be_success
    start_app(Clusters::PIDS, env: { "WEB_CONCURRENCY" => nil })

    expect(tree.children).to be_empty
    expect(get("/").body.to_i).to eq(app.pid)
  end

  it "says in each line of the log which process has written it" do
    start_cluster("PushServer.log(:warn, 'loading')\nrun ->(_) { PushServer.log(:warn, 'serving'); [200, {}, []] }")
    get("/")

    expect_line(/\[leader\] loading/)
    expect_line(/\[worker [12]\] serving/)
    expect_line(/\[supervisor\] leader 1 \(pid \d+\) has loaded/)
  end

  it "serves on Unix sockets, and removes their files at its end" do
    Dir.mktmpdir("push_server-cluster") do |folder|
      start_cluster(Clusters::PIDS, "-b", "unix://#{folder}/app.sock")
      expect(File.socket?("#{folder}/app.sock")).to be(true)
      expect(app.stop).to be_success
      expect(Dir.children(folder)).to be_empty
    end
  end

  it "reaps the processes that the app leaves behind" do
    start_cluster(<<~'CONFIG')
      run(lambda do |_|
        reader, writer = IO.pipe
        middle = fork { writer.puts(fork { sleep }); exit! }
        Process.wait(middle)
        [200, {}, [reader.gets]]
      end)
    CONFIG
    orphan = get("/").body.to_i
    expect(alive?(orphan)).to be(true)
    Process.kill("KILL", orphan)

    expect_gone([orphan])
  end

  it "prints its start-up lines once, not once for each worker" do
    start_cluster
    app.stop

    expect(app.lines.grep(/Listening on/).size).to eq(1)
    expect(app.lines.last).to eq("* Stopped\n")
  end
end
