# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A phased restart", transport: :tcp do
  # Answers with what is in the file "code" when the app is loaded, and with pushes that stay open.
  app_with_code = <<~'CONFIG'
    CODE = File.read("code")
    raise CODE if CODE.start_with?("broken")

    class Greeter
      def on_open(client) = client.write("#{CODE} in #{Process.pid}")
      def on_shutdown(client) = client.write("shutdown")
    end

    run(lambda do |env|
      env["rack.upgrade"] = Greeter.new if env["rack.upgrade?"]
      [200, {}, [CODE]]
    end)
  CONFIG

  define_method(:start) do |*options, files: {}|
    start_cluster(app_with_code, *options, files: { "code" => "first", **files })
  end

  # What the next load of the app finds.
  def deploy(code) = File.write(File.join(app.dir, "code"), code)

  def codes(requests = 12) = Array.new(requests) { fetch }.uniq

  def restart(expected: "second")
    deploy(expected)
    app.signal("USR1")
    app.wait_for_line(/the phased restart is done/, seconds: 30)
  end

  # The status of each request, or its error, that clients have made while the block ran.
  def requests_during
    over = false
    clients = Array.new(2) do
      Thread.new { [].tap { |answers| answers << status until over } }
    end
    yield
    over = true
    clients.flat_map(&:value)
  end

  def status
    client = HttpClient.new(app.address)
    client.get("/").status
  rescue StandardError => e
    e
  ensure
    client&.close
  end

  [%w[--preload], %w[--no-preload], %w[--preload --restart-overlap 1], %w[--no-preload --restart-overlap 2]].each do |switches|
    describe "with #{switches.join(" ")}" do
      it "replaces all workers by new ones with new code, and refuses no request meanwhile" do
        start(*switches)
        before = workers.values
        answers = requests_during { restart }

        expect(answers.uniq).to eq([200])
        expect(codes).to eq(["second"])
        expect_gone(before)
        expect(workers.keys.sort).to eq([1, 2])
        expect(tree.leaders.size).to eq(switches.include?("--preload") ? 1 : 0)
      end

      it "is given up with one line if the app does not load, and the old workers serve on" do
        start(*switches)
        before = workers
        deploy("broken code")
        app.signal("USR1")
        line = app.wait_for_line(/the phased restart is given up/)

        expect(line).to match(/config.ru:2: broken code \(RuntimeError\)\. 2 old workers serve on/)
        expect(codes).to eq(["first"])
        expect_eventually("the old workers only") { workers == before }
        expect_eventually("no other process") { (tree.children.map(&:pid) - before.values).size == (switches.include?("--preload") ? 2 : 1) }
        restart
        expect(codes).to eq(["second"])
      end

      it "is given up with one line if a new worker does not boot" do
        start(*switches, files: { "config/push_server.rb" => "before_worker_boot { |n| raise 'no luck' if File.read('code') == 'bad' && n == 1 }" })
        before = workers
        deploy("bad")
        app.signal("USR1")

        expect(app.wait_for_line(/the phased restart is given up/)).to match(/worker 1: before_worker_boot .* raises: no luck \(RuntimeError\)\. 2 old workers/)
        expect_eventually("the old workers only") { workers == before && tree.workers.size == 2 && codes == ["first"] }
      end
    end
  end

  it "replaces also a worker whose successor gets TERM while others boot" do
    start(files: { "config/push_server.rb" => "before_worker_boot { |n| sleep 0.01 until n == 1 || CODE == 'first' || File.exist?('go') }" })
    before = workers.values
    deploy("second")
    app.signal("USR1")
    expect_eventually("a new worker that serves") { codes.include?("second") }
    successor = tree.workers.find { |worker| worker.number == 1 && !before.include?(worker.pid) }.pid
    Process.kill("TERM", successor)
    expect_gone([successor])
    expect(before.all? { |pid| alive?(pid) }).to be(true)
    File.write(File.join(app.dir, "go"), "")
    app.wait_for_line(/the phased restart is done/, seconds: 30)

    expect(codes).to eq(["second"])
    expect(workers.keys.sort).to eq([1, 2])
    expect_gone(before)
  end

  # No thread runs in an old worker when the new ones are ready. Its core still accepts connections.
  busy = <<~'CONFIG'
    require "fiddle"
    pause = Fiddle::Function.new(Fiddle.dlopen(nil)["usleep"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT, need_gvl: true)
    before_worker_boot do |number|
      if File.read("code") == "second"
        File.write("booting", "")
      elsif number == 2
        Thread.new do
          sleep 0.01 until File.exist?("booting")
          pause.call(1_500_000)
        end
      end
    end
  CONFIG

  { "" => {}, ", also if an old worker is busy" => { "config/push_server.rb" => busy } }.each do |title, files|
    it "disconnects each stream once, with 1012, and its client comes back to a new worker#{title}" do
      start("--drain-timeout", 5, files: files)
      streams = Array.new(12) { websocket("/") }
      greetings = streams.map(&:read_message)
      expect(greetings.map { |text| text[/\d+/].to_i }.uniq.sort).to eq(workers.values.sort)
      deploy("second")
      app.signal("USR1")
      # At the same time: the old workers drain one after the other, and each waits for its clients to answer its Close frame.
      again = streams.map do |stream|
        Thread.new do
          expect(stream.read_message).to eq("shutdown")
          expect(stream.read_close.first).to eq(1012)
          stream.send_close(1012)
          websocket("/")
        end
      end.map(&:value)
      app.wait_for_line(/the phased restart is done/)

      expect(again.map(&:read_message)).to all(start_with("second in"))
      again.each { |stream| stream.ping("still here") }
      expect(again.map { |stream| stream.read_until_frame(:pong).payload }).to all(eq("still here"))
    end
  end

  it "lets the old workers finish their requests, while the new ones serve" do
    start_cluster(<<~'CONFIG', files: { "code" => "first" })
      code = File.read("code")
      run ->(env) { sleep 0.01 until env["PATH_INFO"] == "/" || File.exist?("go"); [200, {}, [code]] }
    CONFIG
    slow = http
    slow.send_request("GET", "/slow")
    deploy("second")
    app.signal("USR1")
    expect_eventually("new code only") { codes == ["second"] }
    File.write(File.join(app.dir, "go"), "")

    expect(slow.read_response.body).to eq("first")
    app.wait_for_line(/the phased restart is done/)
  end

  it "follows another one that runs already" do
    start
    deploy("second")
    app.signal("USR1")
    app.wait_for_line(/phased restart: the app is loaded anew/)
    deploy("third")
    app.signal("USR1")
    app.wait_for_line(/a phased restart runs already, and another restart follows it/)

    expect_eventually("the newest code") { codes == ["third"] }
    expect_line(/the phased restart is done: generation 3/)
  end

  it "ends at once when the server stops" do
    start
    deploy("second")
    app.signal("USR1")
    app.wait_for_line(/phased restart: the app is loaded anew/)

    expect(app.stop).to be_success
    expect(app.output).not_to match(/error|warn/)
  end

  it "goes on when an old worker, the old leader or the hub is killed meanwhile" do
    start("--drain-timeout", 2)
    streams = Array.new(4) { websocket("/") }
    streams.each(&:read_message)
    old = workers
    pids = [tree.leaders.first.pid, tree.hub.pid, old.fetch(2)]
    deploy("second")
    app.signal("USR1")
    pids.each { |pid| Process.kill("KILL", pid) }
    app.wait_for_line(/the phased restart is done/)

    expect(codes).to eq(["second"])
    expect_gone([*pids, *old.values])
  end

  it "is given up if the new leader is killed while it loads the app" do
    start_cluster("sleep if File.exist?('slow')\n#{Clusters::PIDS}")
    before = workers
    File.write(File.join(app.dir, "slow"), "")
    app.signal("USR1")
    new_leader = eventually("a second leader") { tree.leaders.find { |leader| leader.number == 2 } }
    Process.kill("KILL", new_leader.pid)

    expect_line(/the phased restart is given up: the leader could not load the app: it ended by the signal KILL. 2 old workers serve on/)
    expect(answering).to eq(before.values.sort)
  end

  it "replaces a worker that uses too much memory, one at a time" do
    start_cluster(<<~'CONFIG', "--worker-max-memory", "150MiB", workers: 2)
      run ->(env) { $kept = "x" * (200 << 20) if env["PATH_INFO"] == "/grow"; [200, {}, [Process.pid.to_s]] }
    CONFIG
    grown = fetch("/grow").to_i

    expect_line(/worker \d \(pid #{grown}\) is replaced: it uses \d+ MiB, and may use 150 MiB \(worker_max_memory\)/)
    expect_gone([grown])
    expect_eventually("two workers") { answering.size == 2 }
  end
end
