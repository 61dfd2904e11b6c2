# frozen_string_literal: true

module PushServer
  class Supervisor
    # The statistics of all processes: a file in memory, in which each worker counts in a slot of its own. What a worker has
    # counted stays when the worker has ended. The file is handed over when the supervisor executes itself anew. One thread.
    class Slots
      # @return [IO] the memory file, for processes that read it or count there
      attr_reader :file

      # @param former [Integer, nil] the descriptor of a file that was handed over; see {#handover}
      def initialize(former = nil)
        @slots = resume(former) if former
        return if @slots

        PushServer.log(:info, "statistics begin anew: another version of push_server has counted until now") if former
        @file = IO.for_fd(NativeProcess.memory_file("push_server_statistics", NativeSlots::SIZE), "r+b")
        @slots = NativeSlots.open(@file.fileno)
      end

      # What another one needs to go on after an exec; see {State}.
      # @return [IO]
      def handover = file

      # Gives a worker a slot.
      # @param worker [WorkerProcess]
      # @return [IO, nil] where it finds the slot; nil if there is none left
      def take(worker)
        return file if @slots.take(worker.process, worker.number)

        PushServer.log(:warn, "#{worker} is missing from the statistics: there are too many workers for them")
        nil
      end

      # A worker has ended: what it has counted stays.
      # @param worker [WorkerProcess]
      def release(worker) = @slots.release(worker.process)

      # All workers but these have ended, while the supervisor was executed.
      # @param workers [Array<WorkerProcess>]
      def keep(workers) = @slots.keep(workers.map(&:process))

      # Counts what the supervisor itself has done.
      # @param name [Symbol] of a counter
      def count(name) = @slots.count(name)

      # @return [Hash{Symbol => Object}] as {PushServer.stats} with `:all`
      def totals = @slots.totals

      private

      # @return [NativeSlots, nil] nil if the file has another layout
      def resume(former)
        @file = IO.for_fd(former, "r+b")
        NativeSlots.open(former)
      rescue IOError
        @file.close
        nil
      end
    end
  end
end
