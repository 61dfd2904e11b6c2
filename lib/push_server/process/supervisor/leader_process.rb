# frozen_string_literal: true

require_relative "failure"
require_relative "ruby_child"

module PushServer
  class Supervisor
    # The supervisor's view of a leader: the process that has loaded the app and forks workers. One thread.
    class LeaderProcess < RubyChild
      # Seconds that it has to end.
      PATIENCE = 5
      # Seconds between two lines about an app that is still loading.
      REMINDER = 30
      private_constant :PATIENCE, :REMINDER

      # @return [Integer] which load of the app it is
      attr_reader :generation

      # @param generation [Integer]
      # @param on_end [#call] is called when it has ended
      # @param former [Hash{Symbol => Object}, nil] of a leader that has loaded the app and was handed over; see {#handover}
      # @yieldparam failure [Failure, nil] nil: it has loaded the app
      def initialize(parts, generation, on_end, former = nil, &on_load)
        super(parts, former)
        @generation = generation
        @on_end = on_end
        @on_load = on_load
        @forking = {}
        former ? resume(former) : await_load
      end

      # @return [String] its name in the log
      def name = "leader #{generation}"

      # As {Child#handover}.
      def handover = super.merge(generation: generation)

      # Whether it can fork workers.
      def usable? = @loaded == true && !@leaving && !ended?

      # Forks a worker.
      # @param worker [WorkerProcess]
      def fork(worker)
        @forking[worker.process] = worker
        bound("it has not forked a worker")
        worker.hand_over { |link| send(:fork, fds: [link], number: worker.number, process: worker.process) }
      end

      # Has it end.
      def stop
        @leaving = true
        send(:stop)
        # Elsewhere it stays until its last worker has ended.
        kill_after(PATIENCE) if parts.adopts
      end

      private

      def await_load
        bound("it has not loaded the app")
        @reminder = parts.events.every(REMINDER) { PushServer.log(:info, "#{self} is still loading the app") }
      end

      # Kills it unless it has done this in time.
      def bound(what)
        seconds = parts.options[:worker_boot_timeout] or return

        kill_after(seconds) { give_up("#{what} within #{seconds} s (worker_boot_timeout)") }
      end

      def unbound = parts.events.cancel(@deadline)

      def resume(former)
        @loaded = true
        super
      end

      # Acts on a message of the leader.
      def received(message)
        case message.kind
        when "loaded" then loaded(message)
        when "failed" then fail_to_load(message)
        when "forked" then answer_fork(message) { |worker| worker.forked(message[:pid]) }
        when "exited" then parts.reaper.report(message[:pid], Reaper::Told.new(message[:status], message[:signal]))
        when "not_forked" then answer_fork(message) { |worker| worker.failed(message[:message]) }
        end
      end

      # It has forked a worker, or could not.
      def answer_fork(message)
        worker = @forking.delete(message[:process])
        unbound if @forking.empty? && !@leaving
        yield worker if worker
      end

      def loaded(message)
        @loaded = true
        parts.events.cancel(@reminder)
        unbound
        PushServer.log(:info, "#{self} has loaded #{message[:code]}")
        answer(nil)
      end

      def fail_to_load(message)
        failed(message[:message])
        answer(Failure.new(message[:message], message[:details], message[:usage]))
      end

      # Tells once how the load has ended.
      def answer(failure)
        on_load, @on_load = @on_load, nil
        on_load&.call(failure)
      end

      def finished(how)
        parts.events.cancel(@reminder)
        if @loaded && !@leaving
          PushServer.log(:warn, "#{self} ended #{how}. Another one is started when a worker is to be forked")
        end
        answer(Failure.new("the leader could not load the app: #{reason(how)}"))
        @forking.each_value { |worker| worker.failed("the leader has ended") }
        @on_end.call
      end
    end
  end
end
