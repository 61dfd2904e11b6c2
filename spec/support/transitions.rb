# frozen_string_literal: true

require "json"
require "socket"
require "timeout"
require_relative "app_process"
require_relative "http_client"

# A server with workers that is held in the middle of a transition, while signals arrive. Whatever comes of it, the server must then
# serve with the number of workers that it should have, or have stopped; it must neither hang nor leave a process behind.
class Transitions
  # Each waits while a file "hold_…" is there.
  APP = <<~'CONFIG'
    sleep 0.01 while File.exist?("hold_load")
    run(lambda do |env|
      $stdout.syswrite("held in #{Process.pid}\n") if env["PATH_INFO"] == "/held"
      sleep 0.01 while env["PATH_INFO"] == "/held" && File.exist?("hold_request")
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  # The process that checks a new version waits, too; the others load this at once.
  CONFIGURATION = <<~'RUBY'
    control_socket "control.sock"
    drain_timeout 20
    if File.exist?("hold_check") && (Dir.mkdir("checking") rescue false)
      sleep 0.01 while File.exist?("hold_check")
    end
    before_worker_boot do |number|
      sleep 0.01 while File.exist?("hold_boot")
      raise "no luck" if number == 2 && File.exist?("crash")
    end
  RUBY

  # Those before the first worker serves. The server is started in them.
  STARTING = %i[first_load first_boot].freeze
  # Those of a server that serves.
  SERVING = %i[serving loading booting draining_old_workers checking executing draining_a_worker crashing leader_loading hub_dead
               hub_suspended leader_suspended worker_suspended].freeze
  # The server ends after it, whatever arrives.
  STOPPING = :stopping
  ALL = [*STARTING, *SERVING, STOPPING].freeze

  # Those that end the server, and those that do not.
  STOPS = %w[TERM INT QUIT].freeze
  OTHERS = %w[USR1 USR2 HUP TTIN TTOU PWR].freeze

  PATIENCE = 60

  attr_reader :app

  # @param launch [#call] starts an app: called with the arguments of AppProcess.new, and returns the AppProcess
  def initialize(random, preload:, launch:)
    @random, @preload, @launch = random, preload, launch
    @wanted = 2
  end

  # Gets the server to a state, sends it signals there, lets it go on, and waits until it serves again or has ended.
  # @param target [#call] as in Clusters::TARGETS
  # @return [String, nil] what is wrong
  def cross(state, signals, target)
    @what = "#{signals.join(", ")} while #{state}, #{@preload ? "with" : "without"} preload"
    start(state) unless @app&.running?
    @executes = %i[checking executing].include?(state) || signals.include?("USR2")
    @added = signals.count("TTIN")
    send(state)
    pids = [@app.pid, *@app.tree.children.map(&:pid)]
    signals.each do |signal|
      sleep(@random.rand * 0.02) # Not to wait for something, but to vary the moment.
      target.call(pids, signal)
      count(signal)
    end
    release
    stops = (signals & STOPS).any? || state == STOPPING
    stops ? await_end(state, signals) : await_whole
  rescue Deadline::Missed, RawConnection::Ended, SystemCallError => e
    "#{@what}: #{e.class}: #{e.message}\n#{@app&.output.to_s.lines.last(40).join}\n#{@app&.tree&.children&.map(&:to_a)}"
  end

  # Ends what is left. @return [Process::Status, nil]
  def stop = (@app.stop if @app&.running?)

  private

  # The first ones hold the server while it starts.
  def start(state)
    @wanted = 2
    @former = nil
    files = { "config/push_server.rb" => CONFIGURATION }
    files["hold_load"] = "" if state == :first_load
    files["hold_boot"] = "" if state == :first_boot
    @app = @launch.call(APP, "-w", 2, *(@preload ? [] : ["--no-preload"]), files: files)
    return if STARTING.include?(state)

    @app.wait_until_listening
    await_whole
  end

  # The states.

  def first_load = await("the load") { @app.tree.all(@preload ? :leader : :worker).any? }
  def first_boot = await("the boot") { workers.size == 2 }
  def serving = nil

  def loading
    hold("load")
    before = processes
    @app.signal("USR1")
    await("the load") { (processes - before).any? }
  end

  def booting
    hold("boot")
    before = workers
    @app.signal("USR1")
    await("the boot") { (workers - before).any? }
  end

  def draining_old_workers
    ask_and_hold
    @app.signal("USR1")
    await("the drain") { status[:workers].any? { |worker| worker.values_at(:pid, :state) == [@held, "leaving"] } }
  end

  def checking
    hold("check")
    @app.signal("USR2")
    await("the check") { File.directory?(path("checking")) }
  end

  # From here on, a signal may come before the exec, after it, or between both programs.
  def executing
    lines = @app.lines.size
    @app.signal("USR2")
    await("the exec") { @app.lines.drop(lines).grep(/restart: executing/).any? }
  end

  def draining_a_worker
    ask_and_hold
    Process.kill("TERM", @held)
    await("the drain") { status[:workers].any? { |worker| worker.values_at(:pid, :state) == [@held, "leaving"] } }
  end

  def crashing
    hold_file("crash")
    lines = @app.lines.size
    kill(workers_by_number[2] || workers.first)
    return if @wanted < 2

    await("a crash") { @app.lines.drop(lines).grep(/worker 2 .*no luck/).any? }
  end

  # Without preload, it is the worker that loads the app.
  def leader_loading
    hold("load")
    before = processes
    @app.tree.leaders.each { |leader| kill(leader.pid) }
    kill(workers.first)
    await("the load") { (processes - before).any? }
  end

  def hub_dead = kill(@app.tree.hub.pid)
  def hub_suspended = suspend(@app.tree.hub.pid)
  def leader_suspended = @app.tree.leaders.each { |leader| suspend(leader.pid) }
  def worker_suspended = suspend(workers.first)

  def stopping
    ask_and_hold
    @app.signal(STOPS.sample(random: @random))
    await("the stop") { status[:state] == "stopping" }
  end

  # What they need.

  def hold(what) = hold_file("hold_#{what}")
  def hold_file(name) = File.write(path(name), "")

  # A request that holds its worker.
  def ask_and_hold
    hold("request")
    lines = @app.lines.size
    @client = HttpClient.new(@app.address).send_request("GET", "/held")
    await("the request") { @held = @app.lines.drop(lines).join[/held in (\d+)/, 1]&.to_i }
  end

  def release
    %w[hold_load hold_boot hold_request hold_check crash].each { |name| FileUtils.rm_f(path(name)) }
    suspended, @suspended = @suspended, nil
    suspended&.each { |pid| signal("CONT", pid) }
  end

  def kill(pid) = signal("KILL", pid)

  def suspend(pid)
    (@suspended ||= []) << pid
    signal("STOP", pid)
  end

  def signal(name, pid)
    Process.kill(name, pid)
  rescue Errno::ESRCH
    nil
  end

  def count(signal)
    case signal
    when "TTIN" then @wanted += 1
    when "TTOU" then @wanted = [@wanted - 1, 1].max
    end
  end

  # What must be.

  # Only the workers that there should be, one hub, at most one leader, and no other child.
  def await_whole
    @app.wait_until_listening unless @app.address
    await("the server to be whole") do
      answer = status(patience: 10)
      numbers = answer[:workers].map { |worker| worker[:number] }.sort
      answer[:state] == "serving" && wanted?(numbers) && answer[:workers].all? { |worker| worker[:state] == "ready" } &&
        children_in_order? && answers? && (@wanted = numbers.size)
    end
    drop_client
    FileUtils.rm_rf(path("checking"))
    nil
  end

  # USR2 takes the number from the configuration anew, whether TTIN and TTOU came before or after that.
  def wanted?(numbers)
    numbers == (1..(@executes ? numbers.size : @wanted)).to_a && (!@executes || numbers.size.between?(1, [@wanted, 2].max + @added))
  end

  def children_in_order?
    children = @app.tree.children
    children.count { |child| child.role == :hub } == 1 && children.count { |child| child.role == :leader } <= 1 &&
      children.size == processes.size
  end

  def answers?
    client = HttpClient.new(@app.address)
    client.get("/").status == 200
  ensure
    client&.close
  end

  def await_end(state, signals)
    @client&.then { |client| client.connection.ending(seconds: PATIENCE) if (signals & STOPS).size + (state == STOPPING ? 1 : 0) > 1 }
    drop_client
    status = @app.wait(seconds: PATIENCE)
    await("no process to be left") { in_group.empty? }
    "#{@what}: ended with #{status}\n#{@app.output.lines.last(40).join}" unless ended_well?(status, state, signals)
  end

  # A stop is graceful, a second one is not. Between two programs, it is what the system does.
  def ended_well?(status, state, signals)
    stops = (signals & STOPS).size + (state == STOPPING ? 1 : 0)
    return true if status.success? || (stops > 1 && status.exitstatus == 1)

    %i[executing checking].include?(state) && STOPS.include?(status.termsig && Signal.signame(status.termsig))
  end

  def drop_client
    @client&.close
    @client = nil
  end

  def workers = @app.tree.workers.map(&:pid)
  def workers_by_number = @app.tree.workers.to_h { |worker| [worker.number, worker.pid] }

  # All children of the supervisor, also those without a title yet.
  def processes
    Dir.glob("/proc/#{@app.pid}/task/*/children").flat_map { |file| File.read(file).split.map(&:to_i) }
  rescue SystemCallError
    []
  end

  def in_group
    Dir.children("/proc").grep(/\A\d+\z/).select do |pid|
      state, _, group = File.read("/proc/#{pid}/stat")[/\) (.*)/m, 1].split
      group.to_i == @app.pid && state != "Z"
    rescue SystemCallError
      false
    end
  end

  def path(name) = File.join(@app.dir, name)

  # What `push_server status --json` has; empty if nobody answers.
  def status(patience: PATIENCE)
    socket = UNIXSocket.new(path("control.sock"))
    socket.write("#{JSON.generate(command: "status")}\n")
    answers = Timeout.timeout(patience) { socket.read.lines }
    answers.empty? ? { workers: [] } : { workers: [], **JSON.parse(answers.last, symbolize_names: true) }
  rescue Errno::ENOENT, Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::EPIPE
    { workers: [] }
  ensure
    socket&.close
  end

  def await(what)
    deadline = Deadline.in(PATIENCE)
    until yield
      deadline.check!("#{what}; the server says #{status(patience: 5)}, and #{@wanted} workers are wanted") if deadline.passed?
      raise Deadline::Missed, "the server has ended before #{what}" unless @app.running? || what.include?("left")

      sleep 0.02
    end
  end
end
