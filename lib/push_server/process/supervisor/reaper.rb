# frozen_string_literal: true

module PushServer
  class Supervisor
    # Takes the status of each child that has ended, and calls the block that waits for it. This includes children that this
    # process has not started: orphans that the system has given to it. One thread.
    class Reaper
      # Seconds for which the status of an unknown child is kept. A leader may tell the pid of a worker when the worker has
      # ended already.
      KEPT = 10
      private_constant :KEPT

      # What another process has told about the end of a child, with the names of Process::Status.
      Told = Struct.new(:exitstatus, :termsig) do
        # Whether a signal has ended it.
        def signaled? = !termsig.nil?

        # The other process does not report this.
        def coredump? = false
      end

      def initialize
        @awaited = {}
        @unknown = {}
      end

      # Calls the block when the child has ended, with its Process::Status; at once if it has ended already.
      # @param pid [Integer]
      def expect(pid, &action)
        status, = @unknown.delete(pid)
        status ? action.call(status) : @awaited[pid] = action
      end

      # To be called after each SIGCHLD.
      def reap
        while (pid = Process.waitpid(-1, Process::WNOHANG))
          report(pid, $?)
        end
      rescue Errno::ECHILD
        nil # There are no children.
      end

      # Tells the end of a child that another process has reaped.
      # @param status [Process::Status, Told]
      def report(pid, status)
        action = @awaited.delete(pid)
        return action.call(status) if action

        @unknown.delete_if { |_, (_, since)| now - since > KEPT }
        @unknown[pid] = [status, now]
      end

      private

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
