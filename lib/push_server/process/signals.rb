# frozen_string_literal: true

module PushServer
  # Signal handlers that are in place for a while. {#restore} puts the former handlers back.
  #
  # A process that the app forks inherits the handlers, but not the threads that act on them. There, the former handlers
  # are called.
  class Signals
    # The signals that stop the server.
    STOP = %w[INT TERM QUIT].freeze
    # The signals that open log files anew.
    REOPEN = %w[HUP].freeze
    # Signals that mean something to other servers, but nothing here. By default they would end or suspend the process.
    # Each with what the log advises instead.
    REFUSED = {
      "USR1" => "to restart, stop the server with TERM and start it again; HUP opens the file of the access log anew",
      "USR2" => "to restart, stop the server with TERM and start it again",
      "TTIN" => "there is one process, and --threads says how many threads it has",
      "TTOU" => "there is one process, and --threads says how many threads it has",
      "PWR" => "TERM, INT or QUIT stop the server"
    }.freeze
    # The kernel sends these to a background job that reads from its terminal or writes to it, which suspends the job.
    JOB_CONTROL = %w[TTIN TTOU].freeze
    DEFAULTS = %w[DEFAULT SYSTEM_DEFAULT].freeze
    private_constant :JOB_CONTROL, :DEFAULTS

    # The signals to refuse: those that this system knows, except those that a terminal may cause.
    # @return [Array<String>]
    def self.refused
      names = REFUSED.keys & Signal.list.keys
      $stdin.tty? ? names - JOB_CONTROL : names
    rescue IOError
      names # stdin is closed
    end

    # @param names [Array<String>]
    # @param only_defaults [Boolean] leave alone a signal for which Ruby's own behaviour has been replaced
    # @yield on each signal, in a trap handler: may not lock or wait
    def initialize(names = STOP, only_defaults: false, &handler)
      @handler = handler
      @pid = Process.pid
      @former = {}
      @ours = {}
      names.each { |name| install(name, only_defaults) }
    end

    # Puts the former handlers back, except where our handler has been replaced meanwhile. Idempotent.
    def restore
      return if Process.pid != @pid

      @former.each do |name, former|
        current = Signal.trap(name, former || "DEFAULT")
        Signal.trap(name, current || "DEFAULT") unless current.equal?(@ours[name])
      end
      @former = {}
      nil
    end

    private

    def install(name, only_defaults)
      ours = proc { |number| Process.pid == @pid ? @handler.call(number) : call_former(name, number) }
      former = Signal.trap(name, ours)
      if only_defaults && !DEFAULTS.include?(former)
        Signal.trap(name, former || "DEFAULT")
      else
        @former[name] = former
        @ours[name] = ours
      end
    end

    def call_former(name, number)
      former = @former[name]
      return former.call(number) if former.respond_to?(:call)

      return unless DEFAULTS.include?(former)

      if former == "SYSTEM_DEFAULT" # which may be to suspend the process
        Signal.trap(name, former)
        return Process.kill(name, Process.pid)
      end
      raise(name == "INT" ? Interrupt : SignalException.new("SIG#{name}"))
    end
  end
end
