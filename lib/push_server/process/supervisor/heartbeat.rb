# frozen_string_literal: true

module PushServer
  class Supervisor
    # Asks each worker whether Ruby runs in it. A worker that is silent for too long is asked for backtraces, and killed a second
    # later. This says nothing about how quick requests are: a thread of the server answers, not one of the app. One thread.
    class Heartbeat
      # Seconds between two questions.
      INTERVAL = 1
      # Seconds before the end at which it is asked for backtraces.
      NOTICE = 1
      # Seconds that Ruby has to log them, before the native thread logs what it sees.
      RUBY = 0.5
      private_constant :INTERVAL, :NOTICE, :RUBY

      # @param parts [Parts]
      # @param workers [Workers]
      def initialize(parts, workers)
        @parts = parts
        @workers = workers
        @warned = {}.compare_by_identity
      end

      # Begins.
      def start = @parts.events.every(INTERVAL) { beat }

      private

      def beat
        @warned.delete_if { |worker, heard_at| worker.ended? || worker.heard_at > heard_at }
        @workers.all.select(&:serves?).each { |worker| check(worker, worker.ping * INTERVAL) }
      end

      def check(worker, silence)
        timeout = @parts.options[:worker_timeout] or return

        if silence >= timeout
          worker.give_up("Ruby has not answered in it for #{timeout} s (worker_timeout)")
        elsif silence >= timeout - NOTICE && !@warned.key?(worker)
          @warned[worker] = worker.heard_at
          ask_for_backtraces(worker)
        end
      end

      def ask_for_backtraces(worker)
        heard_at = worker.heard_at
        worker.send(:backtraces)
        @parts.events.after(RUBY) { worker.tell("threads") if worker.heard_at == heard_at }
      end
    end
  end
end
