# frozen_string_literal: true

require_relative "leader_process"

module PushServer
  class Supervisor
    # The loads of the app: the current one, from which workers are started, and one that a restart prepares. One thread.
    class Generations
      # A load of the app. With preload a leader has it, and forks workers; without, each worker loads the app itself.
      Generation = Struct.new(:number, :leader) do
        # Whether workers can be started from it.
        def usable? = leader.nil? || leader.usable?

        # @param worker [WorkerProcess]
        def start(worker) = leader ? leader.fork(worker) : worker.start("worker")
      end

      # @return [Generation, nil] the one from which workers are started
      attr_reader :current

      # @param parts [Parts]
      def initialize(parts)
        @parts = parts
        @last = 0
        @leaders = []
        # Those that wait for the current generation.
        @waiting = []
      end

      # What {#resume} needs to go on after an exec; see {State}.
      # @return [Hash{Symbol => Object}]
      def handover
        usable = current&.usable?
        { last: @last, current: (current.number if usable), leader: (current.leader&.handover if usable) }
      end

      # Goes on with what was handed over.
      # @param former [Hash{Symbol => Object}]
      def resume(former)
        @last = former[:last]
        return unless (number = former[:current])

        leader = former[:leader] && LeaderProcess.new(@parts, number, -> { ended }, former[:leader])
        @leaders << leader if leader
        @current = Generation.new(number, leader)
      end

      # Loads the app anew, or gets ready to have workers load it.
      # @yieldparam generation [Generation, nil]
      # @yieldparam failure [Failure, nil] if there is no generation
      def load(&block)
        number = @last += 1
        return block.call(Generation.new(number), nil) unless @parts.options[:preload]

        leader = LeaderProcess.new(@parts, number, -> { ended }) do |failure|
          block.call(failure ? nil : Generation.new(number, leader), failure)
        end
        @leaders << leader
        leader.start("leader")
        leader.boot(fds: [@parts.slots.file], generation: number, **@parts.settings)
      end

      # Yields the current generation as soon as it can start workers. If its leader has ended, the app is loaded anew.
      # @yieldparam generation [Generation, nil]
      # @yieldparam failure [Failure, nil] if there is no generation
      def with_current(&block)
        return block.call(@current, nil) if @current&.usable?

        @waiting << block
        load_current if @waiting.size == 1
      end

      # Makes a generation the current one, and ends the leader of the one before it.
      # @param generation [Generation]
      def use(generation)
        former, @current = @current, generation
        dismiss(former) unless former.equal?(generation)
      end

      # Ends the leader of a generation that starts no more workers.
      # @param generation [Generation, nil]
      def dismiss(generation) = generation&.leader&.stop

      # Ends all leaders.
      # @yield when they have ended
      def stop(&on_stop)
        @on_stop = on_stop
        leaders.each(&:stop)
        ended
      end

      # @return [Array<LeaderProcess>] those that have not ended
      def leaders = @leaders.reject(&:ended?)

      private

      def ended
        @leaders.delete_if(&:ended?)
        return unless @leaders.empty?

        on_stop, @on_stop = @on_stop, nil
        on_stop&.call
      end

      def load_current
        load do |generation, failure|
          next use_newer_than(generation) if generation && current && current.number > generation.number

          use(generation) if generation
          tell_waiting(generation, failure)
        end
      end

      # A restart has brought a newer generation meanwhile.
      def use_newer_than(generation)
        dismiss(generation)
        current.usable? ? tell_waiting(current, nil) : load_current
      end

      def tell_waiting(generation, failure)
        @waiting.slice!(0..).each { |waiting| waiting.call(generation, failure) }
      end
    end
  end
end
