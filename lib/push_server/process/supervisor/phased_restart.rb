# frozen_string_literal: true

require_relative "../../plural"

module PushServer
  class Supervisor
    # Replaces all workers by workers with new code, while the server serves. One thread.
    #
    # New workers are ready before the old ones accept no more connections; so a client that is disconnected comes back to a
    # new worker. Old workers drain one after the other. If the app cannot be loaded, or the first new workers cannot boot, the
    # old ones serve on.
    class PhasedRestart
      # @param parts [Parts]
      # @param workers [Workers]
      # @param generations [Generations]
      # @param progress [#call] called with a line for people
      # @yieldparam failure [String, nil] when it is over: why it was given up
      def initialize(parts, workers, generations, progress, &on_end)
        @progress = progress
        @parts = parts
        @workers = workers
        @generations = generations
        @on_end = on_end
      end

      # Begins, and returns.
      # @return [self]
      def start
        @generations.load do |generation, failure|
          next @generations.dismiss(generation) if @over

          @generation = generation
          failure ? give_up(failure.message) : replace_some
        end
        self
      end

      # Does nothing more.
      def cancel = @over = true

      private

      # How many workers are replaced at a time.
      def overlap = @parts.options[:restart_overlap] || (@parts.options[:preload] ? @workers.size : 1)

      def replace_some
        numbers = @workers.outdated(@generation).first(overlap)
        return finish if numbers.empty?

        @progress.call("The app is loaded: starting #{Plural.of(numbers.size, "new worker")}") unless @started
        @started = true
        starting = numbers.dup
        ready = []
        numbers.each do |number|
          break if @over # One of them could not be started.

          @workers.start_successor(number, @generation) do |event, reason|
            next if @over
            next give_up("worker #{number}: #{reason}") if event == :ended && @workers.place?(number)

            # A new worker that has got TERM drains. It is replaced with the next ones.
            event == :ready ? ready << number : ready.delete(number)
            starting.delete(number)
            hand_over(ready) if starting.empty?
          end
        end
      end

      # The new code works.
      # @param numbers [Array<Integer>] of the places whose new workers are ready
      def hand_over(numbers)
        return replace_some if numbers.empty?

        @generations.use(@generation)
        @progress.call("#{numbers.size == 1 ? "New worker" : "New workers"} #{numbers.join(", ")} ready: the old ones drain")
        @workers.drain_surplus
        former = numbers.filter_map { |number| @workers.promote(number) }
        # The clients that one of them disconnects must not come to another one, which would disconnect them again.
        @workers.retire(former) { drain(former) }
      end

      def drain(former)
        return if @over
        return replace_some if former.empty?

        @workers.drain(former.first, "restart") { drain(former.drop(1)) }
      end

      def give_up(why)
        return if @over

        left = @workers.serving.count { |worker| worker.generation != @generation&.number }
        PushServer.log(:error, "the phased restart is given up: #{why}. #{left} old workers serve on")
        finish(why) do
          @workers.drop_successors
          @generations.dismiss(@generation) unless @generations.current.equal?(@generation)
        end
      end

      def finish(failure = nil)
        @over = true
        block_given? ? yield : PushServer.log(:info, "the phased restart is done: generation #{@generation.number} serves")
        @on_end.call(failure)
      end
    end
  end
end
