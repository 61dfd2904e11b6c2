# frozen_string_literal: true

require_relative "../exit_status"
require_relative "reaper"

module PushServer
  class Supervisor
    # A child process and the connection to it, from the moment when it is to be started until it has ended. One thread.
    #
    # A subclass has `name`, `received(message)`, and `finished(how)`, which is called once, also for a child that could not be
    # started.
    class Child
      # Seconds from the end of a child's link until the child is killed, if it lives on.
      PATIENCE = 2
      private_constant :PATIENCE

      # @return [Integer, nil] nil until it is known
      attr_reader :pid
      # @return [Link, Lines] the supervisor's end
      attr_reader :link
      # @return [Float] when it was to be started: seconds of the monotonic clock
      attr_reader :began_at

      # @param parts [Parts]
      # @param link [Link, Lines] the supervisor's end
      # @param far_link [Link, Lines, nil] the child's end, which is closed here once the child has it; nil if it has it already
      def initialize(parts, link, far_link)
        @parts = parts
        @link = link
        @far_link = far_link
        @began_at = now
        parts.events.watch(link) { read }
      end

      # What a subclass needs to go on with this child after an exec; see {State}.
      # @return [Hash{Symbol => Object}]
      def handover = { pid: pid, link: link, began_at: began_at }

      # @return [String] for the log
      def to_s = pid ? "#{name} (pid #{pid})" : name

      # Whether it has ended.
      def ended? = @ended == true

      # @return [Numeric] seconds since it was to be started
      def age = now - @began_at

      # Kills the process, whatever it does.
      def kill
        return if ended?

        pid ? Process.kill(:KILL, pid) : finish("before it had a pid")
      rescue Errno::ESRCH
        finish(ExitStatus.describe(nil)) # It is no child of this process, and its parent has not reported its end.
      end

      # Kills a process that cannot go on.
      # @param why [String] for the log
      # @return [false]
      def give_up(why)
        PushServer.log(:error, "#{self} is killed: #{why}") unless ended? || @given_up
        @given_up = true
        kill
        false
      end

      # Kills it later, unless it has ended.
      def kill_after(seconds)
        @parts.events.cancel(@deadline)
        @deadline = @parts.events.after(seconds) { block_given? ? yield : kill }
      end

      private

      attr_reader :parts

      # The process has been started and has its end of the link, or another process has. May be called twice.
      def running(pid)
        return if @pid || ended?

        @pid = pid
        parts.reaper.expect(pid) { |status| finish(ExitStatus.describe(status)) }
      end

      # Goes on with a child that was handed over. It may have ended meanwhile.
      def resume(former)
        @began_at = former[:began_at]
        running(former[:pid])
      end

      # Whether the child takes what is sent; one that does not read is killed.
      def sending
        !ended? && yield
      rescue Lines::Overflow
        give_up("it does not read what the supervisor tells it")
      end

      def read
        until ended? || (message = next_message).nil?
          return lose if message == :eof

          received(message)
        end
      rescue Lines::Broken => e
        parts.events.forget(link)
        give_up("its message is not valid: #{e.message}")
      end

      # The child has closed its link, so it is about to end.
      def lose
        return if @finishing

        parts.events.forget(link)
        pid ? kill_after(PATIENCE) : finish("before it had a pid")
      end

      def finish(how)
        return if @finishing

        @finishing = true
        read # what it has sent before it ended, such as the reason
        @ended = true
        parts.events.cancel(@deadline)
        close
        finished(how)
      end

      def close
        parts.events.forget(link)
        [link, @far_link].compact.each(&:close)
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
