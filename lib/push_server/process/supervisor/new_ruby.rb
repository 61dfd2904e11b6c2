# frozen_string_literal: true

require_relative "../inheritance"
require_relative "../original_command"
require_relative "../role_signals"

module PushServer
  class Supervisor
    # Starts the command of this server in a new Ruby.
    module NewRuby
      # Status of a child whose command could not be executed.
      NOT_EXECUTED = 127
      private_constant :NOT_EXECUTED

      # A new Ruby has no handlers yet. A signal to the whole process group would end it, so it begins with all of them
      # ignored, which only a fork before the exec can do.
      # @param command [OriginalCommand]
      # @param role [String]
      # @param link [Link] the child's end; the caller closes it
      # @return [Integer] pid
      # @raise [SystemCallError] if the system gives no process
      def self.start(command, role, link)
        Process.fork do
          RoleSignals.ignore
          socket = link.to_io
          command.exec(Inheritance.new, added: Role.environment(role, link), socket => socket)
        rescue Exception => e # rubocop:disable Lint/RescueException -- nothing of the supervisor may run in the child
          link.send(:failed, message: e.message.scrub)
        ensure
          Process.exit!(NOT_EXECUTED)
        end
      end
    end
  end
end
