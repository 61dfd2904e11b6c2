# frozen_string_literal: true

require_relative "../config/options"
require_relative "../net/ticket_keys"
require_relative "../rack/broadcast"
require_relative "../rack/env_template"
require_relative "../rack/javascript"
require_relative "thread_pool"

module PushServer
  # Serves an app in any kind of process: the native server, the Ruby threads that run the app, and the listeners. It handles
  # no signals and prints nothing. It neither opens nor closes a socket, but serves duplicates of the sockets that it is
  # given. Serves once.
  #
  # It belongs to the process that made it. Any thread, but one at a time.
  class Service
    # Seconds that the app's threads have to return once the native server has stopped, before they are killed.
    THREAD_TIMEOUTS = { graceful: 1, forced: 0 }.freeze
    private_constant :THREAD_TIMEOUTS

    class << self
      # @return [Service, nil] the one that was started last in this process
      attr_accessor :latest

      # Makes sure that a service can have these options: opens the files and folders that they name.
      # @param options [Options]
      # @raise [OptionError]
      def check(options)
        new(->(_env) { [204, {}, []] }, options)
        nil
      end
    end

    # @param app [#call] a Rack app
    # @param options [Options]
    # @param hooks [Hooks] those of threads run
    # @param processes [Boolean] whether other processes serve the same app
    # @raise [OptionError]
    def initialize(app, options, hooks: Hooks::NONE, processes: false)
      @options = options
      @hooks = hooks
      @processes = processes
      @native = NativeServer.new(in_front_of(app), options.settings(processes: processes ? options[:workers] : 1))
      # The id that the native server has given to each listener.
      @ids = {}.compare_by_identity
    rescue ArgumentError => e
      raise OptionError, e.message
    end

    # Starts to serve and returns.
    # @yieldparam event [:threads_changed, :drained] on any thread, and must not wait: {#respawn} is to be called; a
    #   {#drain} has ended
    # @return [void]
    # @raise [Error] and then {#stop} is to be called
    def start(&on_event)
      PushServer.log_level = @options[:log_level]
      @native.start
      @threads = ThreadPool.new(@native, @options[:threads], hooks: @hooks) { on_event.call(:threads_changed) }
      # Made now, because later the system may give no more threads.
      @drain_orders = Thread::Queue.new
      @drain = Thread.new { await_drain(on_event) }
      @drain.name = "push_server drain"
      Service.latest = self
    rescue ThreadError => e
      raise Error, "cannot start #{@options[:threads]} threads: #{e.message}. Lower --threads, or raise the system's limit"
    end

    # Accepts connections from a listener's socket, of which it takes a duplicate. Before {#start}, or while it serves.
    # @param listener [Listener]
    # @raise [IOError]
    def listen(listener)
      tls = listener.tls
      @ids[listener] = tls ? listen_tls(listener, tls) : @native.listen(listener.fileno, template(listener))
    end

    # Handshakes from now on use what {Listener#tls} has now. Connections go on.
    # @param listener [Listener] that encrypts its connections
    def renew(listener)
      id = @ids[listener]
      @native.renew_tls(id, listener.tls, ticket_keys.native) if id
    end

    # @return [TicketKeys] those of this server, if listeners encrypt their connections
    def ticket_keys = @ticket_keys ||= TicketKeys.new

    # To be called before the first listener that encrypts its connections, if other processes have the same keys.
    attr_writer :ticket_keys

    # Publishes what processes without a server send to a listener's socket, of which it takes a duplicate. Before {#start},
    # once.
    # @param listener [Listener] of a Unix socket
    # @raise [IOError]
    def publish_from(listener) = @native.publish_from(listener.fileno)

    # Serves metrics on a listener's socket, of which it takes a duplicate. Before {#start}.
    # @param listener [Listener]
    # @raise [IOError]
    def serve_metrics(listener) = @native.serve_metrics(listener.fileno)

    # Accepts no more connections from a listener; those that are open go on.
    # @param listener [Listener]
    def retire(listener)
      id = @ids.delete(listener)
      @native.retire(id) if id
    end

    # Adds, replaces and forgets threads, as is needed. To be called by one thread: after each event :threads_changed, and
    # when {#respawn_delay} has passed.
    def respawn = @threads.respawn

    # @return [Numeric, nil] seconds until {#respawn} is to be called again without an event
    def respawn_delay = @threads.respawn_delay

    # Begins to drain and returns: accepts no more, tells handlers on_shutdown, closes streams, finishes requests. The
    # event :drained follows.
    # @param seconds [Numeric] how long at most
    # @param restarts [Boolean] whether another server follows: WebSockets are then closed with 1012, and not with 1001
    def drain(seconds, restarts: false) = @drain_orders << [seconds, restarts]

    # Cuts what is still open, and waits for the app's threads to end.
    # @param ending [:graceful, :forced] after a {#drain}, or without waiting
    # @return [Boolean] whether all of them have ended: one in native code that does not return cannot be killed
    def stop(ending)
      @drain&.kill
      @native.stop
      @threads.nil? || @threads.end(timeout: THREAD_TIMEOUTS.fetch(ending))
    end

    # Opens the file of the access log anew, and returns at once.
    def reopen_logs = @native.reopen_logs

    # What has been counted since this was made: connections, requests, each limit that was reached, and so on. Any thread.
    # @return [Hash{Symbol => Integer}]
    def stats = @native.stats

    # The same, with histograms, as {PushServer.stats} returns it with `:all` for a server in one process.
    # @return [Hash{Symbol => Object}]
    def totals = { stats: stats, histograms: @native.histograms, workers: [] }

    private

    # What answers some requests instead of the app.
    def in_front_of(app)
      path = @options[:javascript]
      app = Javascript.at(path, app) if path
      Broadcast.in_front_of(app, @options)
    end

    def listen_tls(listener, tls) = @native.listen_tls(listener.fileno, template(listener), tls, ticket_keys.native)

    def template(listener) = EnvTemplate.for(listener, threads: @options[:threads], processes: @processes)

    # On a thread of its own, so that others can stop it.
    def await_drain(on_event)
      seconds, restarts = @drain_orders.pop
      drained = @native.drain(seconds, restarts)
      PushServer.log(:warn, "the drain took longer than #{seconds} s (drain_timeout): what was still open is cut") unless drained
    ensure
      on_event.call(:drained) if seconds
    end
  end
end
