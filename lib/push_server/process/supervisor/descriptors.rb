# frozen_string_literal: true

module PushServer
  class Supervisor
    # Whether the limit of open files is enough: it holds for each process.
    module Descriptors
      # What the supervisor needs for itself, and for each worker: twice as many workers run during a restart.
      OWN = 48
      WORKER = 8
      # What the core keeps for files and listeners: see src/net/fds.rs.
      RESERVE = 128
      # A server with fewer connections is worth a line.
      FEW = 1024
      private_constant :OWN, :WORKER, :RESERVE, :FEW

      # Raises the limit of this process if that is needed, and says what a low one means.
      # @param options [Options]
      # @raise [Error] if there cannot be so many workers
      def self.check(options)
        soft, hard = Process.getrlimit(:NOFILE)
        needed = OWN + (WORKER * options[:workers])
        if needed > hard
          raise Error, "#{options[:workers]} workers need about #{needed} open files in the supervisor, and the system's limit " \
                       "is #{hard}. Raise it (ulimit -n), or lower --workers"
        end
        Process.setrlimit(:NOFILE, needed, hard) if soft < needed
        connections = hard - [RESERVE, hard / 4].min
        return if connections >= [options[:max_connections], FEW].min

        PushServer.log(:warn, "each worker has at most #{connections} connections, because a process may have #{hard} open " \
                              "files (max_connections is #{options[:max_connections]}). Raise that limit (ulimit -n)")
      end
    end
  end
end
