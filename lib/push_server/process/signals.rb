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
    # The signals that restart the server.
    RESTART = %w[USR2].freeze
    # The signals that log what all threads are doing. A system has one of them.
    BACKTRACES = %w[PWR INFO].freeze
    # Signals that mean something to a server with workers, but nothing to a server in a single process. By default they would
    # end or suspend the process. Each with what the log advises instead.
    REFUSED = {
      "USR1" => "this server is one process; USR2 or `push_server restart` restarts it, and with workers (-w) there is a " \
                "phased restart",
      "TTIN" => "this server is one process; -w N starts workers, and --threads says how many threads a process has",
      "TTOU" => "this server is one process; -w N starts workers, and --threads says how many threads a process has"
    }.freeze
    # Those that a server takes only if the app has not.
    OTHERS = (RESTART + BACKTRACES + REFUSED.keys).freeze
    # The kernel sends these to a background job that reads from its terminal or writes to it, which suspends the job.
    JOB_CONTROL = %w[TTIN TTOU].freeze
    DEFAULTS = %w[DEFAULT SYSTEM_DEFAULT].freeze
    private_constant :JOB_CONTROL, :DEFAULTS

    # What arrives before there are handlers: see {.defer}.
    @deferred = []

    class << self
      # The signals of {OTHERS} to take: those that this system knows, except those that a terminal may cause.
      # @return [Array<String>]
      def others
        names = OTHERS & Signal.list.keys
        $stdin.tty? ? names - JOB_CONTROL : names
      rescue IOError
        names # stdin is closed
      end

      # Just before the process executes itself anew: the signals that stop a server end this process as the system does, and
      # the other ones are ignored, also by the new program until {.defer}. Without this, each of them would end it.
      # @return [Hash{String => Object}] the former handlers, for {.undo_exec}
      def prepare_exec
        ignored = (REOPEN + OTHERS) & Signal.list.keys
        STOP.to_h { |name| [name, Signal.trap(name, "SYSTEM_DEFAULT")] }
            .merge(ignored.to_h { |name| [name, Signal.trap(name, "IGNORE")] })
      end

      # Undoes {.prepare_exec}.
      def undo_exec(former) = former.each { |name, handler| Signal.trap(name, handler || "DEFAULT") }

      # In a program that another one has executed after {.prepare_exec}: remembers the signals that were ignored until now, for
      # {.deliver}. A signal that is not ignored any more is the app's.
      def defer
        @deferring = proc { |number| @deferred |= [Signal.signame(number)] }
        ((REOPEN + OTHERS) & Signal.list.keys).each do |name|
          former = Signal.trap(name, @deferring)
          Signal.trap(name, former || "DEFAULT") unless former == "IGNORE"
        end
      end

      # Sends this process what has arrived since {.defer}. To be called when the handlers are there.
      def deliver
        @deferred.shift.then { |name| Process.kill(name, Process.pid) } until @deferred.empty?
      end

      # Calls the block, which forks a process of the server. In that process, a signal to the whole process group does nothing
      # until it has handlers of its own. In processes that the app forks, the former handlers are called.
      def inert_in_forks
        @forking = Thread.current
        yield
      ensure
        @forking = nil
      end

      # In a forked process: whether it is one of {.inert_in_forks}. Another thread may have forked one for the app meanwhile.
      def inert? = Thread.main.equal?(@forking)

      # Whether a handler is that of {.defer}.
      def defers?(handler) = !handler.nil? && handler.equal?(@deferring)
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
      former = "SYSTEM_DEFAULT" if Signals.defers?(former)
      if only_defaults && !DEFAULTS.include?(former)
        Signal.trap(name, former || "DEFAULT")
      else
        @former[name] = former
        @ours[name] = ours
      end
    end

    def call_former(name, number)
      return if Signals.inert?

      former = @former[name]
      return former.call(number) if former.respond_to?(:call)

      return unless DEFAULTS.include?(former)

      if former == "SYSTEM_DEFAULT" # which may be to suspend the process
        Signal.trap(name, former)
        return Process.kill(name, Process.pid)
      end
      raise(name == "INT" ? Interrupt : SignalException.new("SIG#{name}"))
    end

    # This file is the first one that a program loads after a restart.
    defer if ENV.key?("PUSH_SERVER_SOCKETS")
  end
end
