# frozen_string_literal: true

module PushServer
  # The environment variables in which a program leaves what it has open to the program that it executes in its own place; see
  # {Inheritance} and {Supervisor::State}. Until they are used, they are hidden here, and their descriptors are closed in the
  # programs that this process starts: a program loads its app before it calls `PushServer.run`, and what the app starts
  # meanwhile may live longer than the server. Not thread-safe.
  module ExecVariables
    # The sockets on which the server listens: see {Inheritance}.
    SOCKETS = "PUSH_SERVER_SOCKETS"
    # The children of a supervisor: see {Supervisor::State}.
    STATE = "PUSH_SERVER_STATE"
    # The keys of TLS session tickets, of a server in one process: see {TicketKeys}.
    TICKET_KEYS = "PUSH_SERVER_TICKET_KEYS"
    # The pid of the process, and the numbers of all descriptors that were left open for it.
    DESCRIPTORS = "PUSH_SERVER_DESCRIPTORS"
    NAMES = [SOCKETS, STATE, TICKET_KEYS, DESCRIPTORS].freeze

    class << self
      # The variables of this process, which the first call takes out of the environment. Their users remove them.
      # @return [Hash{String => String}]
      def hidden = @hidden ||= hide(ENV)

      # What says which descriptors stay open.
      # @param numbers [Array<Integer>]
      # @return [Hash{String => String}] a variable for the program that this process executes
      def describe(numbers) = { DESCRIPTORS => [Process.pid, *numbers].join(" ") }

      # @return [Hash{String => String}] the variables again, if they are still hidden, for another program in place of this one
      def environment = hidden.empty? ? {} : hidden.merge(describe(@numbers))

      # @return [Hash{Integer => Integer}] their descriptors, as options of Process.exec
      def descriptors = hidden.empty? ? {} : @numbers.to_h { |number| [number, number] }

      # Closes the descriptors in the programs that this process starts. Process.exec undoes that, also if it fails.
      def close_on_exec
        @numbers.each do |number|
          IO.for_fd(number, autoclose: false).close_on_exec = true
        rescue SystemCallError
          next # The user of the variables says what is missing.
        end
      end

      private

      def hide(env)
        found = NAMES.to_h { |name| [name, env.delete(name)] }.compact
        pid, *@numbers = found.delete(DESCRIPTORS).to_s.split.map(&:to_i)
        # A parent of this process has not hidden them: the numbers mean nothing here.
        return {} if pid && pid != Process.pid

        close_on_exec
        found
      end
    end
  end
end
