# frozen_string_literal: true

module PushServer
  # Signals in the hub, the leader and the workers. Only the supervisor obeys signals, but a terminal and systemd send them to
  # all processes.
  module RoleSignals
    # What a terminal would suspend a process with. A process that handles them instead of ignoring them would get them for
    # ever.
    JOB_CONTROL = %w[TTIN TTOU].freeze
    # Those that mean something to the supervisor.
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
