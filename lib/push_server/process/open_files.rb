# frozen_string_literal: true

module PushServer
  # The system's limit of open files, which each process has for itself. Any thread.
  module OpenFiles
    # What the core keeps for files and listeners: see src/net/fds.rs.
    RESERVE = 128
    private_constant :RESERVE

    class << self
      # @return [Integer] how many a process may have at most; the core raises its limit so far if it needs to
      def most = Process.getrlimit(:NOFILE).last

      # @return [Integer] how many connections fit into that
      def connections = most - [RESERVE, most / 4].min
    end
  end
end
