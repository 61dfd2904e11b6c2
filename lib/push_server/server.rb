# frozen_string_literal: true

require_relative "process/single"
require_relative "process/exit_hook"
require_relative "rack/router"

module PushServer
  # The embedded form: a server inside a Ruby program, without a config.ru. One in a process.
  #
  # @example
  #   PushServer::Server.init(6464, ".", thread_count: 1)
  #   PushServer::Server.handle(:GET, "/listen", handler)
  #   PushServer::Server.start
  #   # … the program goes on
  module Server
    # What init calls some options.
    NAMES = { threads: :thread_count, public_dir: :root }.freeze
    private_constant :NAMES

    @lock = Mutex.new

    class << self
      # Prepares a server, in place of one that an earlier call has prepared.
      #
      # @param port [Integer, nil] nil: as without the embedded form, $PORT or 9292
      # @param root [String, nil] a folder whose files are served by GET and HEAD without asking a handler
      # @param thread_count [Integer] how many threads run handlers; 0: one, and {.start} waits until the server stops
      # @param options [Hash] any other option of the server; see Options
      # @raise [OptionError] for a wrong option
      # @raise [Error] while a server is running
      def init(port = nil, root = nil, thread_count: 1, **options)
        @lock.synchronize do
          raise Error, "the server is running: shut it down before init" if @server&.running?

          Outside.serve_here
          @blocking = thread_count.to_s == "0"
          refuse(options)
          # $WEB_CONCURRENCY is for servers that can have workers.
          given = { port: port, public_dir: root, threads: @blocking ? 1 : thread_count, **options, workers: 0 }
          @options = Options.new(given) { |option| "#{NAMES.fetch(option.name, option.name)}:" }
          @router = Router.new
          @middleware = []
          @server = nil
        end
        nil
      end

      # Registers a handler; between {.init} and {.start}. Of two whose method and pattern fit, the first wins. A path
      # that only fits with another method is answered 405.
      #
      # @param method [Symbol, String, nil] nil is any; HEAD falls back on a GET handler
      # @param pattern [String] a path; `*` stands for one segment, `**` at the end for the rest
      # @param handler [#call] called with the Rack env; or a block
      # @raise [ArgumentError] for a handler without `call` or a broken pattern
      # @raise [Error] before {.init} or after {.start}
      def handle(method, pattern, handler = nil, &block)
        routes.add(method, pattern, handler || block)
        nil
      end

      # Registers what answers a path that no handler fits, in place of a plain 404.
      # @param handler [#call] called with the Rack env; or a block
      # @raise [Error] before {.init} or after {.start}
      def handle_not_found(handler = nil, &block)
        handler ||= block
        raise ArgumentError, "the handler has no method call: #{handler.inspect[0, 60]}" unless handler.respond_to?(:call)

        routes.not_found = handler
        nil
      end

      # Puts middleware around all handlers, also around the one for paths that are not found. Files of the root do not
      # pass through it. The first middleware is the outermost. To be called between {.init} and {.start}.
      #
      # @example
      #   PushServer::Server.use Rack::Session::Cookie, secret: secret
      # @param middleware [#new] called with the app behind it, then the arguments and the block
      # @raise [ArgumentError] for something that has no method new
      # @raise [Error] before {.init} or after {.start}
      def use(middleware, *arguments, **options, &block)
        unless middleware.respond_to?(:new)
          raise ArgumentError, "the middleware has no method new: #{middleware.inspect[0, 60]}"
        end

        routes # raises when it is too early, or too late
        @middleware << ->(app) { middleware.new(app, *arguments, **options, &block) }
        nil
      end

      # Starts the server. With a thread_count above 0 it returns, and the program goes on; with 0 it returns when the
      # server has stopped.
      #
      # INT, TERM and QUIT stop the server gracefully and then end the program with status 0; the second signal ends the
      # program at once. A signal for which the program has a handler of its own is left to that. When the program ends by
      # itself, the server is stopped gracefully first. HUP opens the log file anew, if there is one.
      #
      # @raise [BindError] if it cannot listen
      # @raise [Error] before {.init}, or for the second time
      def start
        server = launch
        return unless @blocking

        server.wait
        server.exit_unless_graceful
        nil
      end

      # Begins to listen on one more endpoint while the server is running. Any thread, but no signal handler.
      #
      # @example
      #   url = PushServer::Server.listen("tcp://127.0.0.1:0")   # "tcp://127.0.0.1:40123"
      #   PushServer::Server.retire(url)
      # @param url [String] as the option bind takes it: tcp://host:port, unix:///path?mode=0660 or fd://3
      # @return [String] the same with the port that the system chose
      # @raise [OptionError] for another URL
      # @raise [BindError] if it cannot listen there
      # @raise [Error] if the server is not running
      def listen(url)
        raise Error, "call start before listen" unless running?

        @server.listen(url.to_s)
      end

      # Accepts no more connections on an endpoint; those that are open go on. Any thread, but no signal handler.
      # @param url [String] as {.listen} returned it, or as the option bind has it
      # @return [Boolean] false if the server does not listen there
      # @raise [OptionError] for another URL
      def retire(url) = @server&.retire(url.to_s) == true

      # Opens the file of the access log anew, after it was moved away. Returns at once. Any thread, signal handlers too.
      def reopen_logs = @server&.reopen_logs

      # Stops the server gracefully and waits until it has stopped. It does not wait in two places: in a handler, for which
      # the server waits itself, and in a signal handler. Any thread. Idempotent.
      def shutdown
        server = @server
        return unless server&.running?

        server.stop
        server.wait unless ThreadPool.inside? || in_trap?
        nil
      end

      # Whether the server is running.
      def running? = @server&.running? == true

      private

      # Options that an embedded server cannot have.
      def refuse(options)
        unless [nil, "0"].include?(options[:workers]&.to_s)
          raise OptionError, "workers: an embedded server is one process: PushServer.run(app, workers: 2) has workers"
        end
        raise OptionError, "config: an embedded server reads no configuration file: give options to init" if options[:config]
      end

      def routes
        raise Error, "call init before registering handlers" unless @router
        raise Error, "handlers must be registered before start" if @router.frozen?

        @router
      end

      def launch
        @lock.synchronize do
          raise Error, "call init before start" unless @options
          raise Error, "the server has been started already: init prepares another" if @server

          # Set before it starts: the first request may ask for a shutdown.
          @router.freeze
          @server = Single.new(@middleware.reverse.reduce(@router) { |app, wrap| wrap.call(app) }, @options)
          start_with_exit_hook(@server)
        rescue BindError, OptionError
          @server = nil # so that start can be called again
          raise
        end
      end

      def start_with_exit_hook(server)
        hook = ExitHook.new(server, waiting: (Thread.current if @blocking))
        server.start
        hook.install
        server
      ensure
        hook&.remove unless server.running?
      end

      # Whether this is a signal handler: there, Ruby lets no lock be taken. It gives no other sign.
      def in_trap?
        Mutex.new.synchronize { false }
      rescue ThreadError
        true
      end
    end
  end
end
