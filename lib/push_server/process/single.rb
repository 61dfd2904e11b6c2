# frozen_string_literal: true

require "rack/version"
require_relative "../config/options"
require_relative "../plural"
require_relative "check_answer"
require_relative "event_loop"
require_relative "listening"
require_relative "own_process"
require_relative "pidfile"
require_relative "role"
require_relative "outside"
require_relative "self_pipe"
require_relative "service"
require_relative "signals"

module PushServer
  # A server in a single process: a {Service} with its sockets and signals, and the lines that say what happens. Serves once.
  #
  # Methods such as {#stop}, signals, and threads that end only write an event into a pipe. One thread reads the events and
  # acts on them.
  #
  # In a process forked from the one that started it, {#listen} raises an error, and every other method does nothing.
  class Single
    STOP = "s"
    STOP_NOW = "n"
    SIGNAL = "!"
    REOPEN_LOGS = "h"
    WATCH = "c"
    RESTART = "r"
    BACKTRACES = "b"
    # What the service tells.
    SERVICE_EVENTS = { drained: "d", threads_changed: "w" }.freeze
    # The signals that are refused: event => name of the signal.
    REFUSALS = Signals::REFUSED.keys.each_with_index.to_h { |name, index| [index.to_s, name] }.freeze
    # What the signals of Signals::OTHERS mean: name => event.
    OTHER_SIGNALS = [*Signals::RESTART.map { |name| [name, RESTART] }, *Signals::BACKTRACES.map { |name| [name, BACKTRACES] },
                     *REFUSALS.invert].to_h.freeze
    NOT_RUNNING = "the server is not running, so it cannot listen on another endpoint"
    STOPS = /[#{STOP}#{STOP_NOW}#{SIGNAL}]/
    ENDED = { graceful: "* Stopped", forced: "* Stopped at once", restart: "* Executing the new version" }.freeze
    private_constant :STOPS, :ENDED, :STOP, :STOP_NOW, :SIGNAL, :REOPEN_LOGS, :WATCH, :RESTART, :BACKTRACES, :SERVICE_EVENTS,
                     :REFUSALS, :OTHER_SIGNALS, :NOT_RUNNING

    # @return [Options]
    attr_reader :options
    # @return [:graceful, :forced, nil] how it ended: by itself, or cut by {#stop_now}; nil before
    attr_reader :ending

    # @param app [#call] a Rack app
    # @param options [Options, Hash] see Options
    # @param hooks [Hooks] those of the server and of its threads run: without workers there is no fork
    # @param out [IO] for the start-up lines
    # @raise [OptionError]
    def initialize(app, options = {}, hooks: Hooks::NONE, out: $stdout)
      raise OptionError, "the app has no method call: #{app.inspect[0, 60]}" unless app.respond_to?(:call)

      # What the program publishes from now on is for this server's clients.
      Outside.serve_here
      @app = app
      @options = options.is_a?(Options) ? options : Options.new(options)
      @hooks = hooks
      @listening = Listening.new(@options) { @events.notify(WATCH) }
      @pidfile = @options[:pidfile] && Pidfile.new(@options[:pidfile])
      @out = out
      @events = SelfPipe.new
      @pid = Process.pid
    end

    # Starts to serve and returns.
    # @return [self]
    # @raise [BindError, OptionError, Error] and then nothing is left open
    def start
      raise Error, "this server has been started already: make another" if @control

      @pidfile&.check
      @service = Service.new(@app, @options, hooks: @hooks)
      @listening.open(@service, inherits: !@own.nil?)
      addresses = urls
      @service.start { |event| @events.notify(SERVICE_EVENTS.fetch(event)) }
      prepare_loop
      @pidfile&.write
      @control = Thread.new { control }
      @control.name = "push_server control"
      announce(addresses)
      @hooks.call(:after_booted)
      self
    rescue ThreadError => e
      raise Error, "cannot start a thread: #{e.message}. Raise the system's limit on threads"
    rescue SystemCallError, IOError => e
      raise Error, "cannot start: #{e.message}"
    ensure
      unless @control
        @own&.stopped(restarts: false)
        @listening.close
        @service&.stop(:forced)
        @pidfile&.remove
      end
    end

    # Starts, serves until {#stop}, or until INT, TERM or QUIT: the first stops gracefully, the second at once. HUP opens
    # the log file anew, if there is one. USR2 restarts: if the configuration and the app can be loaded anew, the server
    # drains, and the process executes its command anew, with its sockets. PWR (INFO on BSD) logs what all threads are doing.
    # {Signals::REFUSED} are answered by a line in the log. A signal of {Signals::OTHERS} that the app has taken is left to it.
    #
    # All this needs the main thread, since a server on another thread does not own the process; so do the control socket
    # and what systemd is told.
    # @return [:graceful, :forced] as {#ending}
    # @raise [BindError, OptionError, Error]
    def run
      CheckAnswer.new(Role.current.link).serve(@listening.endpoints, @options) if Role.current&.check?
      if Thread.current == Thread.main
        @own = OwnProcess.new(@options)
        signals = take_signals
      end
      begin
        start
        wait
      end while ending == :restart && refused_to_execute? # rubocop:disable Lint/Loop
      ending
    ensure
      stop_early
      signals&.each(&:restore)
    end

    # Begins to listen on one more endpoint. Any thread, but no signal handler.
    # @param url [String] as the option bind takes it
    # @return [String] the same with the port that the system chose, for {#retire}
    # @raise [OptionError, BindError]
    # @raise [Error] if the server is not running, or the system has no descriptor to give
    def listen(url)
      endpoint = @listening.endpoint(url)
      bound, urls = (@listening.add(endpoint) if running?)
      raise Error, NOT_RUNNING unless bound

      urls.each { |address| say "* Listening on #{address}" }
      bound
    rescue SystemCallError, IOError => e
      raise Error, "cannot listen on #{endpoint}: #{e.message}"
    end

    # Accepts no more connections on an endpoint; those that are open go on. The file of a Unix socket is removed. Any
    # thread, but no signal handler.
    # @param url [String] as {#listen} returned it, or as bind has it
    # @return [Boolean] false if the server does not listen there
    # @raise [OptionError]
    def retire(url)
      endpoint = @listening.endpoint(url)
      retired = (@listening.retire(endpoint) if running?)
      retired&.each { |address| say "* No longer listening on #{address}" }
      !retired.nil?
    end

    # @return [Array<String>] where people find the server, ports resolved; empty before {#start} and after the end
    def urls = @listening.urls

    # Asks for a graceful stop and returns at once: no more is accepted, on_shutdown is called, streams are closed
    # and requests finished, for up to drain_timeout seconds. Any thread, signal handlers too. Idempotent.
    def stop = @events.notify(STOP)

    # Asks for a stop that waits for nothing. Any thread, signal handlers too. Idempotent.
    def stop_now = @events.notify(STOP_NOW)

    # Tells that INT, TERM or QUIT has come: {#stop}, and the second time {#stop_now}. Any thread, signal handlers too.
    def signal = @events.notify(SIGNAL)

    # Opens the file of the access log anew, after it was moved away; returns at once. Any thread, signal handlers too.
    def reopen_logs = @events.notify(REOPEN_LOGS)

    # Waits for the server to have stopped. Any thread but one that runs the app, which would wait for itself.
    # @param timeout [Numeric, nil] seconds
    # @return [Boolean] whether it has stopped (or was never started)
    def wait(timeout = nil)
      return true unless @control && here?

      !@control.join(timeout).nil?
    end

    # Whether it has been started and has not stopped.
    def running? = here? && !@control.nil? && @control.alive?

    # What this server has counted since it was started: connections, requests, each limit that was reached, and so on.
    # Any thread.
    # @return [Hash{Symbol => Integer}] empty before {#start}
    def stats = @service&.stats || {}

    # The same as {PushServer.stats} with `:all`.
    # @return [Hash{Symbol => Object}] empty before {#start}
    def totals = @service&.totals || {}

    # Whether a signal was among the reasons to stop.
    def signalled? = @signalled == true

    # Whether it has stopped, but a thread of the app is in native code that does not return, so that the process would hang.
    def stuck? = @stuck == true

    # Ends the process with status 1 unless the server has stopped gracefully: what a second signal asks for. A thread
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
      others = Signals.new(Signals.others, only_defaults: true) do |number|
        @events.notify(OTHER_SIGNALS.fetch(Signal.signame(number)))
      end
      taken = [Signals.new { signal }, Signals.new(Signals::REOPEN) { reopen_logs }, others]
      Signals.deliver
      taken
    end

    # A forked child must leave alone what it shares with its parent.
    def here? = Process.pid == @pid

    # What the control thread waits for.
    def prepare_loop
      @loop = EventLoop.new
      @loop.watch(@events) { @events.wait(0)&.each_char { |event| handle(event) unless @ending } }
      @own&.begin(@loop, "Serving on #{urls.join(", ")}", **actions)
    end

    # What commands and restarts do.
    def actions
      { stop: method(:stop_for), restart: -> { drain(restarts: true) }, reload: method(:reload), stats: -> { totals },
        status: method(:status), places: @listening.method(:places) }
    end

    def status
      state = @restarting ? "restarting" : "serving"
      { pid: Process.pid, version: VERSION, mode: "single", state: @draining && !@restarting ? "stopping" : state,
        threads: @options[:threads], urls: urls, environment: @options[:environment] }
    end

    # Acts on events until the server has ended.
    def control
      respawn
      @loop.run
    rescue Exception => e # rubocop:disable Lint/RescueException -- after any exception, the server must not go on without this thread
      PushServer.log_exception("stopping", e)
      finish(:forced)
    ensure
      @events.close unless @ending == :restart
    end

    def handle(event)
      case event
      when SIGNAL then @signalled ? finish(:forced) : drain
      when STOP then drain
      when STOP_NOW then finish(:forced)
      when SERVICE_EVENTS[:drained] then finish(@restarting ? :restart : :graceful)
      when SERVICE_EVENTS[:threads_changed] then respawn
      when REOPEN_LOGS then reload
      when WATCH then @listening.watch_certificates(@loop)
      when RESTART then @own.restart
      when BACKTRACES then Backtraces.log
      when *REFUSALS.keys then refuse(REFUSALS.fetch(event))
      end
      @signalled = true if event == SIGNAL
    end

    def refuse(signal)
      PushServer.log(:warn, "the signal #{signal} has no meaning here: #{Signals::REFUSED.fetch(signal)}")
    end

    def respawn
      @loop.cancel(@respawn)
      @service.respawn
      @respawn = @service.respawn_delay&.then { |seconds| @loop.after(seconds) { respawn } }
    end

    def reload
      @listening.reload_certificates
      return @service.reopen_logs unless @own && !@draining

      @own.reload { @service.reopen_logs }
    end

    def stop_for(reply)
      @own.await_stop(reply)
      reply.progress("Stopping: up to #{@options[:drain_timeout]} s for what is open")
      drain
    end

    # @param restarts [Boolean] whether the process executes itself anew afterwards. A stop that comes meanwhile wins
    def drain(restarts: false)
      began = @draining
      return if began && !(@restarting && !restarts)

      seconds = @options[:drain_timeout]
      what = "up to #{seconds} s for what is open"
      say restarts ? "* Restarting: #{what}" : "* Stopping: #{what}. Ctrl-C to stop at once"
      @restarting = restarts
      @own&.draining(seconds, restarts: restarts)
      @draining = true
      @listening.end(keep: restarts)
      @service.drain(seconds, restarts: restarts) unless began
    end

    def finish(ending)
      @listening.end(keep: ending == :restart)
      @stuck = !@service.stop(ending == :forced ? :forced : :graceful)
      if @stuck && ending != :restart
        PushServer.log(:warn, "a thread is in native code that does not return: the process ends without it")
      end
      say ENDED.fetch(ending)
      @hooks.call(ending == :restart ? :before_restart : :after_stopped)
      @own&.stopped(restarts: ending == :restart)
    ensure
      # A restart keeps the pid.
      leave unless ending == :restart
      @ending = ending
      @loop.stop
    end

    # Last of a server that does not come back.
    def leave
      @listening.close
      @pidfile&.remove
    end

    # @return [Boolean] whether the server is to serve again, because the system has refused
    def refused_to_execute?
      @own.execute(@listening.places, @listening.handover) { !@events.wait(0).to_s.match?(STOPS) }
      # A signal has come at the last moment: it stops the server.
      finish(:graceful)
      false
    rescue Error => e
      PushServer.log(:error, "not restarted: #{e.message}. Serving on with the old version")
      @control = @ending = nil
      @draining = @restarting = false
      true
    end

    # What ends `run` otherwise: an exception in the main thread, such as the app's own `exit`.
    def stop_early
      return unless running?

      stop
      wait
    end

    def announce(addresses)
      say "push_server #{VERSION} (ruby #{RUBY_VERSION}, rack #{::Rack.release})"
      say "* #{Plural.of(@options[:threads], "thread")}, #{@options[:environment]}"
      addresses.each { |address| say "* Listening on #{address}" }
      @listening.metrics_urls.each { |url| say "* Metrics on #{url}" }
      say "Ctrl-C to stop"
    end

    # For people, not for logs; --quiet silences it.
    def say(line)
      PushServer.tell(@out, "#{line}\n") if %i[debug info].include?(@options[:log_level])
    end
  end
end
