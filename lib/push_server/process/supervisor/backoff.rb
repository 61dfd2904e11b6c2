# frozen_string_literal: true

module PushServer
  class Supervisor
    # How long to wait before a child is started again: not at all at first, then longer and longer while it ends soon after its
    # start.
    # One thread.
    class Backoff
      # Seconds to wait, at the second death and at most.
      FIRST = 0.1
      LONGEST = 30
      # A child that has run for so many seconds is started again at once.
      YOUNG = 30
      private_constant :FIRST, :LONGEST, :YOUNG

      # @param lived [Numeric] seconds that the child has run; 0 if it could not be started
      # @return [Numeric] seconds to wait
      def next(lived)
        @delay = nil if lived >= YOUNG
        wait = @delay || 0
        @delay = [wait.zero? ? FIRST : wait * 2, LONGEST].min
        wait
      end

      # @param seconds [Numeric] what {#next} has returned
      # @return [String] for the log
      def self.describe(seconds) = seconds.zero? ? "at once" : "in #{seconds} s"
    end
  end
end
