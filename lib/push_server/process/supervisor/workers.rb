# frozen_string_literal: true

require_relative "backoff"
require_relative "process_numbers"
require_relative "worker_process"

module PushServer
  class Supervisor
    # The workers: keeps as many running as there should be. One thread.
    class Workers
      # The place of one worker. `worker` serves, or is about to; `successor` is started to take its place at a restart. A place
      # that is `waiting` gets a worker later.
      Place = Struct.new(:number, :backoff, :worker, :successor, :waiting) do
        # Whether a worker is to be started.
        def vacant? = worker.nil? && successor.nil? && !waiting

        # The workers that are there.
        def all = [worker, successor].compact
      end
      private_constant :Place

      # @return [Integer] how many there should be
      attr_reader :size

      # @param parts [Parts]
      # @param generations [Generations]
      # @param watcher [#workers_changed, #load_failed] `load_failed(failure)` returns whether that is the end
      def initialize(parts, generations, watcher)
        @parts = parts
        @generations = generations
        @watcher = watcher
        @size = parts.options[:workers]
        @places = {}
        @leaving = []
        # What is to be called when something happens to a worker.
        @observers = {}.compare_by_identity
        @numbers = ProcessNumbers.new
      end

      # @return [Array<WorkerProcess>] all that have not ended
      def all = [*@places.values.flat_map(&:all), *@leaving]

      # @return [Array<WorkerProcess>] those that serve, in the order of their places
      def serving = @places.values.filter_map(&:worker).select(&:ready?)

      # Whether as many serve as should.
      def complete? = serving.size == size

      # What {#resume} needs to go on after an exec; see {State}. Workers that do not serve yet are not among it, and are killed.
      # @return [Hash{Symbol => Object}]
      def handover
        kept = all.select { |worker| worker.pid && worker.serves? }
        (all - kept).each do |worker|
          @parts.hub.detach(worker)
          worker.kill
        end
        { last_process: @numbers.last, workers: kept.map(&:handover) }
      end

      # Goes on with what was handed over. Workers that are to end are told again. Of two workers of one place, the second
      # one ends, too.
      # @param former [Hash{Symbol => Object}]
      def resume(former)
        @numbers = ProcessNumbers.new(former[:last_process])
        former[:workers].each do |fields|
          worker = WorkerProcess.resume(@parts, fields) { |*change| changed(*change) }
          @parts.hub.adopt(worker)
          worker.leaving? || place(worker.number).worker ? @leaving << worker : place(worker.number).worker = worker
        end
        @parts.slots.keep(all)
        @leaving.each { |worker| worker.drain("restart", @parts.options[:drain_timeout]) }
      end

      # Starts a worker in each vacant place.
      def fill
        return if @stopping

        (1..size).each { |number| place(number) }
        @places.each_value { |place| start(place) if place.vacant? }
      end

      # Changes how many there should be. Those with the highest numbers are drained.
      # @param size [Integer] at least 1
      def resize(size)
        @size = size
        drain_surplus
        fill
      end

      # Drains the workers of places that there should not be any more.
      def drain_surplus
        surplus = @places.values.select { |place| place.number > size }
        surplus.each { |place| @places.delete(place.number) }.flat_map(&:all).each { |worker| drain(worker, "restart") }
      end

      # Drains a worker, and starts another one in its place.
      # @param reason ["restart", "stop"] what clients are told
      # @yield when it has ended
      def drain(worker, reason, &on_end)
        return on_end&.call if worker.ended?

        leave(worker)
        @observers[worker] = ->(event, _) { on_end.call if event == :ended } if on_end
        worker.drain(reason, @parts.options[:drain_timeout])
        fill
      end

      # Drains all workers, and starts no more.
      def stop
        @stopping = true
        all.each { |worker| drain(worker, "stop") }
      end

      # Ends all workers at once.
      def stop_now
        @stopping = true
        all.each { |worker| leave(worker) }
        @leaving.each(&:stop)
      end

      # For a restart: the places whose worker is not of this generation.
      # @param generation [Generations::Generation]
      # @return [Array<Integer>] their numbers
      def outdated(generation)
        (1..size).reject { |number| place(number).worker&.generation == generation.number }
      end

      # For a restart: whether there is still such a place.
      def place?(number) = @places.key?(number)

      # For a restart: starts a worker beside the one that has the place.
      # @param number [Integer] of the place
      # @yieldparam event [:ready, :leaving, :ended] nothing follows the last two
      # @yieldparam reason [String, nil] why it has ended
      def start_successor(number, generation, &observer)
        place = @places.fetch(number)
        place.successor = make(place, generation)
        @observers[place.successor] = observer
        launch(place.successor, generation)
      rescue SystemCallError => e
        observer.call(:ended, e.message)
      end

      # For a restart: gives the place to the successor.
      # @return [WorkerProcess, nil] the worker before it, which is to be retired
      def promote(number)
        place = @places[number] or return
        @observers.delete(place.successor)
        former, place.worker, place.successor = place.worker, place.successor, nil
        @leaving << former if former
        former
      end

      # For a restart: has workers accept no more connections.
      # @param former [Array<WorkerProcess>]
      # @yield when none of them does
      def retire(former)
        left = former.size
        return yield if left.zero?

        former.each do |worker|
          @observers[worker] = ->(*) { yield if (left -= 1).zero? }
          worker.retire
        end
      end

      # For a restart that is given up: drains the successors.
      def drop_successors
        successors = @places.values.filter_map(&:successor)
        successors.each do |worker|
          @observers.delete(worker)
          drain(worker, "restart")
        end
      end

      private

      def place(number) = @places[number] ||= Place.new(number, Backoff.new)

      def start(place)
        place.waiting = true
        @generations.with_current do |generation, failure|
          place.waiting = false
          next unless @places[place.number].equal?(place) && place.vacant? && !@stopping
          next unable(place, failure) if failure

          fill_place(place, generation)
        end
      end

      def fill_place(place, generation)
        place.worker = make(place, generation)
        launch(place.worker, generation)
      rescue SystemCallError => e
        retry_later(place, 0, "cannot start worker #{place.number}: #{e.message}")
      end

      def make(place, generation)
        WorkerProcess.new(@parts, place.number, @numbers.next(all.map(&:process)), generation.number) do |worker, event, reason|
          changed(worker, event, reason)
        end
      end

      def launch(worker, generation)
        statistics = @parts.slots.take(worker)
        certificates, keys = @parts.encryption.files
        worker.boot(fds: [*@parts.sockets, certificates, keys, statistics].compact, number: worker.number,
                    process: worker.process, generation: worker.generation, listeners: @parts.descriptions,
                    encrypted: !keys.nil?, statistics: !statistics.nil?, **@parts.settings)
        certificates&.close
        @parts.hub.attach(worker)
        generation.start(worker)
      end

      def changed(worker, event, reason)
        case event
        when :leaving then drain(worker, "restart")
        when :ended then remove(worker, reason)
        end
        # The observer is not told what happens to a worker that drains. It may set another observer.
        observer = event == :ready ? @observers[worker] : @observers.delete(worker)
        observer&.call(event, reason)
        fill
        @watcher.workers_changed
      end

      # The worker gives its place up.
      def leave(worker)
        @places.each_value do |place|
          place.worker = nil if place.worker.equal?(worker)
          place.successor = nil if place.successor.equal?(worker)
        end
        @leaving << worker unless @leaving.include?(worker)
      end

      def remove(worker, reason)
        @parts.hub.detach(worker)
        @parts.slots.release(worker)
        place = @places.values.find { |other| other.worker.equal?(worker) }
        successor = @places.values.find { |other| other.successor.equal?(worker) }
        if place
          place.worker = nil
          lost(place, worker, reason)
        elsif successor
          successor.successor = nil
        else
          @leaving.delete(worker)
        end
      end

      def lost(place, worker, reason)
        return if worker.load_failure && @watcher.load_failed(worker.load_failure)

        @parts.slots.count(:worker_restarts) unless @stopping
        retry_later(place, worker.age, "#{worker}: #{reason}")
      end

      def unable(place, failure)
        retry_later(place, 0, "cannot start worker #{place.number}: #{failure.message}") unless @watcher.load_failed(failure)
      end

      def retry_later(place, age, what)
        wait = place.backoff.next(age)
        PushServer.log(:error, "#{what}. It is started again #{Backoff.describe(wait)}") unless @stopping
        place.waiting = true
        @parts.events.after(wait) do
          place.waiting = false
          fill
        end
      end
    end
  end
end
