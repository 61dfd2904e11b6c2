# frozen_string_literal: true

module PushServer
  class Supervisor
    # Asks all workers what they have counted. One thread.
    class Statistics
      # Seconds that workers have to answer.
      PATIENCE = 2
      private_constant :PATIENCE

      # @param loop [EventLoop]
      # @param workers [Array<WorkerProcess>]
      # @yieldparam counts [Hash{WorkerProcess => Hash}] what each has counted; without those that do not answer in time
      def self.ask(loop, workers, &) = new(loop, workers, &).ask

      def initialize(loop, workers, &on_end)
        @loop = loop
        @missing = workers.dup
        @counts = {}
        @on_end = on_end
      end

      # Begins, and returns.
      def ask
        @timer = @loop.after(PATIENCE) { finish }
        @missing.dup.each { |worker| worker.count { |counts| take(worker, counts) } }
        finish if @missing.empty?
      end

      # The sums of what the workers have counted.
      # @param counts [Array<Hash{Symbol => Integer}>]
      # @return [Hash{Symbol => Integer}]
      def self.sum(counts) = counts.reduce({}) { |sums, one| sums.merge(one) { |_, left, right| left + right } }

      private

      # @param counts [Hash, nil] nil: the worker has ended
      def take(worker, counts)
        return unless @missing.delete(worker)

        @counts[worker] = counts if counts
        finish if @missing.empty?
      end

      def finish
        return if @over

        @over = true
        @loop.cancel(@timer)
        @on_end.call(@counts)
      end
    end
  end
end
