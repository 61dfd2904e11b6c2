# frozen_string_literal: true

require_relative "../process_tree"

class ProcessStorm
  # What happens to the processes during a storm. Each fault is followed by a wait until the server is whole again, so that a
  # failure can be told from one that the next fault excuses.
  class Faults
    # name: of the method. from and to: when it began, and when the server was whole again. broken: whether it has killed or
    # stopped a worker or the hub, which may cost requests and connections. double: whether the hub died together with a worker.
    Event = Struct.new(:name, :from, :to, :broken, :double)

    # Those that may break requests and connections.
    BREAKING = %i[kill_worker stop_worker kill_hub kill_hub_twice stop_hub kill_hub_and_worker kill_hub_and_stop_worker kill_two_workers
                  phased_restart_and_kill_worker phased_restart_and_kill_hub restart_and_kill_worker restart_and_kill_hub].freeze
    HARMLESS = %i[phased_restart phased_restart_twice phased_restart_and_kill_leader restart restart_and_kill_leader
                  kill_leader stop_leader end_worker].freeze
    # A worker that does not answer a new hub counts as one that has died.
    DOUBLE = %i[kill_hub_and_worker kill_hub_and_stop_worker].freeze
    ALL = (BREAKING + HARMLESS).freeze
    # Those of a short storm: each process is killed and stopped, alone and in a restart.
    SHORT = %i[kill_worker stop_worker kill_hub stop_hub kill_leader stop_leader end_worker kill_hub_and_worker kill_hub_and_stop_worker
               phased_restart restart phased_restart_and_kill_worker phased_restart_and_kill_leader restart_and_kill_hub].freeze
    # Seconds after which nothing is an effect of a fault any more. A busy machine may tell of it late.
    LATE = 5

    PATIENCE = 60

    attr_reader :events

    # ready: asks whether the server publishes.
    def initialize(app, random, workers:, kinds: ALL, &ready)
      @app, @random, @workers, @kinds, @ready = app, random, workers, kinds, ready
      @tree = app.tree
      @events = []
      @stopped = []
    end

    # Each kind once, in a random order, or as many as the time allows.
    def run(seconds: nil)
      deadline = seconds && Deadline.in(seconds)
      await_whole("start")
      loop do
        @kinds.shuffle(random: @random).each do |kind|
          break if deadline&.passed?

          cause(kind)
        end
        break if deadline.nil? || deadline.passed?
      end
    end

    # Lets stopped processes go on.
    def finish
      @stopped.dup.each { |pid| continue(pid) }
    end

    # Whether a fault may have broken what a client did between two times.
    def excuse?(from, to) = @events.any? { |event| event.broken && event.from <= to && (event.to.nil? || event.to + LATE >= from) }

    # Whether something happened there at all.
    def excuse_gap?(gap)
      @events.any? do |event|
        event.double && event.from <= gap.at && (gap.epochs.uniq.size > 1 || (event.to || gap.at) + LATE >= gap.silent_since)
      end
    end

    # What happened at a time, for people.
    def during(time)
      event = @events.reverse.find { |other| other.from <= time } or return
      " (#{(time - event.from).round(2)} s after #{event.name} began, which took #{event.to ? (event.to - event.from).round(2) : "longer"} s)"
    end

    def doubles = @events.count(&:double)

    private

    def cause(kind)
      sleep(@random.rand * 0.5)
      event = Event.new(kind, ProcessStorm.now, nil, BREAKING.include?(kind), DOUBLE.include?(kind))
      @events << event
      ProcessStorm.trace("fault #{kind}")
      send(kind)
      await_whole(kind)
      event.to = ProcessStorm.now
      ProcessStorm.trace("whole again after #{(event.to - event.from).round(2)} s")
    end

    def phased_restart = replace_all("USR1")
    def restart = replace_all("USR2")

    def phased_restart_twice
      @app.signal("USR1")
      sleep(@random.rand)
      phased_restart
    end

    def replace_all(signal)
      before = @tree.workers.map(&:pid)
      @app.signal(signal)
      await("all workers to be replaced") { (@tree.workers.map(&:pid) & before).empty? }
    end

    def kill_worker = kill(worker)

    def kill_two_workers
      @tree.workers.sample(2, random: @random).each { |child| kill(child) }
    end

    def stop_worker = suspend(worker, @random.rand(3) * 1.5)

    # Shorter than the time after which publishes fail.
    def stop_hub = suspend(hub, @random.rand * 1.5)
    def kill_hub = kill(hub)

    def kill_hub_twice
      kill_hub
      await("another hub") { hub }
      sleep(@random.rand * 0.1)
      kill_hub if hub
    end

    def kill_hub_and_stop_worker
      stopped = worker
      kill_hub
      suspend(stopped, @random.rand * 3)
    end

    def kill_hub_and_worker
      pair = [worker, hub].shuffle(random: @random)
      pair.each { |child| kill(child) }
    end

    def kill_leader = @tree.leaders.each { |child| kill(child) }
    def stop_leader = @tree.leaders.each { |child| suspend(child, @random.rand) }
    def end_worker = signal("TERM", worker)

    # In the midst of a restart.
    { phased_restart: "USR1", restart: "USR2" }.each do |restart, signal|
      %i[worker leader hub].each do |role|
        define_method(:"#{restart}_and_kill_#{role}") do
          @app.signal(signal)
          sleep(@random.rand * 2)
          child = @tree.all(role).sample(random: @random)
          kill(child) if child
        end
      end
    end

    def worker = @tree.workers.sample(random: @random)
    def hub = @tree.hub

    def kill(child)
      signal("KILL", child)
      await("#{child.role} #{child.pid} to end") { @tree.children.none? { |other| other.pid == child.pid } }
    end

    def suspend(child, seconds)
      @stopped << child.pid
      signal("STOP", child)
      sleep(seconds)
    ensure
      continue(child.pid)
    end

    def continue(pid)
      Process.kill("CONT", pid)
    rescue Errno::ESRCH
      nil
    ensure
      @stopped.delete(pid)
    end

    def signal(name, child)
      ProcessStorm.trace("  #{name} to #{child.role} #{child.number} #{child.pid}")
      Process.kill(name, child.pid)
    rescue Errno::ESRCH
      nil
    end

    # There is a hub, and one worker for each number, and publishing works.
    def await_whole(after)
      await("the server to be whole again after #{after}") do
        numbers = @tree.workers.map(&:number)
        numbers.sort == (1..@workers).to_a && @tree.all(:hub).size == 1 && @ready.call
      end
    end

    def await(what)
      deadline = Deadline.in(PATIENCE)
      until yield
        raise Deadline::Missed, "gave up waiting for #{what}; the processes: #{@tree.children.map(&:to_a)}" if deadline.passed?

        sleep 0.05
      end
    end
  end
end
