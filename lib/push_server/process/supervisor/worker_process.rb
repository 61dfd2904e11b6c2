# frozen_string_literal: true

require_relative "failure"
require_relative "ruby_child"

module PushServer
  class Supervisor
    # The supervisor's view of a worker. One thread.
    #
    # Its state is `:starting`, then `:ready` once it serves, then `:leaving` once it is to end.
    class WorkerProcess < RubyChild
      # Seconds beyond the time for a drain, and after an order to end at once, until it is killed.
      PATIENCE = 5
      # Seconds from its TERM until it is told to drain. If the supervisor gets TERM, too, it has stopped the server by then.
      DECISION = 0.1
      # Seconds until a worker that has not said so is taken to accept no more connections: if it is stopped, it accepts none.
      RETIREMENT = 5
      private_constant :PATIENCE, :DECISION, :RETIREMENT

      # @return [Integer] from 1; the worker that takes its place has the same
      attr_reader :number
      # @return [Integer] which start of a worker this is; no two have the same
      attr_reader :process
      # @return [Integer] which load of the app it runs
      attr_reader :generation
      # @return [:starting, :ready, :leaving]
      attr_reader :state
      # @return [Failure, nil] why it could not load the app
      attr_reader :load_failure
      # @return [Float] when Ruby has last answered in it: seconds of the monotonic clock
      attr_reader :heard_at

      # A worker that was handed over. It serves, or is to end.
      # @param former [Hash{Symbol => Object}] see {#handover}
      # @yield as {#initialize}
      def self.resume(parts, former, &on_event)
        new(parts, *former.values_at(:number, :process, :generation), former, &on_event)
      end

      # @param process [Integer]
      # @yieldparam worker [WorkerProcess] this
      # @yieldparam event [:ready, :leaving, :retired, :ended]
      # @yieldparam reason [String, nil] why it has ended, for the log
      def initialize(parts, number, process, generation, former = nil, &on_event)
        super(parts, former)
        @number = number
        @process = process
        @generation = generation
        @on_event = on_event
        @state = :starting
        @heard_at = began_at
        former ? resume(former) : bound_boot
      end

      # As {Child#handover}.
      def handover = super.merge(number: number, process: process, generation: generation, serves: @serves, leaving: leaving?)

      # @return [String] its name in the log
      def name = "worker #{number}"

      # The child's end of the link has gone to a leader.
      # @return [IO]
      def hand_over
        yield @far_link.to_io
        @far_link.close
      end

      # Another process has started it. May be called twice.
      def forked(pid) = running(pid)

      # Whether it serves, and is to go on.
      def ready? = state == :ready

      # Whether it has begun to serve. It may be about to end.
      def serves? = @serves == true && !ended?

      # Asks whether Ruby runs in it.
      # @return [Integer] how many questions before this one it has not answered. Time does not count: while the supervisor was
      #   suspended, it has asked nothing
      def ping
        send(:ping)
        (@unanswered = @unanswered.to_i + 1) - 1
      end

      # Whether it drains, or has been told to end.
      def leaving? = state == :leaving

      # Whether it has said that it is done. One that has ended without that was killed, or has crashed.
      def drained? = @drained == true

      # Has it accept no more connections; it serves those that it has, until {#drain}. The event `:retired` follows, or
      # `:ended`.
      def retire
        @state = :leaving
        send(:retire)
        parts.events.after(RETIREMENT) { retired }
      end

      # Has it finish what is open, and end.
      # @param reason ["restart", "stop"] what clients are told
      # @param seconds [Numeric] how long at most
      def drain(reason, seconds)
        @state = :leaving
        send(:drain, reason: reason, seconds: seconds)
        # When all is closed, it waits until the hub has numbered what it has published.
        kill_after(seconds + parts.options[:publish_timeout] + PATIENCE) { give_up("it has not ended in time") }
      end

      # Has another one take its place; this one drains.
      # @param why [String] for the log
      def replace(why)
        return if leaving? || ended?

        PushServer.log(:error, "#{self} is replaced: #{why}")
        leave
      end

      # Has it end at once.
      def stop
        @state = :leaving
        send(:stop)
        kill_after(PATIENCE)
      end

      private

      def resume(former)
        @heard_at = now
        @serves = former[:serves]
        @state = former[:leaving] ? :leaving : :ready
        super
      end

      def bound_boot
        seconds = parts.options[:worker_boot_timeout] or return

        kill_after(seconds) { give_up("it has not begun to serve within #{seconds} s (worker_boot_timeout)") }
      end

      # Acts on a message of the worker.
      def received(message)
        case message.kind
        when "started" then running(message[:pid])
        when "booted" then ready
        when "retired" then retired
        when "draining" then parts.events.after(DECISION) { leave }
        when "drained" then @drained = true
        when "pong" then answered
        when "failed" then fail_to_boot(message)
        end
      end

      def ready
        return if leaving?

        parts.events.cancel(@deadline)
        @state = :ready
        @serves = true
        @heard_at = now
        @on_event.call(self, :ready, nil)
      end

      def retired
        return if @retired || ended?

        @retired = true
        @on_event.call(self, :retired, nil)
      end

      def answered
        @heard_at = now
        @unanswered = 0
      end

      def fail_to_boot(message)
        @load_failure = Failure.new(message[:message], message[:details], message[:usage]) if message[:load]
        failed(message[:message])
      end

      # It has got TERM.
      def leave = leaving? || ended? || @on_event.call(self, :leaving, nil)

      def finished(how) = @on_event.call(self, :ended, reason(how))
    end
  end
end
