# frozen_string_literal: true

module PushServer
  # Signal handlers that are put in place for a while, and then what was there before is put back.
  #
  # A process forked by the app inherits the handlers without what stands behind them: there, what was in place before
  # counts.
  class Signals
    # What stops the server.
    STOP = %w[INT TERM QUIT].freeze
    # What opens log files anew.
    REOPEN = %w[HUP].freeze
    # Signals that mean something to other servers, but nothing here. By default they would end or suspend the process.
    # Each with what the log says to do.
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

    # The signals to refuse: those that this system knows, except those that a terminal may send.
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

    # Puts back what was there before, unless somebody has replaced our handler meanwhile. Idempotent.
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
      ours = proc { |number| Process.pid == @pid ? @handler.call(number) : as_before(name, number) }
      former = Signal.trap(name, ours)
      if only_defaults && !DEFAULTS.include?(former)
        Signal.trap(name, former || "DEFAULT")
      else
        @former[name] = former
        @ours[name] = ours
      end
    end

    def as_before(name, number)
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
