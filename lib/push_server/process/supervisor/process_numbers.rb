# frozen_string_literal: true

module PushServer
  class Supervisor
    # Numbers the starts of workers, from 1 on. The ids of clients have room for 20 bits of the number; after so many starts the
    # numbers of processes that have ended are used again.
    class ProcessNumbers
      # The highest number.
      LAST = (1 << 20) - 1

      # @return [Integer] the number that was given last; 0: none
      attr_reader :last

      # @param last [Integer] the number that was given last
      def initialize(last = 0)
        @last = last
      end

      # @param used [Array<Integer>] the numbers of processes that have not ended; fewer than {LAST}
      # @return [Integer] the next number
      def next(used)
        loop do
          @last = (@last % LAST) + 1
          return @last unless used.include?(@last)
        end
      end
    end
  end
end
