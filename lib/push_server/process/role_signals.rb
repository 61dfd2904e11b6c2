# frozen_string_literal: true

module PushServer
  # Signals in the hub, the leader and the workers. Only the supervisor handles signals, but a terminal and systemd send them
  # to all processes.
  module RoleSignals
    # The signals by which a terminal suspends a process. A process that handles them instead of ignoring them would get them
    # again and again.
    JOB_CONTROL = %w[TTIN TTOU].freeze
    # The signals that the supervisor handles.
    OTHERS = (%w[INT HUP QUIT TERM USR1 USR2 PWR INFO] & Signal.list.keys).freeze
    private_constant :JOB_CONTROL, :OTHERS

    class << self
      # Ignores them, also in the program that this process executes.
      def ignore = [*JOB_CONTROL, *OTHERS].each { |name| Signal.trap(name, "IGNORE") }

      # Does nothing at a signal; the programs that the app starts get the system's behaviour.
      # @yield when TERM comes, in a trap handler
      def handle(&on_term)
        JOB_CONTROL.each { |name| Signal.trap(name, "IGNORE") }
        OTHERS.each { |name| Signal.trap(name) { nil } }
        Signal.trap("TERM", &on_term) if on_term
        # The supervisor's handler, in a fork of it.
        Signal.trap("CLD", "DEFAULT")
      end
    end
  end
end
