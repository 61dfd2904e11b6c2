# frozen_string_literal: true

require "rack/version"
require_relative "../config/options"
require_relative "../net/binder"
require_relative "../rack/env_template"
require_relative "../rack/javascript"
require_relative "self_pipe"
require_relative "signals"
require_relative "worker_pool"

module PushServer
  # Runs one server in this process: sockets, reactor, worker threads, and their end. Serves once.
  #
  # Whoever wants something of a running server leaves a note in a pipe ({#stop}, {#stop_now}, a signal, a worker that
  # ended); one thread reads the notes and acts on them, so nothing here needs a lock.
  #
  # In a process forked from the one that started it, every method does nothing.
  class Launcher
    # What a worker may take to come back once the reactor has stopped, before it is killed.
    GRACE = { graceful: 1, forced: 0 }.freeze
    STOP = "s"
    STOP_NOW = "n"
    SIGNAL = "!"
    REOPEN_LOGS = "h"
    DRAINED = "d"
    WORKERS_CHANGED = "w"
    # Notes for the signals that are refused: note => name of the signal.
    REFUSALS = Signals::REFUSED.keys.each_with_index.to_h { |name, index| [index.to_s, name] }.freeze
    private_constant :GRACE, :STOP, :STOP_NOW, :SIGNAL, :REOPEN_LOGS, :DRAINED, :WORKERS_CHANGED, :REFUSALS

    class << self
      # @return [Launcher, nil] the one started last in this process
      attr_accessor :latest
    end

    # @return [Options]
    attr_reader :options
    # @return [Array<String>] where the server is found, real ports; empty before {#start}
    attr_reader :urls
    # @return [:graceful, :forced, nil] how it ended: by itself, or cut by {#stop_now}; nil before
    attr_reader :ending

    # @param app [#call] a Rack app
    # @param options [Options, Hash] see Options
    # @param out [IO] for the start-up lines
    # @raise [OptionError]
    def initialize(app, options = {}, out: $stdout)
      raise OptionError, "the app has no method call: #{app.inspect[0, 60]}" unless app.respond_to?(:call)

      @app = app
      @options = options.is_a?(Options) ? options : Options.new(options)
      @binder = Binder.new(@options.binds, port: @options[:port])
      @out = out
      @urls = [].freeze
      @notes = SelfPipe.new
      @pid = Process.pid
    end

    # Starts to serve and returns.
    # @return [self]
    # @raise [BindError, OptionError, Error] and then nothing is left open
    def start
      raise Error, "this server has been started already: make another" if @control

      PushServer.log_level = @options[:log_level]
      open
      @workers = WorkerPool.new(@reactor, @options[:threads]) { @notes.notify(WORKERS_CHANGED) }
      start_threads
      Launcher.latest = self
      announce
      self
    rescue ThreadError => e
      raise Error, "cannot start #{@options[:threads]} threads: #{e.message}. Lower --threads, or raise the system's limit"
    rescue SystemCallError, IOError => e
      raise Error, "cannot start: #{e.message}"
    ensure
      unless @control
        @drain&.kill
        @reactor&.stop
      end
    end

    # Starts, serves until {#stop}, or until INT, TERM or QUIT: the first stops gracefully, the second at once. HUP opens
    # the log file anew, if there is one; {Signals::REFUSED} are answered by a line in the log, unless the app has taken
    # them. The signals are ours only when this is the main thread, since a server on another thread does not own the
    # process.
    # @return [:graceful, :forced] as {#ending}
    # @raise [BindError, OptionError]
    def run
      signals = take_signals if Thread.current == Thread.main
      start
      wait
      ending
    ensure
      finish_early
      signals&.each(&:restore)
    end

    # Asks for a graceful stop and returns at once: no more is accepted, handlers hear on_shutdown, streams are closed
    # and requests finished, for up to drain_timeout seconds. Any thread, signal handlers too. Idempotent.
    def stop = @notes.notify(STOP)

    # Asks for a stop that waits for nothing. Any thread, signal handlers too. Idempotent.
    def stop_now = @notes.notify(STOP_NOW)

    # INT, TERM or QUIT has come: {#stop}, and the second time {#stop_now}. Any thread, signal handlers too.
    def signal = @notes.notify(SIGNAL)

    # Opens the file of the access log anew, once somebody has moved it away; returns at once. Any thread, signal handlers
    # too.
    def reopen_logs = @notes.notify(REOPEN_LOGS)

    # Waits for the server to have stopped. Any thread but a worker, which would wait for itself.
    # @param timeout [Numeric, nil] seconds
    # @return [Boolean] whether it has stopped (or was never started)
    def wait(timeout = nil)
      return true unless @control && here?

      !@control.join(timeout).nil?
    end

    # Whether it has been started and has not stopped.
    def running? = here? && !@control.nil? && @control.alive?

    # What this server has counted since it was started: connections, requests, each limit hit, and so on. Any thread.
    # @return [Hash{Symbol => Integer}] empty before {#start}
    def stats = @reactor&.stats || {}

    # Whether a signal was among the reasons to stop.
    def signalled? = @signalled == true

    # Whether it has stopped, but a worker is in native code that does not return, so that the process would hang.
    def stuck? = @stuck == true

    # Ends the process with status 1 unless the server has stopped gracefully: what a second signal asks for. A worker
    # that does not end would keep the process; then it ends without its at_exit blocks.
    def exit_unless_graceful
      if stuck?
        [$stdout, $stderr].each(&:flush)
        exit!(1)
      end
      exit(1) if ending == :forced
    end

    private

    def take_signals
      refused = Signals.new(Signals.refused, only_defaults: true) do |number|
        @notes.notify(REFUSALS.key(Signal.signame(number)))
      end
      [Signals.new { signal }, Signals.new(Signals::REOPEN) { reopen_logs }, refused]
    end

    # A forked child must leave alone what it shares with its parent.
    def here? = Process.pid == @pid

    def open
      @reactor = NativeServer.new(app, @options.settings)
      @binder.bind
      @binder.listeners.each do |listener|
        @reactor.listen(listener.fileno, EnvTemplate.for(listener, threads: @options[:threads]))
      end
      @urls = @binder.urls.freeze
      @reactor.start
    rescue ArgumentError => e
      raise OptionError, e.message
    ensure
      # The reactor has its own duplicates, and closes them when it drains: with ours open as well, the system would go
      # on accepting into the backlog.
      @binder.close
    end

    # The thread that drains is made now, because later the system may give no more threads.
    def start_threads
      @drain_time = Thread::Queue.new
      @drain = Thread.new { await_drain }
      @drain.name = "push_server drain"
      @control = Thread.new { control }
      @control.name = "push_server control"
    end

    def app
      path = @options[:javascript]
      path ? Javascript.at(path, @app) : @app
    end

    # Reads the notes until the server has ended.
    def control
      until @ending
        notes = @notes.wait(@workers.pause)
        notes ? notes.each_char { |note| heed(note) unless @ending } : @workers.mend
      end
    rescue Exception => e # rubocop:disable Lint/RescueException -- whatever it is, the server may not stay half alive
      PushServer.log_exception("stopping", e)
      conclude(:forced)
    ensure
      @notes.close
    end

    def heed(note)
      case note
      when SIGNAL then @signalled ? conclude(:forced) : drain
      when STOP then drain
      when STOP_NOW then conclude(:forced)
      when DRAINED then conclude(:graceful)
      when WORKERS_CHANGED then @workers.mend
      when REOPEN_LOGS then @reactor.reopen_logs
      when *REFUSALS.keys then refuse(REFUSALS.fetch(note))
      end
      @signalled = true if note == SIGNAL
    end

    def refuse(signal)
      PushServer.log(:warn, "the signal #{signal} has no meaning here: #{Signals::REFUSED.fetch(signal)}")
    end

    def drain
      return if @draining

      @draining = true
      say "* Stopping: up to #{@options[:drain_timeout]} s for what is open. Ctrl-C to stop at once"
      @drain_time << @options[:drain_timeout]
    end

    # On a thread of its own, so that a second signal is heard.
    def await_drain
      seconds = @drain_time.pop
      return if @reactor.drain(seconds)

      PushServer.log(:warn, "gave up after #{seconds} s: what was still open is cut (drain_timeout)")
    ensure
      @notes.notify(DRAINED) if @draining
    end

    def conclude(ending)
      @drain&.kill if ending == :forced
      @reactor.stop
      @stuck = !@workers.end(grace: GRACE.fetch(ending))
      PushServer.log(:warn, "a worker is in native code that does not return: the process ends without it") if @stuck
      say ending == :forced ? "* Stopped at once" : "* Stopped"
    ensure
      @ending = ending
    end

    # What ends `run` otherwise: an exception in the main thread, such as the app's own `exit`.
    def finish_early
      return unless running?

      stop
      wait
    end

    def announce
      say "push_server #{VERSION} (ruby #{RUBY_VERSION}, rack #{::Rack.release})"
      say "* #{@options[:threads]} #{@options[:threads] == 1 ? "thread" : "threads"}, #{@options[:environment]}"
      @urls.each { |url| say "* Listening on #{url}" }
      say "Ctrl-C to stop"
    end

    # For people, not for logs; --quiet silences it.
    def say(line)
      return unless %i[debug info].include?(@options[:log_level])

      @out.puts(line)
      @out.flush
    rescue IOError, SystemCallError
      nil # nobody is there to read it
    end
  end
end
