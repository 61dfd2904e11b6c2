# frozen_string_literal: true

module PushServer
  class Supervisor
    # Replaces workers that use more memory than they may: one after the other, while the others serve. One thread.
    class MemoryWatch
      # Seconds between two looks, each at one worker: the system counts the pages of a process, which takes a while.
      INTERVAL = 5
      private_constant :INTERVAL

      # The memory of a process with its share of what it shares with others.
      # @return [Integer, nil] bytes of PSS; nil if the system does not say
      def self.of(pid)
        File.read("/proc/#{pid}/smaps_rollup")[/^Pss:\s+(\d+) kB/, 1]&.to_i&.*(1024)
      rescue SystemCallError
        nil
      end

      # @param parts [Parts]
      # @param workers [Workers]
      def initialize(parts, workers)
        @parts = parts
        @workers = workers
      end

      # Begins.
      def start
        return unless limit

        unless MemoryWatch.of(Process.pid)
          return PushServer.log(:warn, "worker_max_memory has no effect: this system does not say what a process uses")
        end

        @parts.events.every(INTERVAL) { look }
      end

      private

      def limit = @parts.options[:worker_max_memory]

      def look
        return if @replacing || !@workers.complete?

        @last = @workers.serving.map(&:number).then { |all| all.find { |number| number > @last.to_i } || all.first }
        worker = @workers.serving.find { |other| other.number == @last }
        used = MemoryWatch.of(worker.pid)
        replace(worker, used) if used && used > limit
      end

      def replace(worker, used)
        @replacing = true
        PushServer.log(:warn, "#{worker} is replaced: it uses #{used >> 20} MiB, and may use #{limit >> 20} MiB " \
                              "(worker_max_memory)")
        @workers.drain(worker, "restart") { @replacing = false }
      end
    end
  end
end
