# frozen_string_literal: true

require_relative "../open_files"

module PushServer
  class Supervisor
    # Whether the limit of open files is enough: it holds for each process.
    module Descriptors
      # What the supervisor needs for itself, and for each worker: twice as many workers run during a restart.
      OWN = 48
      WORKER = 8
      # A warning is logged if the limit allows fewer connections.
      FEW = 1024
      private_constant :OWN, :WORKER, :FEW

      # Raises the limit of this process if that is needed.
      # @param workers [Integer]
      # @raise [Error] if there cannot be so many
      def self.suffice_for(workers)
        soft, hard = Process.getrlimit(:NOFILE)
        needed = OWN + (WORKER * workers)
        if needed > hard
          raise Error, "#{workers} workers need about #{needed} open files in the supervisor, and the system's limit " \
                       "is #{hard}. Raise it (ulimit -n), or lower the number of workers"
        end
        Process.setrlimit(:NOFILE, needed, hard) if soft < needed
      end

      # As {.suffice_for}. Also says what a low limit means for the workers.
      # @param options [Options]
      # @raise [Error]
      def self.check(options)
        suffice_for(options[:workers])
        connections = OpenFiles.connections
        return if connections >= [options[:max_connections], FEW].min

        PushServer.log(:warn, "each worker has at most #{connections} connections, because a process may have " \
                              "#{OpenFiles.most} open files (max_connections is #{options[:max_connections]}). Raise that " \
                              "limit (ulimit -n)")
      end
    end
  end
end
