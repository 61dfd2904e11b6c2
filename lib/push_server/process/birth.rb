# frozen_string_literal: true

require_relative "../errors"
require_relative "forking"

module PushServer
  # Forks the workers of a leader, so that the supervisor is their parent. Where the system cannot do that, this process stays
  # their parent, and reports their ends. One thread.
  class Birth
    # Seconds between two looks whether one of its own children has ended.
    INTERVAL = 0.2
    ERRNO = "errno "
    private_constant :ERRNO

    # The process that was to fork has ended before it could tell anything.
    class Failed < Error; end

    # @param adopted [Boolean] whether the supervisor adopts orphans: only Linux has that
    def initialize(adopted)
      @adopted = adopted
      @children = []
    end

    # Forks a process that runs the block and ends.
    # @return [Integer] its pid
    # @raise [SystemCallError, Failed]
    def fork(&block)
      return double_fork(&block) if @adopted

      Forking.fork(&block).tap { |pid| @children << pid }
    end

    # Whether this process is the parent of one that has not been reported.
    def children? = @children.any?

    # Its own children that have ended.
    # @return [Array<Process::Status>]
    def ended
      statuses = @children.filter_map { |pid| Process.wait2(pid, Process::WNOHANG)&.last }
      @children -= statuses.map(&:pid)
      statuses
    end

    private

    # Forks a process whose parent ends at once: then the supervisor is its parent.
    def double_fork(&block)
      reader, writer = IO.pipe
      middle = Forking.fork { fork_and_tell(reader, writer, &block) }
      writer.close
      told = reader.read
      wait_for(middle)
      raise Failed, "the process that forks it was killed" if told.empty?
      raise SystemCallError.new(nil, Integer(told.delete_prefix(ERRNO))) if told.start_with?(ERRNO)

      Integer(told)
    ensure
      [reader, writer].each { |io| io&.close }
    end

    def wait_for(middle)
      Process.wait(middle)
    rescue Errno::ECHILD
      # The app has taken its status, such as with Process.wait in a thread. What it has reported still counts.
    end

    # In the process that ends at once.
    def fork_and_tell(reader, writer, &block)
      reader.close
      child = Forking.fork do
        writer.close
        block.call
      end
      writer.write(child)
    rescue SystemCallError => e
      writer.write(ERRNO, e.errno)
    ensure
      Process.exit!(0)
    end
  end
end
