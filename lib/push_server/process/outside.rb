# frozen_string_literal: true

require_relative "../errors"
require_relative "socket_places"

module PushServer
  # Where a process publishes that has no server: to which server, or into channels of its own. Any thread.
  # @api private
  module Outside
    # What {SocketPlaces::VARIABLE} can say instead of a place: messages stay in this process.
    SELF = "self"
    # Seconds that a publish waits, unless a server of this process, or of its parent, says otherwise.
    TIMEOUT = 2.0
    # In this environment, messages stay in the process, so that a test suite neither needs a server nor publishes to one
    # that runs for development.
    TEST = "test"
    # The modules of `rackup` and `rails server`, which load the app before they run a handler.
    LAUNCHERS = %i[Rackup Rack].freeze
    private_constant :SELF, :TIMEOUT, :TEST, :LAUNCHERS

    class << self
      # Says that a server will start in this process. So what the app publishes while it is loaded stays here, and the
      # first clients find it.
      def serve_here
        @here = Process.pid
        nil
      end

      # Says to which server this process and its children publish, while they have no server of their own.
      # @param places [Array<String>] the paths of sockets; none: that server has no publish socket
      # @param timeout [Numeric] seconds
      def publish_to(places, timeout: TIMEOUT)
        @route = [places.map { |path| path.dup.freeze }.freeze, timeout.to_f].freeze
        nil
      end

      # As {publish_to}, in a process of a server with several processes.
      # @param message [Link::Message] the supervisor's first one
      # @param options [Options]
      def publish_to_hub(message, options)
        # A supervisor of an older version does not say it.
        publish_to(Array(message[:publish]).map { |path| path.unpack1("m0") }, timeout: options[:publish_timeout])
      end

      # Where to publish now. The extension asks when this process has no server, and no connection to one.
      # @return [Array(Array<String>, Float), nil] the places, and seconds to wait; nil: in this process
      # @raise [Error]
      def route
        return @route || default_route unless here?

        nil
      end

      # Closes the connection to the server, if all messages are answered. A process that forks after it has published
      # does so before.
      def close = Channels.close_connection

      private

      def default_route
        given = ENV[SocketPlaces::VARIABLE].to_s
        return if given.empty? ? stays_here? : given == SELF

        places = SocketPlaces.for_outsiders
        candidates = places.candidates(:publish)
        return [candidates, TIMEOUT] unless candidates.empty?

        raise EngineUnavailable, "no server of #{places.folder} has a publish socket. #{advice}"
      end

      def here? = @here == Process.pid

      def stays_here? = test? || launched?

      def test?
        # The order of the option environment.
        %w[APP_ENV RACK_ENV RAILS_ENV].filter_map { |name| ENV.fetch(name, nil) }.find { |it| !it.empty? } == TEST
      end

      # Whether this process is `rackup` or `rails server`, and is going to run push_server. If so, this is asked once.
      def launched?
        serve_here if LAUNCHERS.any? { |name| launches?(name) }
        here?
      end

      def launches?(name)
        return false if Object.autoload?(name) || !Object.const_defined?(name)

        launcher = Object.const_get(name)
        return false if launcher.autoload?(:Server) || !launcher.const_defined?(:Server, false)

        ObjectSpace.each_object(launcher::Server).any? { |server| runs_push_server?(server, launcher) }
      end

      # Without -s, it runs the default handler, for which it asks, too.
      def runs_push_server?(server, launcher)
        name = server.options[:server]
        return name.to_s.delete("_").casecmp?("pushserver") if name

        handler = launcher::Handler.default
        PushServer.const_defined?(:RackHandler) && handler.is_a?(RackHandler)
      rescue LoadError
        false
      end

      # What to do in a process that finds no server.
      def advice
        "Start push_server in this folder; or set #{SocketPlaces::VARIABLE} to the path of a server's publish socket, or to " \
          "#{SELF} to keep messages in this process"
      end
    end
  end
end
